"""Undo: what a policy dropped or replication overwrote, brought back from what was kept.

The manifests come from the state, children first; their blobs must still be at the registry, which
they are until its garbage collection has run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from syncer import copy, errors, events, plan, work
from syncer.manifest import Manifest
from syncer.memory import Memory
from syncer.state import Dropped, State
from syncer.store import Store

RULE = "undo"


@dataclass(frozen=True)
class Wanted:
    """A binding to bring back, and where."""

    drop: Dropped
    store: Store


class Restorer:
    """Brings bindings back, each under the lease of its repository.

    Args:
        run: The graph of work to run in.
        state: What was kept.
        memory: Leases.
        observer: Told how each step ended.
        pin_until: Until when what comes back is pinned.
    """

    def __init__(
        self,
        run: work.Work,
        state: State,
        memory: Memory,
        observer: events.Observer,
        pin_until: datetime,
    ) -> None:
        self._run = run
        self._state = state
        self._memory = memory
        self._observer = observer
        self._pin_until = pin_until

    def __call__(self, wanted: Wanted, ended: Callable[[], None]) -> None:
        """Begins to bring one binding back."""
        drop = wanted.drop
        place = plan.Place(wanted.store.name, drop.repository)
        one = plan.RepositoryPlan(RULE, place)
        step = plan.Step(plan.Action.RESTORE, drop.tag, drop.digest)

        def restored(outcome: work.Outcome[str]) -> None:
            if outcome.error is None:
                how = "skipped" if outcome.value else "done"
                self._observer(plan.ended_step(one, step, how, outcome.value or ""))
            elif isinstance(outcome.error, errors.MovedError):
                reason, code = str(outcome.error), outcome.error.code
                self._observer(plan.ended_step(one, step, "conflict", reason, code))
            else:
                self._observer(plan.ended_step(one, step, *plan.failure(outcome.error)))
            ended()

        self._run.submit(lambda: self._restore(wanted), restored, copy.PUT)

    def _restore(self, wanted: Wanted) -> str:
        """Restores one binding; returns why nothing had to be done, or nothing."""
        drop, store = wanted.drop, wanted.store
        lease = self._memory.lease((store.key, drop.repository), f"undo {drop.tag}")
        try:
            standing = store.resolve(drop.repository, drop.tag)
            if standing is None or standing.digest != drop.digest:
                self._replace(drop, store, standing.digest if standing else "", lease.check)
            self._state.drops.restore(
                [drop.id], pin_until=self._pin_until, reason=f"brought back by undo of {drop.at:%F}"
            )
        finally:
            lease.release()
        is_there = standing is not None and standing.digest == drop.digest
        return "it was there already, and is pinned now" if is_there else ""

    def _replace(
        self, drop: Dropped, store: Store, standing: str, check: Callable[[], None]
    ) -> None:
        if standing and drop.how == "dropped":
            raise errors.MovedError(
                f"the tag has been pushed again and names {standing}; delete it first if the old one"
                " is wanted"
            )
        check()
        if standing:
            now = store.manifest(drop.repository, drop.tag)
            self._memory.overwriting((store.key, drop.repository), drop.tag, now, RULE)
        if drop.tag:  # before the write: no sync may take the tag for what it was
            back = {drop.tag: drop.digest}
            self._state.tags.observe(store.key, drop.repository, back, complete=False)
        push(store, drop.repository, drop.tag, self._state.drops.manifests(drop.id))


def push(store: Store, repository: str, tag: str, manifests: Sequence[Manifest]) -> None:
    """Puts manifests that were kept: children by digest where they are missing, the last by tag.

    Raises:
        UnavailableError: The registry has collected what they name.
    """
    *children, top = manifests
    try:
        for child in children:
            if store.resolve(repository, child.digest) is None:
                store.put_manifest(repository, child.digest, child)
        store.put_manifest(repository, tag or top.digest, top)
    except errors.RegistryError as error:
        if not {"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"} & set(error.codes):
            raise
        raise errors.NotFoundError(
            f"{store.name} has collected the content of {repository}:{tag}; copy it from a mirror"
            f" that still has {top.digest}",
            registry=store.name,
            codes=error.codes,
        ) from error
