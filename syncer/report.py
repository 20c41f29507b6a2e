"""What a run did, counted from its events: the report people read and `--json` prints."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from syncer import events

EXIT_CODES = {
    "ok": 0,
    "empty": 1,
    "failed": 1,
    "partial": 3,
    "refused": 5,
    "held": 75,
    "interrupted": 130,
}
# Errors beyond this many are counted, not listed: a dead registry has one per tag.
MOST_ERRORS = 1000
_TROUBLE = frozenset({"failed", "wrong", "conflict", "refused", "held"})


@dataclass
class RuleReport:
    """How one rule fared.

    Attributes:
        repositories: Source repositories (for a policy: repositories) its patterns matched.
        matched: Tags they matched.
        in_step: Tags that needed nothing (for a policy: are kept).
        remembered: Tags of `matched` that never move and were taken as in step without a look.
        recheck: How old the last look at these may be.
        planned: Steps that were to do.
        trimmed: Tags that have another digest than at the source, by the rule's `platforms`.
        steps: Steps by how they ended.
        allow_empty: Whether matching nothing is fine.
    """

    name: str
    allow_empty: bool = False
    repositories: int = 0
    matched: int = 0
    in_step: int = 0
    remembered: int = 0
    recheck: timedelta = timedelta()
    planned: int = 0
    trimmed: int = 0
    steps: Counter[str] = field(default_factory=Counter)
    first_trouble: str = ""
    stopped: bool = False

    @property
    def outcome(self) -> str:
        """One of the keys of `EXIT_CODES`; work left undone is never `ok`."""
        steps = self.steps
        good = steps["done"] + self.in_step + steps["suppressed"]
        if steps["interrupted"] or self.stopped:
            return "interrupted"
        if steps["refused"]:
            return "refused"
        if steps["failed"] or steps["conflict"] or steps["wrong"]:
            return "partial" if good or not steps["failed"] else "failed"
        if steps["held"]:
            return "partial" if good else "held"
        if not self.matched and not self.allow_empty:
            return "empty"
        return "ok"

    @property
    def behind(self) -> int:
        """Tags that were matched and are not in step now."""
        steps = self.steps
        return sum(steps[way] for way in ("failed", "conflict", "held", "refused", "interrupted"))

    @property
    def reason(self) -> str:
        """Why the outcome is not `ok`: the first trouble, in a sentence."""
        if self.outcome == "empty":
            return "its patterns matched nothing; set allow_empty = true if that is fine"
        return self.first_trouble if self.outcome != "ok" else ""

    def as_dict(self) -> dict[str, Any]:
        """The rule's entry in the JSON object."""
        return {
            "name": self.name,
            "outcome": self.outcome,
            "repositories": self.repositories,
            "matched": self.matched,
            "in_step": self.in_step,
            "remembered": self.remembered,
            "trimmed": self.trimmed,
            "reason": self.reason,
        }


class Report:
    """An observer that counts. Safe to call from several threads."""

    def __init__(self, run: str, command: str, rules: Mapping[str, bool]) -> None:
        """`rules` are the names of the rules that run, each with its `allow_empty`."""
        self.run = run
        self.command = command
        self.rules = {name: RuleReport(name, allow) for name, allow in rules.items()}
        self.blobs: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.requests: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.retries = 0
        self.planned_bytes = 0
        self.errors: list[events.StepDone] = []
        self.errors_left_out = 0
        self.skipped: list[events.StepDone] = []
        self.notices: list[events.Noticed] = []
        self.seconds = 0.0
        self._lock = threading.Lock()

    def __call__(self, event: events.Event) -> None:
        """Counts one event."""
        with self._lock:
            self._count(event)

    def _count(self, event: events.Event) -> None:
        match event:
            case events.RequestDone():
                self.requests[event.registry][event.method] += 1
            case events.BytesMoved():
                self.bytes[event.direction] += event.count
            case events.BlobDone():
                self.blobs[event.how] += 1
            case events.StepDone():
                self._step(event)
            case events.StepsPlanned():
                rule = self._rule(event.rule)
                rule.planned += event.steps
                rule.in_step += event.in_step
                rule.trimmed += event.trimmed
                self.planned_bytes += event.size
            case events.RuleMatched():
                self._rule(event.rule).repositories += event.repositories
                self._rule(event.rule).matched += event.tags
            case events.TagsRemembered():
                self._rule(event.rule).remembered += event.tags
                self._rule(event.rule).recheck = event.recheck
            case events.Retried():
                self.retries += 1
            case events.Noticed():
                self.notices.append(event)

    def _rule(self, name: str) -> RuleReport:
        return self.rules.setdefault(name, RuleReport(name))

    def _step(self, event: events.StepDone) -> None:
        rule = self._rule(event.rule)
        rule.steps[event.outcome] += 1
        if event.outcome == "skipped" and len(self.skipped) < MOST_ERRORS:
            self.skipped.append(event)
        if event.outcome not in _TROUBLE:
            return
        rule.first_trouble = rule.first_trouble or f"{event.reference}: {event.reason}"
        if len(self.errors) < MOST_ERRORS:
            self.errors.append(event)
        else:
            self.errors_left_out += 1

    @property
    def outcome(self) -> str:
        """The run's outcome: what all rules share, else the gravest of what they had."""
        return combined([rule.outcome for rule in self.rules.values()])

    @property
    def exit_code(self) -> int:
        """What the process should exit with."""
        return EXIT_CODES[self.outcome]

    def total(self, outcome: str) -> int:
        """How many steps of all rules ended so."""
        return sum(rule.steps[outcome] for rule in self.rules.values())

    def as_dict(self) -> dict[str, Any]:
        """The JSON object of DESIGN section 4."""
        names = (
            "done",
            "skipped",
            "conflict",
            "failed",
            "wrong",
            "suppressed",
            "held",
            "refused",
            "interrupted",
        )
        return {
            "run": self.run,
            "command": self.command,
            "outcome": self.outcome,
            "rules": [rule.as_dict() for rule in self.rules.values()],
            "steps": {
                "planned": sum(rule.planned for rule in self.rules.values()),
                **{name: self.total(name) for name in names},
            },
            "blobs": {how: self.blobs[how] for how in ("copied", "mounted", "present")},
            "bytes": {way: self.bytes[way] for way in ("read", "written")},
            "requests": {
                name: dict(sorted(count.items())) for name, count in sorted(self.requests.items())
            },
            "retries": self.retries,
            "seconds": round(self.seconds, 3),
            "errors": [_error(event) for event in self.errors],
            "errors_left_out": self.errors_left_out,
            "skipped": [_error(event) for event in self.skipped],
        }


def combined(outcomes: Sequence[str]) -> str:
    """One outcome for several rules; where they differ, work was left undone: `partial`."""
    distinct = set(outcomes)
    for grave in ("interrupted", "refused"):
        if grave in distinct:
            return grave
    if len(distinct) == 1:
        return outcomes[0]
    return "partial" if distinct else "ok"


def _error(event: events.StepDone) -> dict[str, str]:
    return {
        "rule": event.rule,
        "reference": event.reference,
        "code": event.code,
        "message": event.reason,
    }
