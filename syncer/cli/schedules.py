"""Schedules in words: `every 10 minutes`, `at 03:30 on Monday to Friday`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from syncer import retention
from syncer.rules.cron import Cron, parse
from syncer.rules.schedule import Schedule

_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
# So many times of day are spelled out.
_MOST_TIMES = 6


def words(schedule: Schedule | None) -> str:
    """When a rule runs, in words; `by hand` without a schedule."""
    if schedule is None:
        return "by hand"
    if schedule.every is not None:
        said = f"every {_length(schedule.every)}"
    else:
        said = _cron(parse(schedule.cron))
    later = f", up to {retention.duration(schedule.jitter)} later" if schedule.jitter else ""
    return said + later


def _length(span: timedelta) -> str:
    return retention.duration(span).removeprefix("1 ")


def _cron(line: Cron) -> str:
    days, months = _days(line), _names(line.months, _MONTHS, 1)
    return " ".join(filter(None, (_times(line), days, f"in {months}" if months else "")))


def _times(line: Cron) -> str:
    minutes, hours = line.minutes, line.hours
    if len(hours) == 24:
        if len(minutes) == 60:
            return "every minute"
        step = _step(minutes, 60)
        return f"every {step} minutes" if step else f"{_numbers('minute', minutes)} of every hour"
    if minutes == (0,) and (step := _step(hours, 24)):
        return f"every {step} hours"
    if len(minutes) * len(hours) <= _MOST_TIMES:
        return f"at {_list([f'{hour:02}:{minute:02}' for hour in hours for minute in minutes])}"
    step = _step(minutes, 60)
    each = f"every {step} minutes" if step else _numbers("minute", minutes)
    return f"{each} of {_numbers('hour', hours)}"


def _step(numbers: Sequence[int], size: int) -> int:
    """The step of numbers that divide `size` evenly from 0 on; 0 where there is none."""
    step = numbers[1] if len(numbers) > 1 else 0
    return step if step and list(numbers) == list(range(0, size, step)) and size % step == 0 else 0


def _days(line: Cron) -> str:
    weekdays = _names(line.weekdays, _DAYS, 0)
    month = "" if len(line.days) == 31 else f"{_numbers('day', line.days)} of the month"
    if line.either:
        return f"on {month} or {weekdays}"
    if month and weekdays:
        return f"on {month} if it is {weekdays}"
    if month or weekdays:
        return f"on {month or weekdays}"
    return "" if len(line.hours) == 24 or _step(line.hours, 24) else "every day"


def _names(numbers: Sequence[int], names: Sequence[str], first: int) -> str:
    """The names of numbers, a longer run of them as `a to b`; empty when all are meant."""
    if len(numbers) == len(names):
        return ""
    if len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[-1] + 1)):
        return f"{names[numbers[0] - first]} to {names[numbers[-1] - first]}"
    return _list([names[number - first] for number in numbers])


def _numbers(noun: str, numbers: Sequence[int]) -> str:
    if len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[-1] + 1)):
        return f"{noun}s {numbers[0]} to {numbers[-1]}"
    return f"{noun}{'s' if len(numbers) > 1 else ''} {_list([str(each) for each in numbers])}"


def _list(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
