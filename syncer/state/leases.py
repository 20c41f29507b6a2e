"""Leases: one writer at a time for each (registry, repository)."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from syncer import errors, log
from syncer.state import engine, records
from syncer.state.presence import Presence
from syncer.state.writer import Writer

LIFE = timedelta(seconds=60)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
# One statement, so that of many who try exactly one wins.
_TAKE = """
    INSERT INTO lease (
        registry, repository, holder, token, since, expires, host, pid, slot, what
    ) VALUES (:registry, :repository, :holder, 1, :now, :expires, :host, :pid, :slot, :what)
    ON CONFLICT (registry, repository) DO UPDATE SET
        holder = excluded.holder, token = token + 1, since = excluded.since,
        expires = excluded.expires, host = excluded.host, pid = excluded.pid,
        slot = excluded.slot, what = excluded.what
    WHERE lease.expires <= :now OR lease.slot = :dead
    RETURNING token
"""
_EXPIRES = """
    SELECT expires FROM lease WHERE registry = ? AND repository = ? AND holder = ? AND token = ?
"""
_CHANGE = """
    UPDATE lease SET holder = ?, expires = ?
    WHERE registry = ? AND repository = ? AND holder = ? AND token = ?
"""
_HELD = """
    SELECT registry, repository, what, host, pid, since, expires FROM lease WHERE expires > ?
"""
_HOLDER = _HELD + " AND registry = ? AND repository = ?"
_HOLDERS = _HELD + " ORDER BY registry, repository"
_SLOT = "SELECT slot FROM lease WHERE registry = ? AND repository = ?"
_SLOTS = "SELECT DISTINCT slot FROM lease WHERE holder <> ''"
_FREE = "UPDATE lease SET holder = '', expires = ? WHERE slot = ?"


class Lease:
    """The right to write to one repository, until released. A context manager."""

    def __init__(self, leases: Leases, registry: str, repository: str, token: int) -> None:
        self.registry = registry
        self.repository = repository
        self.token = token
        self._leases = leases

    def check(self) -> None:
        """Proves that the lease is still ours; to be called before each tag PUT and each DELETE.

        Raises:
            LeaseLostError: Another run has taken it, or it was released.
            StateError: The state can no longer be written, so what we do could not be recorded.
        """
        self._leases.check(self)

    def release(self) -> None:
        """Lets others have it. Releasing a lost or released lease does nothing."""
        self._leases.release(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class Leases:
    """The leases of this process. One thread renews all that are held, at a third of their life."""

    def __init__(self, database: engine.Database, presence: Presence, writer: Writer) -> None:
        self._database = database
        self._presence = presence
        self._writer = writer
        self._holder = secrets.token_hex(8)
        self._lock = threading.Lock()
        self._held: set[Lease] = set()
        self._closing = threading.Event()
        self._heart: threading.Thread | None = None

    def acquire(self, registry: str, repository: str, what: str) -> Lease | None:
        """Takes the lease; None when somebody else holds it (`holder` says who).

        One of a dead process is taken over at once, any other when it has run out.

        Args:
            registry: The registry's key.
            repository: The repository.
            what: What for, as others are told: a run's id, a rule's name.
        """
        self._writer.check()
        token = self._take(registry, repository, what, dead="")
        if token is None and (slot := self._dead_slot(registry, repository)):
            token = self._take(registry, repository, what, dead=slot)
        if token is None:
            return None
        lease = Lease(self, registry, repository, token)
        with self._lock:
            self._held.add(lease)
            if self._heart is None:
                self._heart = threading.Thread(target=self._beat, name="leases", daemon=True)
                self._heart.start()
        return lease

    def holder(self, registry: str, repository: str) -> records.Holder | None:
        """Who holds the lease; None when it is free."""
        found = self._database.quick(_HOLDER, self._database.now(), registry, repository)
        return records.Holder(*found[0]) if found else None

    def held(self) -> list[records.Holder]:
        """Every lease held by anyone, by registry and repository."""
        rows = self._database.quick(_HOLDERS, self._database.now())
        return [records.Holder(*row) for row in rows]

    def check(self, lease: Lease) -> None:
        """See `Lease.check`. A lease that ran out while nobody took it is taken again."""
        self._writer.check()
        found = self._database.quick(_EXPIRES, *self._identity(lease))
        now = self._database.now()
        if not found or (found[0][0] <= now and not self._renew([lease])):
            raise errors.LeaseLostError(
                f"the lease of {lease.repository} at {lease.registry} was lost to another run"
            )

    def release(self, lease: Lease) -> None:
        """See `Lease.release`."""
        with self._lock:
            self._held.discard(lease)
        with contextlib.suppress(errors.StateError):  # no longer renewed, it runs out by itself
            self._change([lease], "", _LONG_AGO)

    def free_dead(self) -> int:
        """Frees the leases of dead processes; returns how many."""
        slots = [slot for (slot,) in self._database.quick(_SLOTS)]
        dead = [(_LONG_AGO, slot) for slot in slots if self._presence.is_dead(slot)]
        if not dead:
            return 0
        with self._database.write() as connection:
            return connection.executemany(_FREE, dead).rowcount

    def renew(self) -> None:
        """Prolongs every lease held here."""
        with self._lock:
            held = list(self._held)
        if held:
            self._renew(held)

    def close(self) -> None:
        """Ends the thread and releases what is still held."""
        self._closing.set()
        if self._heart:
            self._heart.join()
        for lease in list(self._held):
            self.release(lease)

    def _take(self, registry: str, repository: str, what: str, *, dead: str) -> int | None:
        now = self._database.now()
        values = {
            "registry": registry,
            "repository": repository,
            "holder": self._holder,
            "now": now,
            "expires": now + LIFE,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "slot": self._presence.slot,
            "what": what,
            "dead": dead,
        }
        with self._database.write() as connection:
            taken = connection.execute(_TAKE, values).fetchall()
        return taken[0][0] if taken else None

    def _dead_slot(self, registry: str, repository: str) -> str:
        found = self._database.quick(_SLOT, registry, repository)
        return found[0][0] if found and self._presence.is_dead(found[0][0]) else ""

    def _renew(self, leases: Collection[Lease]) -> int:
        return self._change(leases, self._holder, self._database.now() + LIFE)

    def _change(self, leases: Collection[Lease], holder: str, expires: datetime) -> int:
        rows = [(holder, expires, *self._identity(lease)) for lease in leases]
        with self._database.write() as connection:
            return connection.executemany(_CHANGE, rows).rowcount

    def _identity(self, lease: Lease) -> tuple[str, str, str, int]:
        return lease.registry, lease.repository, self._holder, lease.token

    def _beat(self) -> None:
        while not self._closing.wait(LIFE.total_seconds() / 3):
            try:
                self.renew()
            except errors.StateError as error:  # the next beat may do; a lapse shows at `check`
                log.get().warning("lease.renewal_failed", error=str(error))
