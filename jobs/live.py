"""What the daemon knows of itself now: the status page, the metrics and STATUS are made of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from syncer import events, stores
from syncer.report import RuleReport
from syncer.rules import PolicyRules, ReplicateRule, Rules
from syncer.state import RuleState, State

Rule = ReplicateRule | PolicyRules
Labels = tuple[str, ...]
_ENDED = frozenset({"done", "failed", "skipped", "held", "interrupted"})


@dataclass
class Current:
    """A run under way. An observer that counts how far it is.

    Attributes:
        rule: The rule or policy.
        since: When it began.
        stop: Set to end it at the next blob boundary.
        planned, ended: Steps known, and those of them that have ended.
        written: Bytes sent.
        pending: Bytes of blobs that are known and not placed yet.
    """

    rule: str
    since: datetime
    stop: threading.Event = field(default_factory=threading.Event)
    planned: int = 0
    ended: int = 0
    written: int = 0
    pending: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __call__(self, event: events.Event) -> None:
        """Counts one event."""
        with self._lock:
            match event:
                case events.StepsPlanned():
                    self.planned += event.steps
                    self.pending += event.size
                case events.StepDone(outcome=outcome) if outcome in _ENDED:
                    self.ended += 1
                case events.BytesMoved(direction="written"):
                    self.written += event.count
                case events.BlobDone():
                    self.pending = max(0, self.pending - event.size)


class Live:
    """The rules in force and the runs under way.

    Attributes:
        rules: The rules in force.
        loaded: Since when they are.
        problem: Why the file as it stands now is not in force; empty when it is.
        last: How the last run of each rule in this process fared.
        stopping: Whether the daemon ends: nothing new begins.
        now: The clock.
    """

    def __init__(self, rules: Rules, now: Callable[[], datetime]) -> None:
        self.rules = rules
        self.loaded = self.started = now()
        self.problem = ""
        self.last: dict[str, RuleReport] = {}
        self.stopping = False
        self.now = now
        self._lock = threading.Lock()
        self._running: dict[str, Current] = {}

    def adopt(self, rules: Rules) -> None:
        """Puts other rules in force."""
        self.rules, self.loaded, self.problem = rules, self.now(), ""

    @property
    def running(self) -> list[Current]:
        """The runs under way, the oldest first."""
        with self._lock:
            return list(self._running.values())

    def is_running(self, rule: str) -> bool:
        """Whether a run of that rule is under way here."""
        return rule in self._running

    @contextmanager
    def run(self, rule: str) -> Iterator[Current]:
        """A run that is known as under way until the block ends."""
        current = Current(rule, self.now())
        with self._lock:
            self._running[rule] = current
            if self.stopping:
                current.stop.set()
        try:
            yield current
        finally:
            with self._lock:
                del self._running[rule]

    def ended(self, rule: str, fared: RuleReport, _: object) -> None:
        """Remembers how a run fared."""
        self.last[rule] = fared

    def stop(self) -> None:
        """Asks every run to end."""
        with self._lock:
            self.stopping = True
            for current in self._running.values():
                current.stop.set()

    def status(self) -> str:
        """One line for `systemctl status`."""
        names = [current.rule for current in self.running]
        doing = f"running {', '.join(names)}" if names else "idle"
        if self.stopping:
            doing = f"stopping: waiting for {', '.join(names)}" if names else "stopping"
        if self.problem:
            return f"{doing}; the rules file is wrong, the rules before it stay in force"
        return doing


def rules_of(rules: Rules) -> list[Rule]:
    """The replication rules and the retention policies: names are unique among all of them."""
    return [*rules.replicate, *rules.policies]


def scheduled(rules: Rules) -> dict[str, Rule]:
    """Those with a schedule, by name."""
    return {rule.name: rule for rule in rules_of(rules) if rule.schedule}


def registries(rule: Rule) -> tuple[str, ...]:
    """The names of the registries that the state keeps a record of this rule for."""
    return rule.target if isinstance(rule, ReplicateRule) else (rule.registry,)


def known(rules: Rules, state: State) -> dict[Labels, RuleState]:
    """The records of the rules in force, by rule and name of the registry.

    Raises:
        StateError: The state cannot be read.
    """
    records = {(each.rule, each.target): each for each in state.rules.all()}
    return {
        (rule.name, name): records[at]
        for rule in rules_of(rules)
        for name in registries(rule)
        if (at := (rule.name, stores.key(rules.registry[name]))) in records
    }


def lag(record: RuleState, now: datetime) -> timedelta | None:
    """How far a target is behind: `now` minus the start of the last run that found all in step.

    It grows while the source is dead. None before the first full pass, however long that takes,
    and while nothing was ever in step.
    """
    if record.last_full_pass is None or record.last_success_started is None:
        return None
    return max(timedelta(), now - record.last_success_started)
