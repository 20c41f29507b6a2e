"""Leases: one writer at a time for each (registry, repository)."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.dialects.sqlite import insert

from syncer import errors, log
from syncer.state import engine, records, tables
from syncer.state.presence import Presence
from syncer.state.writer import Writer

LIFE = timedelta(seconds=60)
_LEASE = tables.core(tables.Lease)
_EXPIRES = """
    SELECT expires FROM lease WHERE registry = ? AND repository = ? AND holder = ? AND token = ?
"""
_FREE = {"holder": "", "expires": datetime(1970, 1, 1, tzinfo=UTC)}


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
        held = self._select(_is(registry, repository))
        return held[0] if held else None

    def held(self) -> list[records.Holder]:
        """Every lease held by anyone, by registry and repository."""
        return self._select()

    def check(self, lease: Lease) -> None:
        """See `Lease.check`. A lease that ran out while nobody took it is taken again."""
        self._writer.check()
        place = (lease.registry, lease.repository, self._holder, lease.token)
        found = self._database.quick(_EXPIRES, *place)
        now = self._database.now()
        if not found or (tables.moment(found[0][0]) <= now and not self._renew(lease)):
            raise errors.LeaseLostError(
                f"the lease of {lease.repository} at {lease.registry} was lost to another run"
            )

    def release(self, lease: Lease) -> None:
        """See `Lease.release`."""
        with self._lock:
            self._held.discard(lease)
        with contextlib.suppress(errors.StateError):  # no longer renewed, it runs out by itself
            self._update(self._is_ours(lease), _FREE)

    def free_dead(self) -> int:
        """Frees the leases of dead processes; returns how many."""
        query = select(_LEASE.c.slot).where(_LEASE.c.holder != "").distinct()
        with self._database.read() as connection:
            slots = connection.execute(query).scalars().all()
        dead = [slot for slot in slots if self._presence.is_dead(slot)]
        return self._update(_LEASE.c.slot.in_(dead), _FREE) if dead else 0

    def renew(self) -> None:
        """Prolongs every lease held here."""
        with self._lock:
            held = list(self._held)
        if held:
            with self._database.write() as connection:
                for lease in held:
                    where = self._is_ours(lease)
                    connection.execute(update(_LEASE).where(where).values(self._prolonged()))

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
            "holder": self._holder,
            "since": now,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "slot": self._presence.slot,
            "what": what,
            **self._prolonged(),
        }
        free = _LEASE.c.expires <= now
        if dead:
            free = or_(free, _LEASE.c.slot == dead)
        statement = (
            insert(_LEASE)
            .values(registry=registry, repository=repository, token=1, **values)
            .on_conflict_do_update(
                index_elements=["registry", "repository"],
                set_={"token": _LEASE.c.token + 1, **values},
                where=free,
            )
            .returning(_LEASE.c.token)
        )
        with self._database.write() as connection:
            return connection.execute(statement).scalar()

    def _dead_slot(self, registry: str, repository: str) -> str:
        query = select(_LEASE.c.slot).where(_is(registry, repository))
        with self._database.read() as connection:
            slot = connection.execute(query).scalar() or ""
        return slot if slot and self._presence.is_dead(slot) else ""

    def _renew(self, lease: Lease) -> bool:
        return self._update(self._is_ours(lease), self._prolonged()) == 1

    def _prolonged(self) -> dict[str, Any]:
        return {"expires": self._database.now() + LIFE}

    def _update(self, where: ColumnElement[bool], values: dict[str, Any]) -> int:
        with self._database.write() as connection:
            return connection.execute(update(_LEASE).where(where).values(values)).rowcount

    def _is_ours(self, lease: Lease) -> ColumnElement[bool]:
        return and_(
            _is(lease.registry, lease.repository),
            _LEASE.c.holder == self._holder,
            _LEASE.c.token == lease.token,
        )

    def _select(self, *where: ColumnElement[bool]) -> list[records.Holder]:
        query = select(_LEASE).where(_LEASE.c.expires > self._database.now(), *where)
        query = query.order_by(_LEASE.c.registry, _LEASE.c.repository)
        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()
        names = [field.name for field in fields(records.Holder)]
        return [records.Holder(**{name: row[name] for name in names}) for row in rows]

    def _beat(self) -> None:
        while not self._closing.wait(LIFE.total_seconds() / 3):
            try:
                self.renew()
            except errors.StateError as error:  # the next beat may do; a lapse shows at `check`
                log.get().warning("lease.renewal_failed", error=str(error))


def _is(registry: str, repository: str) -> ColumnElement[bool]:
    return and_(_LEASE.c.registry == registry, _LEASE.c.repository == repository)
