"""Targets of replication rules verified once, and repaired where told."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from syncer import copy
from syncer.patterns import Selection
from syncer.report import Report
from syncer.run import replication
from syncer.run.base import Environment, begin
from syncer.verify import Checked, Verifier


@dataclass
class Verified:
    """How targets were found, or left after a repair.

    Attributes:
        report: Counts and outcome: `ok` means that nothing is missing or wrong now, `partial` that
            something is or could not be looked at.
        checked: How much was looked at.
    """

    report: Report
    checked: Checked = field(default_factory=Checked)

    def as_dict(self) -> dict[str, Any]:
        """The JSON object of DESIGN section 4, with what was checked."""
        return self.report.as_dict() | {"checked": vars(self.checked)}


def verify(
    environment: Environment,
    names: Sequence[str] = (),
    *,
    repair: bool = False,
    only: Selection | None = None,
) -> Verified:
    """Verifies the targets of replication rules, all of them when no name is given.

    Args:
        environment: What it runs in.
        names: Rules.
        repair: Whether to bring what is missing.
        only: Narrows every rule to the source repositories it matches.

    Raises:
        UsageError: A name is that of no replication rule.
        StateError: The state cannot be written.
    """
    rules = replication.replication_rules(environment.rules, names)
    with begin(environment, "verify", replication.allow_empty(rules)) as run:
        graph = replication.graph_of(run, rules)
        copier = copy.Copier(graph, run.observer, run.memory.mounts)
        verifier = Verifier(graph, copier, run.memory, run.observer, repair=repair)
        with contextlib.closing(copier):
            replication.compare(run, graph, rules, verifier, only, verify=True)
    return Verified(run.report, verifier.checked)
