"""Rules -> APScheduler jobs: what runs when, and what happens around each run."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.interval import IntervalTrigger

from jobs.journal import Journal
from jobs.live import Current, Live, registries, scheduled
from jobs.prune import prune
from jobs.replicate import replicate
from jobs.timetable import Timetable, retry
from syncer import errors, events, log, report, run, stores
from syncer.rules import PolicyRules, ReplicateRule
from syncer.state import RuleState, State

# Runs at once; those above wait. Permits per registry bound the requests long before.
MOST_RUNS = 128
# How far the clock may move against the monotonic one before all times are found anew.
_JUMP = 30.0
_PREFIX = "rule:"

Ended = Callable[[str, str, report.Report | None], None]


class Trigger(BaseTrigger):  # type: ignore[misc]
    """The times of one rule, each a little later by chance where it has a jitter."""

    def __init__(self, timetable: Timetable, base: datetime) -> None:
        self._timetable = timetable
        self._base = base

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:  # noqa: ARG002
        """The first time after `now`: however many were missed, they are one."""
        self._base = self._timetable.after(self._base, now)
        return self.spread(self._base)

    def spread(self, moment: datetime) -> datetime:
        """`moment`, or later by at most the jitter."""
        return moment + random.random() * self._timetable.schedule.jitter  # noqa: S311


class Schedule:
    """Every rule at its times, each run in a thread of its own.

    No rule waits for another, none overlaps itself, and what a run raises ends that run alone.

    Args:
        live: The rules in force; told of every run.
        state: Where a rule's past is read and a run's failure is recorded.
        registries: Shared by all runs.
        observers: Listen to every run.
        ended: Told after each run: the rule, its outcome, its report (None: it could not begin).
    """

    def __init__(
        self,
        live: Live,
        state: State,
        registries: stores.Registries,
        *,
        observers: Sequence[events.Observer] = (),
        ended: Ended = lambda rule, outcome, report: None,  # noqa: ARG005
    ) -> None:
        self._live = live
        self._state = state
        self._registries = registries
        self._observers = tuple(observers)
        self._ended = ended
        self._planning = threading.Lock()
        self._clock = _offset()
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={
                "default": ThreadPoolExecutor(MOST_RUNS),
                # Beats may not wait for runs: a long copy is no hang.
                "beats": ThreadPoolExecutor(1),
            },
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
            records = _by_rule(self._state)
            rules = {rule.name: rule for rule in scheduled(self._live.rules)}
            for job in self._scheduler.get_jobs():
                if job.id.startswith(_PREFIX) and job.id.removeprefix(_PREFIX) not in rules:
                    self._scheduler.remove_job(job.id)
            for rule in rules.values():
                self._add(rule, records.get(rule.name, {}))
            self._clock = _offset()

    def beat(self, seconds: float, call: Callable[[], None]) -> None:
        """Has `call` called every `seconds` as long as the scheduler's thread turns."""

        def beat() -> None:
            call()
            if abs(_offset() - self._clock) > _JUMP:
                log.get().warning("clock.jumped", seconds=round(_offset() - self._clock))
                self.plan()

        self._scheduler.add_job(beat, IntervalTrigger(seconds=seconds, timezone=UTC), executor="beats")

    def daily(self, call: Callable[[], object], first: timedelta) -> None:
        """Has `call` called once a day, for the first time after `first`."""
        self._scheduler.add_job(
            call, IntervalTrigger(days=1, timezone=UTC), next_run_time=datetime.now(UTC) + first
        )

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

    def _add(self, rule: ReplicateRule | PolicyRules, known: Mapping[str, RuleState]) -> None:
        if rule.schedule is None:
            return
        timetable = Timetable(rule.schedule, self._live.rules.timezone)
        records = [known.get(key, RuleState(rule.name, key)) for key in self._keys(rule)]
        running = self._live.is_running(rule.name)
        first = timetable.first(records, self._live.now(), running=running)
        trigger = Trigger(timetable, first)
        self._scheduler.add_job(
            self._run,
            trigger,
            args=[rule.name],
            id=_PREFIX + rule.name,
            name=rule.name,
            next_run_time=trigger.spread(first),
            replace_existing=True,
        )

    def _keys(self, rule: ReplicateRule | PolicyRules) -> list[str]:
        return [stores.key(self._live.rules.registry[name]) for name in registries(rule)]

    def _run(self, name: str) -> None:
        """One run of a rule: the boundary behind which nothing that it raises gets."""
        rules = self._live.rules
        rule = next((each for each in scheduled(rules) if each.name == name), None)
        if rule is None or self._live.stopping:
            return
        with log.bound(rule=name), self._live.run(name) as current:
            begun, outcome, found = self._live.now(), "failed", None
            log.get().info("run.started")
            try:
                self._note_start(rule)
                found = self._carry_out(rule, current)
                outcome = found.rules[name].outcome
            except errors.SyncerError as error:
                log.get().error("run.failed", error=str(error), code=error.code)
            except Exception as error:  # noqa: BLE001 - the boundary of the scheduler
                log.get().error("run.crashed", error=str(error), exc_info=error)
            if found is None:
                self._note_failure(rule, begun)
        self._finish(rule, outcome, found)

    def _carry_out(self, rule: ReplicateRule | PolicyRules, current: Current) -> report.Report:
        job = replicate if isinstance(rule, ReplicateRule) else prune
        observers = (current, Journal(), *self._observers)
        environment = run.Environment(
            self._live.rules,
            self._registries,
            self._state,
            observers,
            current.stop,
            self._live.now,
        )
        return job(environment, rule.name)
