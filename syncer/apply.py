"""Plans carried out: what a comparison or a prune decided is done here, and nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from syncer import copy, errors, events, plan, reference, work
from syncer.copy import Comparison
from syncer.manifest import Manifest
from syncer.memory import Lease, Memory


class Replicator:
    """Carries out the plans of replication rules.

    Args:
        run: The graph of work to run in.
        copier: Brings the content.
        memory: Leases, what is ours, what was overwritten.
        observer: Told how each step ended.
    """

    def __init__(
        self,
        run: work.Work,
        copier: copy.Copier,
        memory: Memory,
        observer: events.Observer,
    ) -> None:
        self.run = run
        self.copier = copier
        self.memory = memory
        self.observer = observer

    def __call__(self, comparison: Comparison, ended: Callable[[], None]) -> None:
        """Begins to carry out one plan; `ended` is called when its last step has ended."""
        announce(comparison, self.observer)
        if comparison.plan.refused or not comparison.plan.steps:
            ended()
            return
        _Target(self, comparison, ended).start()


def announce(comparison: Comparison, observer: events.Observer) -> None:
    """Tells what a plan holds, and ends the steps that will not be done."""
    one = comparison.plan
    blobs = {
        blob.digest: blob.size for found in comparison.manifests.values() for blob in found.blobs()
    }
    steps = 0 if one.refused else len(one.steps)
    observer(
        events.StepsPlanned(
            one.rule,
            one.target.registry,
            one.target.repository,
            steps,
            one.in_step,
            sum(blobs.values()),
            len(one.trimmed),
        )
    )
    for change in one.conflicts:
        reason = f"points to {change.previous}, which syncer did not put there"
        step = plan.Step(plan.Action.OVERWRITE, change.tag, change.digest, change.previous)
        observer(plan.ended_step(one, step, "conflict", reason, "CONFLICT"))
    for change in one.suppressed:
        step = plan.Step(plan.Action.COPY, change.tag, change.digest)
        observer(
            plan.ended_step(one, step, "suppressed", "dropped by a retention policy", "SUPPRESSED")
        )
    if one.refused:
        whole = plan.Step(plan.Action.OVERWRITE, "", "")
        observer(plan.ended_step(one, whole, "refused", one.refused, "REFUSED"))


class _Target:
    """One target repository of a comparison, under its lease."""

    def __init__(
        self, owner: Replicator, comparison: Comparison, ended: Callable[[], None]
    ) -> None:
        self._owner = owner
        self._run = owner.run
        self._plan = comparison.plan
        self._comparison = comparison
        self._source = comparison.source
        self._target = comparison.target
        self._ended = ended
        self._lease: Lease | None = None

    def start(self) -> None:
        self._run.submit(self._acquire, self._acquired, copy.READ)

    def _acquire(self) -> Lease:
        lease = self._owner.memory.lease(self._target.key, self._plan.rule)
        tags = {
            step.tag: step.digest
            for step in self._plan.steps
            if step.action is not plan.Action.ATTACH
        }
        self._will_write(tags)
        return lease

    def _will_write(self, tags: dict[str, str]) -> None:
        origins = self._comparison.origins
        self._owner.memory.will_write(self._target.key, tags, self._source.key, origins)

    def _acquired(self, outcome: work.Outcome[Lease]) -> None:
        if outcome.error is not None:
            for step in self._plan.steps:
                self._tell(step, *plan.failure(outcome.error))
            self._ended()
            return
        self._lease = outcome.get()
        self._target = dataclasses.replace(self._target, check=self._lease.check)
        self._run.each(self._plan.steps, self._begin, self._finish, self._run.threads * 2)

    def _begin(self, step: plan.Step, ended: Callable[[], None]) -> None:
        _Copy(self, step, ended).start()

    def finished(self, step: plan.Step, digest: str, error: errors.SyncerError | None) -> None:
        """Notes how a step ended."""
        if isinstance(error, errors.MovedError):
            self._tell(step, "conflict", str(error), error.code)
        elif isinstance(error, errors.UnsupportedContentError):
            fails = self._comparison.unsupported_fails
            self._tell(step, "failed" if fails else "skipped", str(error), error.code)
        elif isinstance(error, errors.NoPlatformError):  # the tag has moved to such an index
            self._tell(step, "skipped", str(error), error.code)
        elif error is not None:
            self._tell(step, *plan.failure(error))
        else:
            self._tell(dataclasses.replace(step, digest=digest), "done")

    def skipped(self, step: plan.Step, reason: str) -> None:
        """Notes that the source has nothing to copy any more."""
        self._tell(step, "skipped", reason, "GONE")

    def _tell(self, step: plan.Step, outcome: str, reason: str = "", code: str = "") -> None:
        self._owner.observer(plan.ended_step(self._plan, step, outcome, reason, code))

    def _finish(self) -> None:
        if self._lease is not None:
            self._lease.release()
        self._ended()

    def read_again(self, step: plan.Step, then: work.Then) -> None:
        """Asks the source once more what the tag points to."""
        source = self._source
        self._run.submit(lambda: source.store.resolve(source.repository, step.tag), then, copy.READ)

    def copy(self, step: plan.Step, digest: str, then: work.Then) -> None:
        """Brings the content of `digest` and puts it under the step's tag."""
        self._owner.copier.put(
            self._source,
            digest,
            self._target,
            lambda content: self._write(step, content),
            then,
            self._comparison.manifests.get(digest),
        )

    def attach(self, step: plan.Step, then: work.Then) -> None:
        """Brings what refers to the step's digest; the tag stays as it is."""
        subject = reference.subject_of(step.tag)
        if not subject:
            self._owner.copier.attach(self._source, step.digest, self._target, then)
            return
        self._owner.copier.put(
            self._source,
            step.digest,
            self._target,
            lambda listed: copy.merge_listing(self._target, subject, listed.manifests),
            then,
        )

    def _write(self, step: plan.Step, content: Manifest) -> None:
        target = self._target
        target.check()
        if content.digest != step.digest:  # the source moved on while the run was under way
            self._will_write({step.tag: content.digest})
        if step.previous:
            self._keep_previous(step)
        target.store.put_manifest(target.repository, step.tag or content.digest, content)

    def _keep_previous(self, step: plan.Step) -> None:
        """Saves what the tag points to now; the same request shows whether it has moved."""
        target = self._target
        standing = target.store.manifest(target.repository, step.tag)
        if standing.digest != step.previous:
            raise errors.MovedError(f"moved to {standing.digest} while the run was under way")
        self._owner.memory.overwriting(target.key, step.tag, standing, self._plan.rule)


class _Copy:
    """One step: copied, or looked up once more when the source has lost what was planned."""

    def __init__(self, target: _Target, step: plan.Step, ended: Callable[[], None]) -> None:
        self._target = target
        self._step = step
        self._ended = ended
        self._digest = step.digest

    def start(self) -> None:
        if self._step.action is plan.Action.ATTACH:
            self._target.attach(self._step, self._copied)
        else:
            self._target.copy(self._step, self._digest, self._copied)

    def _copied(self, outcome: work.Outcome[None]) -> None:
        lost = isinstance(outcome.error, errors.NotFoundError)
        if lost and self._digest == self._step.digest:
            self._target.read_again(self._step, lambda again: self._looked(again, outcome))
            return
        self._target.finished(self._step, self._digest, outcome.error)
        self._ended()

    def _looked(self, again: work.Outcome[object], first: work.Outcome[None]) -> None:
        found = getattr(again.value, "digest", "")
        if again.error is None and not found:
            self._target.skipped(self._step, "gone at the source since it was listed")
        elif again.error is None and found != self._digest:
            self._digest = found
            self.start()
            return
        else:
            self._target.finished(self._step, self._digest, again.error or first.error)
        self._ended()
