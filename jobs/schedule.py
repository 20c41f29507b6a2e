"""Rules -> APScheduler jobs: what runs when."""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.interval import IntervalTrigger

from jobs.live import Live, Rule, scheduled
from jobs.once import keys
from jobs.timetable import Timetable, retry
from syncer import log
from syncer.rules import Hours
from syncer.state import RuleState, State

# Runs at once; more would wait. The permits of the registries bound what they do long before.
MOST_RUNS = 128
# Seconds the clock may be set by before all times are found anew.
_JUMP = 30.0
# What is due for longer has been slept over; after so many more seconds something is wrong.
_LATE = timedelta(seconds=5)
_PATIENCE = 30.0
_PREFIX = "rule:"


class _Scheduler(BackgroundScheduler):  # type: ignore[misc]
    @property
    def alive(self) -> bool:
        thread: threading.Thread | None = self._thread
        return thread is not None and thread.is_alive()


class Trigger(BaseTrigger):  # type: ignore[misc]
    """The times of one rule: later by chance where it has a jitter, and never outside its hours."""

    def __init__(self, timetable: Timetable, hours: Hours, base: datetime) -> None:
        self._timetable = timetable
        self._hours = hours
        self._base = base

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:  # noqa: ARG002
        """The first time after `now`: however many were missed, they are one."""
        self._base = self._timetable.after(self._base, now)
        return self.spread(self._base)

    def spread(self, moment: datetime) -> datetime:
        """`moment`, or later by at most the jitter and until the rule's hours begin."""
        later = random.random() * self._timetable.schedule.jitter  # noqa: S311
        return self._hours.opening(moment + later)


class Schedule:
    """Every rule at its times, each run in a thread of its own.

    No rule waits for another and none overlaps itself: what comes due while it runs is left out.

    Args:
        live: The rules in force, and what runs.
        state: How the rules have fared.
        once: Runs the rule of that name; raises nothing.
    """

    def __init__(self, live: Live, state: State, once: Callable[[str], None]) -> None:
        self._live = live
        self._state = state
        self._once = once
        self._planning = threading.Lock()
        self._clock = _offset()
        self._taken_up = time.monotonic()
        self._scheduler = _Scheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(MOST_RUNS)},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )

    def start(self) -> None:
        """Sets the first schedule and starts."""
        self.plan()
        self._scheduler.start()

    def plan(self) -> None:
        """Finds every rule's next time anew, from the rules in force and the state.

        A run under way goes on, also when its rule is gone.
        """
        with self._planning:
            known = self._known()
            rules = scheduled(self._live.rules)
            for name in self.next_runs().keys() - rules.keys():
                self._scheduler.remove_job(_PREFIX + name)
            for name, rule in rules.items():
                self._add(rule, known[name])
            self._clock = _offset()

    def turning(self) -> bool:
        """Whether the scheduler's thread lives and takes up what is due; runs do not matter.

        Times are found anew when the clock was set, and a host that slept is caught up with.
        """
        moved = _offset() - self._clock
        if abs(moved) > _JUMP:
            log.get().warning("clock.set", seconds=round(moved))
            self.plan()
        late = self._live.now() - min(self.next_runs().values(), default=self._live.now())
        if late > _LATE:
            self._scheduler.wakeup()
        else:
            self._taken_up = time.monotonic()
        patient = time.monotonic() - self._taken_up < _PATIENCE
        return self._scheduler.alive and patient

    def daily(self, call: Callable[[], object], first: timedelta) -> None:
        """Has `call` called once a day, the first time after `first`."""
        at = datetime.now(UTC) + first
        self._scheduler.add_job(call, IntervalTrigger(days=1, timezone=UTC), next_run_time=at)

    def next_runs(self) -> dict[str, datetime]:
        """When each rule runs next."""
        return {
            job.id.removeprefix(_PREFIX): job.next_run_time
            for job in self._scheduler.get_jobs()
            if job.id.startswith(_PREFIX)
        }

    def stop(self) -> None:
        """Begins nothing more; runs under way go on."""
        self._scheduler.shutdown(wait=False)

    def _known(self) -> Mapping[str, dict[str, RuleState]]:
        found: defaultdict[str, dict[str, RuleState]] = defaultdict(dict)
        for record in self._state.rules.all():
            found[record.rule][record.target] = record
        return found

    def _add(self, rule: Rule, known: Mapping[str, RuleState]) -> None:
        if rule.schedule is None:
            return
        rules = self._live.rules
        records = [known.get(key, RuleState(rule.name, key)) for key in keys(rules, rule)]
        timetable = Timetable(rule.schedule, rules.timezone)
        running = self._live.is_running(rule.name)
        first = timetable.first(records, self._live.now(), running=running)
        trigger = Trigger(timetable, rules.hours(rule), first)
        self._scheduler.add_job(
            self._run,
            trigger,
            args=[rule.name],
            id=_PREFIX + rule.name,
            next_run_time=trigger.spread(first),
            replace_existing=True,
        )

    def _run(self, name: str) -> None:
        self._once(name)
        rules = self._live.rules
        rule = scheduled(rules).get(name)
        job = self._scheduler.get_job(_PREFIX + name)
        if rule is None or job is None or self._live.stopping:  # gone since
            return
        records = [self._state.rules.get(name, key) for key in keys(rules, rule)]
        soon = min(filter(None, map(retry, records)), default=job.next_run_time)
        again = rules.hours(rule).opening(soon)
        if again < job.next_run_time:
            with suppress(JobLookupError):
                job.modify(next_run_time=again)


def _offset() -> float:
    """How far the clock is from one that is never set. Suspended time counts for both."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
