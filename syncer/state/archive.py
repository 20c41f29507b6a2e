"""What prune, why and undo ask about drops; what an undo records; pins."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, select, update
from sqlalchemy.dialects.sqlite import insert

from syncer import manifest
from syncer.manifest import Manifest
from syncer.state import records, tables
from syncer.state.core import Core

_DROPPED = tables.core(tables.Dropped)
_KEPT = tables.core(tables.KeptManifest)
_LINK = tables.core(tables.DroppedManifest)
_PIN = tables.core(tables.Pin)


class Archive:
    """The other half of `Drops`, where the methods are explained."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def dropped(self, **given: str) -> list[records.Dropped]:
        """See `Drops.dropped`."""
        where = (_DROPPED.c[column] == value for column, value in given.items() if value)
        with self._core.read() as connection:
            return _select(connection, *where)

    def manifests(self, drop: int) -> list[Manifest]:
        """See `Drops.manifests`."""
        query = (
            select(_KEPT.c.raw, _KEPT.c.media_type, _KEPT.c.digest)
            .join(_LINK, _LINK.c.digest == _KEPT.c.digest)
            .where(_LINK.c.dropped_id == drop)
            .order_by(_LINK.c.position)
        )
        with self._core.read() as connection:
            return [manifest.parse(*row) for row in connection.execute(query)]

    def restore(self, ids: Collection[int], pin_until: datetime, reason: str) -> None:
        """See `Drops.restore`."""
        with self._core.write(durable=True) as connection:
            _update(connection, ids, {"restored": self._core.now()})
            for drop in _select(connection, _DROPPED.c.id.in_(ids)):
                place = (drop.registry, drop.repository, drop.tag, drop.digest)
                _pin(connection, records.Pin(*place, pin_until, reason))

    def trash(self, registry: str, repository: str) -> list[records.Dropped]:
        """See `Drops.trash`."""
        with self._core.read() as connection:
            return _select(
                connection,
                _DROPPED.c.registry == registry,
                _DROPPED.c.repository == repository,
                _DROPPED.c.trash_tag != "",
            )

    def trash_removed(self, ids: Collection[int]) -> None:
        """See `Drops.trash_removed`."""
        with self._core.write() as connection:
            _update(connection, ids, {"trash_tag": ""})

    def pin(self, pin: records.Pin) -> None:
        """See `Drops.pin`."""
        with self._core.write(durable=True) as connection:
            _pin(connection, pin)

    def pins(self, registry: str, repository: str) -> list[records.Pin]:
        """See `Drops.pins`."""
        query = select(_PIN).where(
            _PIN.c.registry == registry,
            _PIN.c.repository == repository,
            _PIN.c.until > self._core.now(),
        )
        with self._core.read() as connection:
            return [records.Pin(**row) for row in connection.execute(query).mappings()]


def _select(connection: Connection, *where: ColumnElement[bool]) -> list[records.Dropped]:
    query = select(_DROPPED).where(*where).order_by(_DROPPED.c.id.desc())
    return [records.Dropped(**row) for row in connection.execute(query).mappings()]


def _update(connection: Connection, ids: Collection[int], values: dict[str, Any]) -> None:
    connection.execute(update(_DROPPED).where(_DROPPED.c.id.in_(ids)).values(values))


def _pin(connection: Connection, pin: records.Pin) -> None:
    connection.execute(
        insert(_PIN)
        .values(vars(pin))
        .on_conflict_do_update(
            index_elements=["registry", "repository", "tag", "digest"],
            set_={"until": pin.until, "reason": pin.reason},
        )
    )
