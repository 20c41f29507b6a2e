"""Standard cron lines: what crontab(5) says, strictly, and right when the clocks change. Pure.

Five fields: minute, hour, day of month, month, day of week (0 and 7 are Sunday). Each is `*` or a
list of numbers, names and ranges; `*` and ranges take a step. When both day fields are restricted,
either one suffices; a field that begins with `*` does not count as restricted.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MINUTE = timedelta(minutes=1)
# The longest wait there is: a 29 February on one weekday, across a century without a leap year.
_LONGEST_WAIT_MONTHS = 41 * 12


@dataclass(frozen=True)
class _Field:
    """A field of the line: its name, its numbers and the names that stand for some of them."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    def parse(self, text: str) -> tuple[int, ...]:
        """The numbers that `text` stands for, sorted."""
        return tuple(sorted({each for part in text.split(",") for each in self._part(part)}))

    def _part(self, text: str) -> range:
        span, slash, step = text.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            low, high = self.low, self.high
        else:
            low = self._number(first, text)
            high = self._number(last, text) if dash else low
        if self.names == _DAYS and high < low:
            high += 7 * (high == 0)  # `fri-sun`: here Sunday is 7
        if high < low:
            raise ValueError(f"{text!r} in its {self.name} field runs backwards: write two ranges")
        if not slash:
            return range(low, high + 1)
        if not (span == "*" or dash):
            raise ValueError(f"{text!r} in its {self.name} field steps through a single number")
        most = max(1, high - low)
        if not (_is_number(step) and 1 <= int(step) <= most):
            raise ValueError(
                f"the step of {text!r} in its {self.name} field must be from 1 to {most}"
            )
        return range(low, high + 1, int(step))

    def _number(self, word: str, text: str) -> int:
        if word.lower() in self.names:
            return self.names.index(word.lower()) + self.low
        if not _is_number(word):
            expected = "a number or name" if self.names else "a number"
            raise ValueError(f"{text!r} in its {self.name} field is not {expected}")
        if not self.low <= int(word) <= self.high:
            raise ValueError(f"its {self.name} must be from {self.low} to {self.high}, not {word}")
        return int(word)


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day-of-month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day-of-week", 0, 7, _DAYS),
)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 2


@dataclass(frozen=True)
class Cron:
    """A cron line. Made by `parse`.

    Attributes:
        minutes, hours, days, months: The numbers of each field, sorted.
        weekdays: The days of the week, 0 for Sunday to 6.
        either: Whether a day of the month or of the week suffices; else both must fit.
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    either: bool

    def next_after(self, moment: datetime, zone: ZoneInfo) -> datetime:
        """The first time after `moment` (aware) that fits the line on the clocks of `zone`, in UTC.

        A line for every hour fits each real hour, also the one that summer time repeats. A line
        that names hours follows the clock on the wall: what it shows twice fits once, the first
        time; what it skips is made up for at the first instant after the gap.
        """
        if len(self.hours) == 24:
            return self._next_hourly(moment, zone)
        for day in self._days_from(moment.astimezone(zone).date()):
            for wall in self._walls(day):
                if (instant := _instant(wall, zone)) > moment:
                    return instant
        raise AssertionError("parse refuses a line that never fits")

    def _next_hourly(self, moment: datetime, zone: ZoneInfo) -> datetime:
        instant = moment.astimezone(UTC).replace(second=0, microsecond=0) + _MINUTE
        while True:
            local = instant.astimezone(zone)
            if not self.fits(local.date()):
                day = next(self._days_from(local.date()))
                instant = _instant(datetime.combine(day, datetime.min.time()), zone)
            elif local.minute in self.minutes:
                return instant
            else:
                later = [minute for minute in self.minutes if minute > local.minute]
                instant += ((later[0] if later else 60) - local.minute) * _MINUTE

    def fits(self, day: date) -> bool:
        """Whether the line fits `day` at all."""
        if day.month not in self.months:
            return False
        by_month, by_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return by_month or by_week if self.either else by_month and by_week

    def _days_from(self, first: date) -> Iterator[date]:
        for month in range(first.month - 1, first.month - 1 + _LONGEST_WAIT_MONTHS):
            if month % 12 + 1 not in self.months:
                continue
            day = date(first.year + month // 12, month % 12 + 1, 1)
            while day.month == month % 12 + 1:
                if day >= first and self.fits(day):
                    yield day
                day += timedelta(days=1)

    def _walls(self, day: date) -> Iterator[datetime]:
        for hour in self.hours:
            for minute in self.minutes:
                yield datetime(day.year, day.month, day.day, hour, minute)  # noqa: DTZ001


def _instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """When the clocks of `zone` first show `wall`, or the end of the gap that skips it; in UTC."""
    instant = wall.replace(tzinfo=zone).astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == wall:
        return instant
    # PEP 495: in a gap fold=0 reads the clock from before it, so `instant` is past the change.
    offset = instant.astimezone(zone).utcoffset()
    while (instant - _MINUTE).astimezone(zone).utcoffset() == offset:
        instant -= _MINUTE
    return instant


@functools.lru_cache(maxsize=4096)
def parse(text: str) -> Cron:
    """The cron line that `text` spells: five fields, or @hourly, @daily, @weekly, @monthly, @yearly.

    Raises:
        ValueError: It spells none, or one that never fits any day; the message is one sentence.
    """
    words = _MACROS.get(text, text).split()
    if text.startswith("@") and text not in _MACROS:
        raise ValueError(f"{text!r} is not one of {', '.join(sorted(_MACROS))}")
    if len(words) != len(_FIELDS):
        raise ValueError(
            f"{text!r} has {len(words)} fields, not the five of a cron line"
            " (minute, hour, day of month, month, day of week), such as '30 3 * * *';"
            " an interval is written 'every 10m'"
        )
    try:
        minutes, hours, days, months, weekdays = (
            each.parse(word) for each, word in zip(_FIELDS, words, strict=True)
        )
    except ValueError as error:
        raise ValueError(f"{text!r} is no cron line: {error}") from None
    either = not (words[2].startswith("*") or words[4].startswith("*"))
    weekdays = tuple(sorted({day % 7 for day in weekdays}))
    cron = Cron(minutes, hours, days, months, weekdays, either)
    if next(cron._days_from(date(2000, 1, 1)), None) is None:  # noqa: SLF001
        raise ValueError(f"{text!r} never fires: there is no such day")
    return cron
