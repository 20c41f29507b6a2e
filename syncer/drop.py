"""Prune plans carried out: looked at again under a lease, kept for undo, then removed.

Only what the plan and a second look both drop goes, and each tag is read once more just before:
a tag that moved, or a digest that gained a tag, stays and is reported.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from syncer import copy, errors, events, observe, plan, prune, reference, retention, work
from syncer.manifest import Manifest
from syncer.memory import Lease, Memory
from syncer.prune import Judge, Planned, Verdict
from syncer.state import Drop, State
from syncer.store import Capabilities, TagDelete


@dataclass(frozen=True)
class Order:
    """What a run of drops is told.

    Attributes:
        run: The run's id.
        plan: The stored plan, or empty.
        now: When the run began.
        suppress: Policies whose drops replication shall not bring back.
        lifted: Whether an operator has allowed the drops by their exact number.
    """

    run: str
    plan: str
    now: datetime
    suppress: frozenset[str] = frozenset()
    lifted: bool = False


class Dropper:
    """Carries out prune verdicts, one repository at a time each.

    Args:
        run: The graph of work to run in.
        judge: Decides again.
        state: Keeps what goes.
        memory: Leases.
        observer: Told how each step ended.
        order: What this run is told.
    """

    def __init__(
        self,
        run: work.Work,
        judge: Judge,
        state: State,
        memory: Memory,
        observer: events.Observer,
        order: Order,
    ) -> None:
        self.run = run
        self.judge = judge
        self.state = state
        self.memory = memory
        self.observer = observer
        self.order = order
        self.reader = observe.Reader(run)

    def __call__(self, planned: Planned, ended: Callable[[], None]) -> None:
        """Begins to carry out one plan; `ended` is called when its last step has ended."""
        if planned.plan.refused or not planned.plan.steps:
            ended()
            return
        _Repository(self, planned, ended).start()


class _Repository:
    def __init__(self, owner: Dropper, planned: Planned, ended: Callable[[], None]) -> None:
        self._owner = owner
        self._run = owner.run
        self._policy = planned.policy
        self._plan = planned.plan
        self._side = planned.side
        self._ended = ended
        self._lease: Lease | None = None

    def start(self) -> None:
        self._run.submit(
            lambda: self._owner.memory.lease(self._side.key, f"prune {self._plan.rule}"),
            self._acquired,
            copy.READ,
        )

    def _acquired(self, outcome: work.Outcome[Lease]) -> None:
        if outcome.error is not None:
            self._fail(outcome.error)
            return
        self._lease = outcome.get()
        self._run.submit(
            lambda: self._side.store.probe(self._side.repository), self._probed, copy.READ
        )

    def _probed(self, outcome: work.Outcome[Capabilities]) -> None:
        if outcome.error is not None:
            self._fail(outcome.error)
            return
        if outcome.get().tag_delete is TagDelete.NONE:
            name = self._side.store.name
            self._fail(
                errors.RefusedError(f"{name} refuses deletes: switch them on there, or prune there")
            )
            return
        walk = prune.walk(self._policy, self._side)
        self._owner.reader.read(self._side, self._read, walk)

    def _read(self, found: observe.Observed) -> None:
        self._run.submit(lambda: self._again(found), self._judged, copy.READ)

    def _again(self, found: observe.Observed) -> Verdict:
        store = self._side.store
        return self._owner.judge.judge(
            self._policy,
            self._side,
            found,
            store.times(self._side.repository),
            lifted=self._owner.order.lifted,
        )

    def _judged(self, outcome: work.Outcome[Verdict]) -> None:
        if outcome.error is not None:
            self._fail(outcome.error)
            return
        second = outcome.get()
        if second.plan.refused or not second.snapshot.complete:
            self._fail(errors.RefusedError(second.plan.refused or second.snapshot.problem))
            return
        steps = [step for step in self._plan.steps if self._still(step, second)]
        _Drops(self._owner, second, steps, self._lease, self._finish).start()

    def _still(self, step: plan.Step, second: Verdict) -> bool:
        """Whether the second look drops the same; says so where it does not."""
        if step.action is plan.Action.EXPIRE:
            return step in second.plan.steps
        decision = {each.tag: each for each in second.decisions}.get(step.tag)
        if decision is None:
            reason, code = "gone since it was planned", "GONE"
        elif decision.digest != step.digest:
            reason, code = f"moved to {decision.digest} since it was planned", "MOVED"
        elif decision.keep:
            reason, code = f"now kept: {decision.rule}: {decision.reason}", "KEPT"
        else:
            return True
        self._owner.observer(plan.ended_step(self._plan, step, "skipped", reason, code))
        return False

    def _fail(self, error: errors.SyncerError) -> None:
        for step in self._plan.steps:
            self._owner.observer(plan.ended_step(self._plan, step, *plan.failure(error)))
        self._finish()

    def _finish(self) -> None:
        if self._lease is not None:
            self._lease.release()
        self._ended()


class _Drops:
    """The drops of one repository, one after the other: no index outlives a child it lists."""

    def __init__(
        self,
        owner: Dropper,
        verdict: Verdict,
        steps: Sequence[plan.Step],
        lease: Lease | None,
        ended: Callable[[], None],
    ) -> None:
        self._owner = owner
        self._plan = verdict.plan
        self._policy = verdict.policy
        self._side = verdict.side
        self._store = verdict.side.store
        self._repository = verdict.side.repository
        self._lease = lease
        self._ended = ended
        self._steps = steps
        self._tags: dict[str, set[str]] = {}
        for decision in verdict.decisions:
            self._tags.setdefault(decision.digest, set()).add(decision.tag)
        self._dropping = {step.tag for step in steps if step.action is plan.Action.DROP}
        self._free = retention.unreachable(
            verdict.policy,
            verdict.snapshot,
            [
                dataclasses.replace(each, keep=each.tag not in self._dropping)
                for each in verdict.decisions
            ],
        )
        self._nodes = verdict.snapshot.manifests
        self._gone: set[str] = set()

    def start(self) -> None:
        self._owner.run.each(sorted(self._steps, key=self._place), self._begin, self._check, 1)

    def _place(self, step: plan.Step) -> tuple[int, str]:
        """Indexes in the order that is safe to delete them in, then the rest by tag."""
        node = self._nodes.get(step.digest)
        parents = node is not None and node.children and step.digest in self._free
        return (self._free.index(step.digest) if parents else len(self._free), step.tag)

    def _begin(self, step: plan.Step, ended: Callable[[], None]) -> None:
        def dropped(outcome: work.Outcome[None]) -> None:
            if outcome.error is None:
                self._tell(step, "done")
            elif isinstance(outcome.error, errors.MovedError):
                self._tell(step, "skipped", str(outcome.error), outcome.error.code)
            else:
                self._tell(step, *plan.failure(outcome.error))
            ended()

        self._owner.run.submit(lambda: self._drop(step), dropped, copy.PUT)

    def _tell(self, step: plan.Step, outcome: str, reason: str = "", code: str = "") -> None:
        self._owner.observer(plan.ended_step(self._plan, step, outcome, reason, code))

    def _drop(self, step: plan.Step) -> None:
        if step.digest in self._gone:
            return  # went with another tag of its digest
        if self._lease is not None:
            self._lease.check()
        if step.action is plan.Action.EXPIRE:
            self._expire(step)
            return
        standing = self._standing(step)
        kept = self._keep(step, standing)
        try:
            self._remove(step, standing)
        except errors.SyncerError:
            # Whether it is gone is for the next look to say; what is there cannot be undone.
            if self._store.resolve(self._repository, step.tag) is not None:
                self._owner.state.drops.cancel(kept)
            raise
        self._owner.state.drops.confirm(kept)

    def _expire(self, step: plan.Step) -> None:
        """Removes a trash tag; the registry may collect what it kept alive."""
        self._store.delete_tag(self._repository, step.tag)
        drops = self._owner.state.drops
        drops.trash_removed(
            [drop.id for drop in drops.trash(*self._side.key) if drop.trash_tag == step.tag]
        )

    def _standing(self, step: plan.Step) -> Manifest:
        """What the tag names right now, in full: the proof that it is what was judged."""
        try:
            standing = self._store.manifest(self._repository, step.tag)
        except errors.NotFoundError as error:
            raise errors.MovedError("gone since it was planned") from error
        if standing.digest != step.digest:
            raise errors.MovedError(f"moved to {standing.digest} since it was planned")
        return standing

    def _keep(self, step: plan.Step, standing: Manifest) -> list[int]:
        """Saves what undo needs, for every tag that goes with this one; on disk when it returns."""
        whole = self._by_digest(step, standing)
        together = sorted(self._tags[step.digest]) if whole else [step.tag]
        children = tuple(self._children(standing, 0))
        trash = self._trash(standing)
        order, policy = self._owner.order, self._policy
        return self._owner.state.drops.intend(
            *self._side.key,
            [Drop(tag, standing, children, step.reason, trash) for tag in together],
            run=order.run,
            plan=order.plan,
            policy=policy.name,
            expires=order.now + policy.guard.undo_window,
            suppress=policy.name in order.suppress,
        )

    def _children(self, parent: Manifest, depth: int) -> list[Manifest]:
        """The manifests below an index, each before what names it."""
        found: list[Manifest] = []
        for child in parent.manifests if depth <= copy.MAX_DEPTH else ():
            try:
                below = self._store.manifest(self._repository, child.digest)
            except (errors.NotFoundError, errors.UnsupportedContentError):
                continue  # an index may have lost a child before we came
            found += [*self._children(below, depth + 1), below]
        return found

    def _trash(self, standing: Manifest) -> str:
        """Keeps the content reachable where the registry would collect it; returns the tag."""
        if self._store.capabilities(self._repository).keeps_untagged:
            return ""
        digest = reference.short(standing.digest)
        tag = f"{reference.TRASH}{self._owner.order.now:%Y%m%d}-{digest}"
        self._store.put_manifest(self._repository, tag, standing)
        return tag

    def _by_digest(self, step: plan.Step, standing: Manifest) -> bool:
        """Whether the digest itself may go: every tag on it goes, and nothing that stays holds it."""
        can = self._store.capabilities(self._repository)
        if can.tag_delete is not TagDelete.DIGEST or not can.keeps_untagged:
            return False  # where a trash tag keeps the digest, it would go with it
        if standing.subject is not None:
            return False  # what it refers to may stay, and then so does this (I1)
        return self._tags[step.digest] <= self._dropping and step.digest in self._free

    def _remove(self, step: plan.Step, standing: Manifest) -> None:
        if self._by_digest(step, standing):
            self._store.delete_manifest(self._repository, step.digest)
            self._gone.add(step.digest)
        else:
            self._store.delete_tag(self._repository, step.tag)

    def _check(self) -> None:
        """Looks whether anything went that was not to go."""
        self._owner.run.submit(lambda: self._store.tags(self._repository), self._checked, copy.PUT)

    def _checked(self, outcome: work.Outcome[list[str]]) -> None:
        left = set(outcome.value or ())
        for digest, tags in self._tags.items():
            for tag in sorted(tags - self._dropping - left) if outcome.error is None else ():
                step = plan.Step(plan.Action.DROP, tag, digest)
                reason = "was to stay and is gone after the drops: somebody else removed it, or the registry did"
                self._tell(step, "failed", reason, "COLLATERAL")
        self._ended()
