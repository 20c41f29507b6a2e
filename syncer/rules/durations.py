"""Durations as people write them: a number and one unit, `90s` to `2w`. Pure."""

from __future__ import annotations

import re
from datetime import timedelta

_DURATION = re.compile(r"(\d{1,12})([smhdw])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_CALENDAR = re.compile(r"\d+ ?(M|mo|mon|months?|y|yr|years?)", re.ASCII)
LONGEST = timedelta(days=36500)  # a century; datetime arithmetic stays far from its limits


def parse_duration(text: str) -> timedelta:
    """The duration that `text` spells: digits and one of s, m, h, d, w, as in `24h`.

    Raises:
        ValueError: It spells none, or more than a century; the message is one sentence.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        if _CALENDAR.fullmatch(text):
            raise ValueError(
                f"{text!r} has no fixed length, as months and years differ: write days, such as '90d'"
            )
        raise ValueError(
            f"{text!r} is no duration: write a whole number and one of s, m, h, d, w, such as '24h'"
        )
    number, unit = match.groups()
    try:
        duration = timedelta(**{_UNITS[unit]: int(number)})
    except OverflowError:
        duration = timedelta.max
    if duration > LONGEST:
        raise ValueError(f"{text!r} is longer than a century: write at most '{LONGEST.days}d'")
    return duration
