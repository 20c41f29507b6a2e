"""When scheduled work is allowed: `22:00-06:00`, `sat,sun 00:00-24:00`. Pure.

A window says which minutes of the week are open, as a clock on the wall shows them; so a change of
summer time needs no rule of its own: what the clock skips is not there, what it repeats is twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import or_
from zoneinfo import ZoneInfo

_WINDOW = re.compile(r"(?:(?P<days>[a-z,-]+) )?(?P<opens>\d\d:\d\d)-(?P<closes>\d\d:\d\d)")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = 24 * 60
_WEEK = 7 * _DAY
_WALK = 3 * 60
_MINUTE = timedelta(minutes=1)
_ALWAYS = (1 << _WEEK) - 1
_HINT = "write it as '22:00-06:00' or 'mon-fri 22:00-06:00'"


@dataclass(frozen=True)
class Window:
    """A part of the week. Made by `parse`.

    Attributes:
        text: As it was written.
        minutes: A bit for each minute of the week that is in it, the lowest for Monday 00:00.
    """

    text: str
    minutes: int

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Hours:
    """When work is allowed, on the clocks of one zone. Made by `hours`."""

    minutes: int
    zone: ZoneInfo

    def is_open(self, moment: datetime) -> bool:
        """Whether work is allowed at `moment` (aware)."""
        return bool(self.minutes >> self._minute(moment) & 1)

    def opening(self, moment: datetime) -> datetime:
        """`moment`, or the first one after it at which work is allowed.

        `checks` refuses rules for which there is none; for them it is `moment`.
        """
        return self._first(moment, self.minutes) or moment

    def closing(self, moment: datetime) -> datetime | None:
        """When the time that is open at `moment` ends; None when it never does."""
        return self._first(moment, _ALWAYS & ~self.minutes)

    def _minute(self, moment: datetime) -> int:
        local = moment.astimezone(self.zone)
        return local.weekday() * _DAY + local.hour * 60 + local.minute

    def _first(self, moment: datetime, minutes: int) -> datetime | None:
        """`moment`, or the start of the first minute after it that is one of `minutes`."""
        found = moment.astimezone(UTC)
        while minutes:
            passed = self._minute(found)
            ahead = minutes >> passed | minutes << (_WEEK - passed)
            wait = (ahead & -ahead).bit_length() - 1
            if not wait:
                return found
            # Clocks may be set on the way: the last hours are walked minute by minute.
            found = found.replace(second=0, microsecond=0) + max(1, wait - _WALK) * _MINUTE
        return None


def hours(windows: Iterable[Iterable[Window]], zone: ZoneInfo) -> Hours:
    """The time that is open by each of several lists of windows; an empty list is always open."""
    minutes = _ALWAYS
    for each in windows:
        minutes &= reduce(or_, (window.minutes for window in each), 0) or _ALWAYS
    return Hours(minutes, zone)


def parse(text: str) -> Window:
    """The window that `text` spells: days of the week or none for all of them, and two times.

    One that closes at or before it opens lasts into the next day.

    Raises:
        ValueError: It spells none; the message is one sentence.
    """
    match = _WINDOW.fullmatch(text.lower())
    if match is None:
        raise ValueError(f"{text!r} is no window: {_HINT}")
    opens, closes = _minute(match["opens"], text), _minute(match["closes"], text)
    if opens in (closes, _DAY):
        raise ValueError(f"{text!r} is no window: write 00:00-24:00 for a whole day")
    length = (closes - opens) % _DAY or _DAY
    minutes = 0
    for day in _days(match["days"] or "mon-sun", text):
        span = ((1 << length) - 1) << (day * _DAY + opens)
        minutes |= span & _ALWAYS | span >> _WEEK
    return Window(text, minutes)


def _minute(clock: str, text: str) -> int:
    hour, minute = map(int, clock.split(":"))
    if minute > 59 or hour * 60 + minute > _DAY:
        raise ValueError(f"{text!r} is no window: there is no {clock} on a clock")
    return hour * 60 + minute


def _days(words: str, text: str) -> Iterator[int]:
    for word in words.split(","):
        first, dash, last = word.partition("-")
        if first not in _DAYS or (dash and last not in _DAYS):
            raise ValueError(f"{text!r} is no window: {_HINT}; days are {', '.join(_DAYS)}")
        low, high = _DAYS.index(first), _DAYS.index(last or first)
        yield from (day % 7 for day in range(low, high + 1 + 7 * (high < low)))
