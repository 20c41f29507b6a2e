"""When a rule runs: from its schedule and from how it has fared so far. Pure; the clock is handed in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from syncer.rules import Schedule
from syncer.state import RuleState

_SOONEST = timedelta(minutes=1)
_LATEST = timedelta(hours=1)
_HELD = timedelta(minutes=10)


@dataclass(frozen=True)
class Timetable:
    """The times of one rule.

    Attributes:
        schedule: An interval or a cron line.
        zone: Whose clocks a cron line follows.
    """

    schedule: Schedule
    zone: ZoneInfo

    def after(self, base: datetime, now: datetime) -> datetime:
        """The first time after `now`; those of an interval lie whole intervals from `base`."""
        if self.schedule.every is None:
            return self.schedule.next_after(now, self.zone)
        return base + ((now - base) // self.schedule.every + 1) * self.schedule.every

    def first(self, records: Sequence[RuleState], now: datetime, *, running: bool) -> datetime:
        """When a rule runs next, by what the state knows of it; `now` when it has missed a time.

        Missed times are made up for once. A rule that never ran has missed none: an interval
        begins at once, a cron line at its first time.

        Args:
            records: What is known of the rule at each of its registries.
            now: The time.
            running: Whether a run of it is under way in this process.
        """
        begun = [record.last_started for record in records if record.last_started]
        if len(begun) < len(records) or not begun:
            return self.schedule.next_after(now, self.zone) if self.schedule.cron else now
        last = min(*begun, now)  # the clock may have been set back
        if not running and any(map(_was_cut_off, records)):
            return now
        due = self.after(last, last)
        again = [soon for record in records if (soon := retry(record))]
        return max(now, min([due, *again])) if not running else max(now, due)


def retry(record: RuleState) -> datetime | None:
    """When a rule is tried again before its schedule says; None: it would find the same again.

    One that failed: the wait doubles with each failure in a row, from a minute up to an hour. One
    that found all held by others: in ten minutes.
    """
    if record.last_finished is None:
        return None
    match record.last_outcome:
        case "failed":
            doublings = min(10, max(0, record.consecutive_failures - 1))
            return record.last_finished + min(_LATEST, _SOONEST * (1 << doublings))
        case "held":
            return record.last_finished + _HELD
        case _:
            return None


def _was_cut_off(record: RuleState) -> bool:
    """Whether its last run was told to stop, or its process died in the middle of it."""
    if record.last_started is None or record.last_outcome == "interrupted":
        return True
    return record.last_finished is None or record.last_finished < record.last_started
