"""Verify: whether a target has all that its tags promise, and the bringing of what it lacks.

A tag that points to the right digest proves nothing about its children. So each tag in step is
walked down through indexes, manifests, blobs and referrers, each digest asked for once per
repository. Manifests are read from the target and their digests checked; a registry that counts
pulls counts these. Blobs are asked for by HEAD, which is as good as the registry's word:
distribution with a blob descriptor cache goes on saying yes to blobs that a collection has removed.
"""

from __future__ import annotations

from collections.abc import Callable

from syncer import copy, errors, events, plan, work
from syncer.memory import Memory
from syncer.verify.findings import Finding, Wrong
from syncer.verify.repair import Repair
from syncer.verify.walk import Checked, Walk

__all__ = ["Checked", "Finding", "Verifier", "Wrong"]


class Verifier:
    """Verifies the target of each comparison it is called with.

    Args:
        run: The graph of work to run in.
        copier: Reads from the source and brings what is missing.
        memory: Leases, what is ours.
        observer: Told of everything that is wrong, was repaired or could not be looked at.
        repair: Whether to bring what is missing. What differs is left to a sync.

    Attributes:
        checked: How much was looked at so far.
    """

    def __init__(
        self,
        run: work.Work,
        copier: copy.Copier,
        memory: Memory,
        observer: events.Observer,
        *,
        repair: bool = False,
    ) -> None:
        self._run = run
        self._copier = copier
        self._memory = memory
        self._observer = observer
        self._repair = repair
        self.checked = Checked()

    def __call__(self, comparison: copy.Comparison, ended: Callable[[], None]) -> None:
        """Begins to verify one target repository; `ended` is called when that is done."""

        def unsure(step: plan.Step, error: errors.SyncerError) -> None:
            self._observer(plan.ended_step(comparison.plan, step, *plan.failure(error)))

        walk = Walk(self._run, self._copier, comparison, self.checked, unsure)
        walk.start(lambda: self._walked(comparison, walk, ended))

    def _walked(self, comparison: copy.Comparison, walk: Walk, ended: Callable[[], None]) -> None:
        one = comparison.plan
        findings = [*_tags(one), *walk.findings]
        repairs = [finding for finding in findings if finding.missing] if self._repair else []
        self._announce(one, len(repairs))
        for finding in findings:
            if not (self._repair and finding.missing):
                reason = finding.reason(one.rule)
                self._tell(one, plan.Action.VERIFY, finding, "wrong", reason, finding.wrong.value)
        if not repairs:
            ended()
            return

        def tell(finding: Finding, outcome: str, reason: str, code: str) -> None:
            self._tell(one, plan.Action.REPAIR, finding, outcome, reason, code)

        repair = Repair(self._run, self._copier, self._memory, comparison, tell)
        repair.start(repairs, walk.absent, ended)

    def _announce(self, one: plan.RepositoryPlan, repairs: int) -> None:
        place = one.target
        self._observer(
            events.StepsPlanned(one.rule, place.registry, place.repository, repairs, one.in_step)
        )
        for change in one.suppressed:
            step = plan.Step(plan.Action.VERIFY, change.tag, change.digest)
            reason = "dropped by a retention policy"
            self._observer(plan.ended_step(one, step, "suppressed", reason, "SUPPRESSED"))

    def _tell(
        self,
        one: plan.RepositoryPlan,
        action: plan.Action,
        finding: Finding,
        outcome: str,
        reason: str,
        code: str,
    ) -> None:
        previous = finding.by if finding.wrong is Wrong.DIFFERS else ""
        step = plan.Step(action, finding.tag, finding.top, previous)
        self._observer(plan.ended_step(one, step, outcome, reason, code))


def _tags(one: plan.RepositoryPlan) -> list[Finding]:
    """The tags of a plan that are not as they should be."""
    found = []
    for step in one.steps:
        if step.action is plan.Action.COPY:
            found.append(Finding(Wrong.TAG, step.tag, step.digest, step.digest))
        elif step.action is plan.Action.OVERWRITE:
            found.append(Finding(Wrong.DIFFERS, step.tag, step.digest, step.digest, step.previous))
    found += [
        Finding(Wrong.DIFFERS, change.tag, change.digest, change.digest, change.previous)
        for change in one.conflicts
    ]
    return found
