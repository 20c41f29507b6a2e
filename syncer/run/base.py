"""What every run is made of: its environment, its record in the state, its report."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from syncer import errors, events, log, work
from syncer.memory import Memory
from syncer.remember import StateMemory
from syncer.report import Report
from syncer.rules import Rules
from syncer.state import State
from syncer.stores import Registries, Stores

MOST_THREADS = 64
# Where answers come at once, more threads only take turns: 24 do 5,000 HEADs a side with two thirds
# of the CPU that 64 take. Once an answer of `_FAR` seconds is the quickest, they wait side by side.
NEAR_THREADS = 24
_FAR = 0.005


def utc_now() -> datetime:
    """The time of day."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Environment:
    """What every run needs and none owns.

    Attributes:
        rules: The rules file in force.
        registries: Connections, tokens and limits, shared by all runs of this process.
        state: The state database.
        observers: Further listeners: progress, metrics, log.
        stop: Set to end the run at the next blob boundary.
        now: The clock.
    """

    rules: Rules
    registries: Registries
    state: State
    observers: tuple[events.Observer, ...] = ()
    stop: threading.Event = field(default_factory=threading.Event)
    now: Callable[[], datetime] = utc_now


@dataclass
class Run:
    """A run under way."""

    id: str
    environment: Environment
    report: Report
    observer: events.Observer
    memory: Memory
    started: datetime
    stores: Stores
    distance: Distance

    @property
    def state(self) -> State:
        """The state database."""
        return self.environment.state

    def graph(self, registries: Sequence[str]) -> work.Work:
        """A graph of work with as many threads as these registries have permits."""
        threads = sum(self.stores.concurrency(name) for name in set(registries))
        most = min(MOST_THREADS, threads)
        return work.Work(most, self.environment.stop, self.distance.threads)


class Distance:
    """How far the registries of a run are: an observer of their quickest answers."""

    def __init__(self) -> None:
        self._quickest: dict[str, float] = {}

    def __call__(self, event: events.Event) -> None:
        """Takes in how long an answer took."""
        if isinstance(event, events.RequestDone) and event.status:
            known = self._quickest.get(event.registry)
            if known is None or event.seconds < known:
                self._quickest[event.registry] = event.seconds

    def threads(self) -> int:
        """How many threads are of use."""
        far = any(seconds >= _FAR for seconds in list(self._quickest.values()))
        return MOST_THREADS if far else NEAR_THREADS


@contextmanager
def begin(
    environment: Environment, command: str, rules: Mapping[str, bool], *, record: bool = True
) -> Iterator[Run]:
    """A run that is recorded from its first moment to its outcome, whatever happens in between.

    Args:
        environment: What it runs in.
        command: The command's name, for the history.
        rules: The names of the rules it runs, each with its `allow_empty`.
        record: Whether steps and the run itself go into the history; a dry run's do not.
    """
    state, started, clock = environment.state, environment.now(), time.monotonic()
    run_id = state.runs.begin(command, tuple(rules), environment.rules.digest) if record else ""
    report = Report(run_id, command, rules)
    distance = Distance()
    listeners: list[events.Observer] = [report, distance, *environment.observers]
    if record:
        listeners.insert(1, _recorder(environment, run_id))
    observer = events.fan_out(listeners)
    stores = environment.registries.open(environment.rules, observer, environment.stop)
    memory = StateMemory(state, run_id, started + environment.rules.retention.guard.undo_window)
    with log.bound(run=run_id):
        through = False
        try:
            yield Run(run_id, environment, report, observer, memory, started, stores, distance)
            through = True
        finally:
            if record and not through:
                # What ended the run is the news, also where the state is what failed.
                with contextlib.suppress(errors.StateError):
                    state.runs.finish(run_id, "failed", report.as_dict())
        _mark_stopped(report, environment.stop)
        report.seconds = time.monotonic() - clock
        if record:
            state.runs.finish(run_id, report.outcome, report.as_dict())


def _mark_stopped(report: Report, stop: threading.Event) -> None:
    """A rule that was not through when the stop came was interrupted, whatever it had done."""
    if stop.is_set():
        for rule in report.rules.values():
            rule.stopped = rule.stopped or rule.steps["interrupted"] > 0 or not rule.matched


def _recorder(environment: Environment, run: str) -> events.Observer:
    """Writes steps and blob locations to the state."""
    known = environment.rules.registry
    state = environment.state

    def key_of(name: str) -> str:
        return known[name].url if name in known else name

    steps = state.runs.listen(run, key_of)

    def tell(event: events.Event) -> None:
        if isinstance(event, events.BlobDone):
            state.blobs.remember(key_of(event.registry), event.repository, [event.digest])
        else:
            steps(event)

    return tell
