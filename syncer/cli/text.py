"""Numbers, sizes, times and messages in the words of people. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta, tzinfo

_SIZES = ("B", "kB", "MB", "GB", "TB", "PB")
_DIGEST = re.compile(r"\b(sha256|sha512):([0-9a-f]{12})[0-9a-f]+")
_NUMBER = re.compile(r"\d+")
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def size(count: int) -> str:
    """Bytes in decimal units with three digits at most: `812 B`, `4.1 MB`, `120 GB`."""
    value, power = float(count), 0
    while value >= 999.5 and power < len(_SIZES) - 1:
        value, power = value / 1000, power + 1
    digits = 1 if power and value < 9.95 else 0
    return f"{value:.{digits}f} {_SIZES[power]}"


def of(part: int, whole: int) -> str:
    """A size and what it is a part of: `1.2 of 3.4 GB`, `812 kB of 3.4 GB`."""
    value, unit = size(part).split()
    total = size(whole)
    return f"{value} of {total}" if total.endswith(f" {unit}") else f"{value} {unit} of {total}"


def number(count: int, one: str = "", many: str = "") -> str:
    """A count with its noun: `1 tag`, `1,234 tags`; `many` where an `s` does not do."""
    noun = one if count == 1 else many or f"{one}s" if one else ""
    return f"{count:,} {noun}".strip()


def duration(seconds: float) -> str:
    """Seconds in the two units that matter: `0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`, `4 d`."""
    if seconds < 9.95:
        return f"{max(seconds, 0):.1f} s"
    left = round(seconds)
    parts: list[tuple[int, str]] = []
    for length, unit in _UNITS:
        count, left = divmod(left, length)
        if count or parts:
            parts.append((count, unit))
    return " ".join(f"{count} {unit}" for count, unit in parts[:2] if count)


def span(length: timedelta) -> str:
    """One unit, rounded down, as ages are told: `45 s`, `3 min`, `23 h`, `12 d`."""
    seconds = max(0, int(length.total_seconds()))
    unit, name = next(each for each in _UNITS if seconds >= each[0] or each[0] == 1)
    return f"{seconds // unit} {name}"


def age(then: datetime | None, now: datetime) -> str:
    """How long ago, or how long until: `3 min ago`, `in 2 h`; `never` without a moment."""
    if then is None:
        return "never"
    return f"{span(now - then)} ago" if then <= now else f"in {span(then - now)}"


def moment(then: datetime | None, now: datetime, zone: tzinfo) -> str:
    """A time on the clocks of `zone` with its age: `2026-11-22 07:30 (3 min ago)`."""
    if then is None:
        return "never"
    return f"{then.astimezone(zone):%Y-%m-%d %H:%M} ({age(then, now)})"


def recent(then: datetime, now: datetime, zone: tzinfo) -> str:
    """A time for a narrow column: `07:30 (3 min ago)` today, `2026-11-20 07:30` on other days."""
    local = then.astimezone(zone)
    if local.date() != now.astimezone(zone).date():
        return f"{local:%Y-%m-%d %H:%M}"
    return f"{local:%H:%M} ({age(then, now)})"


def shortened(message: str) -> str:
    """`message` with each digest cut to twelve digits."""
    return _DIGEST.sub(r"\1:\2", message)


def shape(message: str, *names: str) -> str:
    """What is the same in messages that differ only in `names`, digests and numbers."""
    for name in sorted(filter(None, names), key=len, reverse=True):
        message = message.replace(name, "<>")
    return _NUMBER.sub("#", _DIGEST.sub("<>", message))


def listed(words: Iterable[str], most: int = 3) -> str:
    """`a, b, c and 4 more`."""
    found = list(words)
    if len(found) <= most:
        return ", ".join(found)
    return f"{', '.join(found[:most])} and {len(found) - most:,} more"
