"""What a comparison is told: the rule with its stores open, where a repository lands, the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from syncer import copy, errors, events, work
from syncer.copy import Comparison
from syncer.memory import Memory
from syncer.rules import ReplicateRule
from syncer.store import Store


@dataclass(frozen=True)
class Job:
    """A rule with its stores open and its patterns at hand.

    Attributes:
        rule: The rule.
        source: What it reads, its indexes trimmed where it says so.
        targets: What it writes.
        origins: What trimmed digests were trimmed from, as far as the source was asked.
    """

    rule: ReplicateRule
    source: Store
    targets: tuple[Store, ...]
    origins: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Landing:
    """One source repository of a job, and the target repository it lands on."""

    job: Job
    source: copy.Side
    repository: str
    refused: str = ""


class Apply(Protocol):
    """What is done with each comparison; calls `ended` when nothing of it is left to do."""

    def __call__(self, comparison: Comparison, ended: Callable[[], None]) -> None:
        """Begins; runs in the coordinator."""


@dataclass(frozen=True)
class Context:
    """What the comparisons of one run share.

    Attributes:
        run: The graph of work to run in.
        memory: What was seen before; this adds what is seen now.
        observer: Told what was matched, planned and could not be looked at.
        apply: What becomes of each comparison.
        verify: Whether every tag is looked at, for a verify, which finds new referrers itself.
        now: When the run began.
    """

    run: work.Work
    memory: Memory
    observer: events.Observer
    apply: Apply
    verify: bool
    now: datetime

    def failed(self, job: Job, where: copy.Side, error: errors.SyncerError, tag: str = "") -> None:
        """Reports a repository (or one tag of it) that could not be looked at."""
        refused = isinstance(error, errors.RefusedError)
        interrupted = isinstance(error, errors.InterruptedRunError)
        self.observer(
            events.StepDone(
                job.rule.name,
                "compare" if tag else "list",
                "refused" if refused else "interrupted" if interrupted else "failed",
                where.store.name,
                where.repository,
                tag,
                "",
                reason=str(error),
                code=error.code,
            )
        )
