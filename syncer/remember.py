"""Memory over the state database."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from syncer import errors
from syncer.manifest import Manifest
from syncer.memory import NOTHING, Bindings, Lease, Where
from syncer.state import Drop, State, TagRecord

# What the state says a tag points to that was listed and not looked at.
UNREAD = ""


@dataclass
class _Shared:
    """A lease that several parts of one run use: two rules may write to one repository."""

    lease: Lease
    users: int = 0


@dataclass(frozen=True)
class _Use:
    memory: StateMemory
    where: Where
    lease: Lease

    def check(self) -> None:
        self.lease.check()

    def release(self) -> None:
        self.memory.release(self.where)


class StateMemory:
    """Memory over the state, for one run.

    Args:
        state: The state.
        run: The run's id.
        undo_until: Until when an overwritten tag can be brought back.
    """

    def __init__(self, state: State, run: str, undo_until: datetime) -> None:
        self._state = state
        self._run = run
        self._undo_until = undo_until
        self._lock = threading.Lock()
        self._held: dict[Where, _Shared] = {}

    def ours(self, where: Where, source: Where) -> Bindings:
        """See `Memory`."""
        return {
            (tag, digest)
            for tag, records in self._state.tags.walk(*where)
            for digest, record in records.items()
            if record.ours
            and (record.source_registry, record.source_repository) in (source, ("", ""))
        }

    def suppressed(self, where: Where) -> Collection[tuple[str, str]]:
        """See `Memory`."""
        return self._state.drops.suppressed(*where)

    def confirmed(
        self, where: Where, source: Where | None, after: datetime, until: datetime
    ) -> Mapping[str, str]:
        """See `Memory`."""
        return settled(self._state.tags.walk(*where), source, after, until)

    def listed(
        self, where: Where, tags: Mapping[str, str], every: Collection[str], at: datetime
    ) -> None:
        """See `Memory`."""
        # A tag that no rule matches is noted by name. When one matches it later, it is known to be
        # as old as this, and does not pass for the newest of its repository.
        if unread := dict.fromkeys((tag for tag in every if tag not in tags), UNREAD):
            for tag, records in self._state.tags.walk(*where):
                if tag in unread and any(record.gone is None for record in records.values()):
                    del unread[tag]
            tags = {**unread, **tags}
        self._state.tags.observe(*where, tags, complete=False, listed=every, at=at)

    def standing(self, where: Where, tags: Mapping[str, str], at: datetime) -> None:
        """See `Memory`."""
        self._state.tags.observe(*where, tags, complete=False, at=at)

    def will_write(
        self,
        where: Where,
        tags: Mapping[str, str],
        source: Where,
        origins: Mapping[str, str] = NOTHING,
    ) -> None:
        """See `Memory`."""
        evidence = (
            (tag, found)
            for tag, records in self._state.tags.walk(*source)
            if (digest := tags.get(tag)) is not None
            and (found := _first_seen(records, origins.get(digest, digest))) is not None
        )
        self._state.tags.mark_ours(*where, tags, source=source, evidence=evidence)

    def mounts(self, registry: str, digest: str) -> Sequence[str]:
        """See `Memory`."""
        return self._state.blobs.locations(registry, [digest]).get(digest, ())

    def lease(self, where: Where, what: str) -> Lease:
        """See `Memory`."""
        with self._lock:
            held = self._held.get(where)
            if held is None:
                held = self._held[where] = _Shared(self._acquire(where, what))
            held.users += 1
        return _Use(self, where, held.lease)

    def release(self, where: Where) -> None:
        """Gives back one use of a lease; the last one lets others have it."""
        with self._lock:
            held = self._held[where]
            held.users -= 1
            if not held.users:
                del self._held[where]
                held.lease.release()

    def _acquire(self, where: Where, what: str) -> Lease:
        lease = self._state.leases.acquire(*where, what)
        if lease is not None:
            return lease
        holder = self._state.leases.holder(*where)
        raise errors.HeldError(
            f"held by process {holder.pid} on {holder.host} ({holder.what}) since"
            f" {holder.since:%F %T}Z"
            if holder
            else "held by a run that has just ended; run it again"
        )

    def overwriting(self, where: Where, tag: str, standing: Manifest, by: str) -> None:
        """See `Memory`."""
        self._state.drops.intend(
            *where,
            [Drop(tag, standing, reason=f"replaced by rule {by}")],
            how="overwritten",
            run=self._run,
            policy=by,
            expires=self._undo_until,
        )


def settled(
    seen: Iterable[tuple[str, Mapping[str, TagRecord]]],
    source: Where | None,
    after: datetime,
    until: datetime,
) -> dict[str, str]:
    """The tags that `Memory.confirmed` speaks of, from what was seen of a repository. Pure.

    What we meant to put at a target counts as seen before it stands there. So a tag that had
    something else at the last look has two digests, and is looked at until one of them is gone.
    """
    found = {}
    for tag, records in seen:
        live = [record for record in records.values() if record.gone is None]
        if len(live) == 1 and live[0].digest != UNREAD and after < live[0].last_seen <= until:
            one = live[0]
            origin = (one.source_registry, one.source_repository)
            if source is None or (one.ours and origin == source):
                found[tag] = one.digest
    return found


def _first_seen(records: Mapping[str, TagRecord], digest: str) -> datetime | None:
    """Since when a source's tag has pointed to `digest`: since it was listed, if that came first."""
    record = records.get(digest)
    if record is None:
        return None
    unread = records.get(UNREAD)
    read = [each.first_seen for name, each in records.items() if name != UNREAD]
    if unread is not None and record.first_seen == min(read):
        return min(unread.first_seen, record.first_seen)
    return record.first_seen
