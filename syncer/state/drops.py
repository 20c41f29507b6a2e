"""What was dropped or overwritten, and all it takes to bring it back; pins."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update
from sqlalchemy.dialects import sqlite

from syncer import manifest
from syncer.manifest import Manifest
from syncer.state import engine, records, repositories, tables, tags

_DROPPED = tables.core(tables.Dropped)
_KEPT = tables.core(tables.KeptManifest)
_LINK = tables.core(tables.DroppedManifest)
_PIN = tables.core(tables.Pin)


class Drops:
    """The memory that undo, suppression and "digests stay for the undo window" rest on."""

    def __init__(self, database: engine.Database) -> None:
        self._database = database

    def intend(
        self,
        registry: str,
        repository: str,
        drops: Iterable[records.Drop],
        *,
        run: str,
        expires: datetime,
        how: str = "dropped",
        plan: str = "",
        policy: str = "",
        suppress: bool = False,
    ) -> list[int]:
        """Keeps bindings and manifests before they go; on disk when this returns.

        Call it before the DELETE or the overwriting PUT, then `confirm`, or `cancel` when the
        registry refused.

        Args:
            registry: The registry's key.
            repository: The repository.
            drops: What goes.
            run: The run that does it.
            expires: Until when it can be undone.
            how: dropped, or overwritten by replication.
            plan: The plan it stands in.
            policy: The policy that decided.
            suppress: Replication shall not bring it back (the policy has `apply = true`).

        Returns:
            An id for each of `drops`, in their order.
        """
        shared = {
            "registry": registry,
            "repository": repository,
            "how": how,
            "at": self._database.now(),
            "expires": expires,
            "run": run,
            "plan": plan,
            "policy": policy,
            "suppress": suppress,
        }
        with self._database.write(durable=True) as connection:
            return [_keep(connection, drop, shared) for drop in drops]

    def confirm(self, ids: Collection[int]) -> None:
        """Records that the registry did it; a dropped tag is gone from now on."""
        now = self._database.now()
        with self._database.write() as connection:
            _update(connection, ids, {"confirmed": now})
            for drop in _select(connection, _DROPPED.c.id.in_(ids)):
                number = repositories.find(connection, drop.registry, drop.repository)
                if number is not None:
                    tags.mark_gone(connection, number, [(drop.tag, drop.digest)], now)

    def cancel(self, ids: Collection[int]) -> None:
        """Forgets intentions that came to nothing: the binding is still there."""
        with self._database.write() as connection:
            connection.execute(delete(_DROPPED).where(_DROPPED.c.id.in_(ids)))

    def dropped(
        self,
        registry: str = "",
        repository: str = "",
        tag: str = "",
        *,
        plan: str = "",
        run: str = "",
    ) -> list[records.Dropped]:
        """Every drop that fits all that is given, newest first; restored ones too."""
        given = {
            _DROPPED.c.registry: registry,
            _DROPPED.c.repository: repository,
            _DROPPED.c.tag: tag,
            _DROPPED.c.plan: plan,
            _DROPPED.c.run: run,
        }
        with self._database.read() as connection:
            return _select(
                connection, *(column == value for column, value in given.items() if value)
            )

    def manifests(self, drop: int) -> list[Manifest]:
        """What to push to bring a drop back, in order: children first, what the tag named last.

        Raises:
            DigestMismatchError: The kept bytes are damaged.
        """
        query = (
            select(_KEPT.c.raw, _KEPT.c.media_type, _KEPT.c.digest)
            .join(_LINK, _LINK.c.digest == _KEPT.c.digest)
            .where(_LINK.c.dropped_id == drop)
            .order_by(_LINK.c.position)
        )
        with self._database.read() as connection:
            return [manifest.parse(*row) for row in connection.execute(query)]

    def suppressed(self, registry: str, repository: str) -> set[tuple[str, str]]:
        """The (tag, digest) that replication shall not bring back.

        Derived: what a policy with `apply = true` dropped here and no undo restored. An intention
        whose DELETE a crash left open counts too.
        """
        query = select(_DROPPED.c.tag, _DROPPED.c.digest).where(
            _DROPPED.c.registry == registry,
            _DROPPED.c.repository == repository,
            _DROPPED.c.suppress,
            _DROPPED.c.restored.is_(None),
        )
        with self._database.read() as connection:
            return {(tag, digest) for tag, digest in connection.execute(query)}

    def restore(self, ids: Collection[int], *, pin_until: datetime, reason: str) -> None:
        """Records that an undo brought these back, and pins them: no rule drops them before."""
        with self._database.write(durable=True) as connection:
            _update(connection, ids, {"restored": self._database.now()})
            for drop in _select(connection, _DROPPED.c.id.in_(ids)):
                place = (drop.registry, drop.repository, drop.tag, drop.digest)
                _pin(connection, records.Pin(*place, pin_until, reason))

    def trash(self, registry: str, repository: str) -> list[records.Dropped]:
        """The drops whose content a trash tag keeps alive; due for removal once they expire."""
        with self._database.read() as connection:
            return _select(
                connection,
                _DROPPED.c.registry == registry,
                _DROPPED.c.repository == repository,
                _DROPPED.c.trash_tag != "",
            )

    def trash_removed(self, ids: Collection[int]) -> None:
        """Records that the trash tags of these drops are gone."""
        with self._database.write() as connection:
            _update(connection, ids, {"trash_tag": ""})

    def pin(self, pin: records.Pin) -> None:
        """Pins a tag or digest, or moves the end of its pin."""
        with self._database.write(durable=True) as connection:
            _pin(connection, pin)

    def pins(self, registry: str, repository: str) -> list[records.Pin]:
        """The pins that hold now."""
        query = select(_PIN).where(
            _PIN.c.registry == registry,
            _PIN.c.repository == repository,
            _PIN.c.until > self._database.now(),
        )
        with self._database.read() as connection:
            return [records.Pin(**row) for row in connection.execute(query).mappings()]


def _keep(connection: Connection, drop: records.Drop, shared: dict[str, Any]) -> int:
    needed = (*drop.children, drop.manifest)
    connection.execute(
        sqlite.insert(_KEPT).on_conflict_do_nothing(),
        [{"digest": m.digest, "media_type": m.media_type, "raw": m.raw} for m in needed],
    )
    values = shared | {
        "tag": drop.tag,
        "digest": drop.manifest.digest,
        "media_type": drop.manifest.media_type,
        "reason": drop.reason,
        "trash_tag": drop.trash_tag,
    }
    statement = insert(_DROPPED).values(values).returning(_DROPPED.c.id)
    number: int = connection.execute(statement).scalar_one()
    connection.execute(
        insert(_LINK),
        [
            {"dropped_id": number, "position": position, "digest": m.digest}
            for position, m in enumerate(needed)
        ],
    )
    return number


def _select(connection: Connection, *where: ColumnElement[bool]) -> list[records.Dropped]:
    query = select(_DROPPED).where(*where).order_by(_DROPPED.c.id.desc())
    return [records.Dropped(**row) for row in connection.execute(query).mappings()]


def _update(connection: Connection, ids: Collection[int], values: dict[str, Any]) -> None:
    connection.execute(update(_DROPPED).where(_DROPPED.c.id.in_(ids)).values(values))


def _pin(connection: Connection, pin: records.Pin) -> None:
    connection.execute(
        sqlite.insert(_PIN)
        .values(vars(pin))
        .on_conflict_do_update(
            index_elements=["registry", "repository", "tag", "digest"],
            set_={"until": pin.until, "reason": pin.reason},
        )
    )
