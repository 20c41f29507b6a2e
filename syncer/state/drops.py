"""What was dropped or overwritten, and all it takes to bring it back; pins.

What a replication run does stands here; the rest, which prune, why and undo do, in `archive`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from syncer.manifest import Manifest
from syncer.state import engine, records

if TYPE_CHECKING:
    from syncer.state.archive import Archive

_KEEP = "INSERT OR IGNORE INTO kept_manifest (digest, media_type, raw) VALUES (?, ?, ?)"
_INTEND = """
    INSERT INTO dropped (
        registry, repository, tag, digest, media_type, how, at, expires, run, plan, policy, reason,
        trash_tag, suppress
    ) VALUES (
        :registry, :repository, :tag, :digest, :media_type, :how, :at, :expires, :run, :plan,
        :policy, :reason, :trash_tag, :suppress
    ) RETURNING id
"""
_LINK = "INSERT INTO dropped_manifest (dropped_id, position, digest) VALUES (?, ?, ?)"
_CONFIRM = "UPDATE dropped SET confirmed = ? WHERE id = ?"
_GONE = """
    UPDATE tag_seen SET gone = ? FROM dropped JOIN repository
    ON repository.registry = dropped.registry AND repository.name = dropped.repository
    WHERE dropped.id = ? AND tag_seen.repository_id = repository.id
    AND tag_seen.tag = dropped.tag AND tag_seen.digest = dropped.digest AND tag_seen.gone IS NULL
"""
_CANCEL = "DELETE FROM dropped WHERE id = ?"
_SUPPRESSED = """
    SELECT tag, digest FROM dropped
    WHERE registry = ? AND repository = ? AND suppress AND restored IS NULL
"""


class Drops:
    """The memory that undo, suppression and "digests stay for the undo window" rest on."""

    def __init__(self, database: engine.Database) -> None:
        self._database = database

    @cached_property
    def _archive(self) -> Archive:
        from syncer.state.archive import Archive  # noqa: PLC0415  (it imports SQLAlchemy)

        return Archive(self._database.core)

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
        rows = [(now, each) for each in ids]
        with self._database.write() as connection:
            connection.executemany(_CONFIRM, rows)
            connection.executemany(_GONE, rows)

    def cancel(self, ids: Collection[int]) -> None:
        """Forgets intentions that came to nothing: the binding is still there."""
        with self._database.write() as connection:
            connection.executemany(_CANCEL, [(each,) for each in ids])

    def suppressed(self, registry: str, repository: str) -> set[tuple[str, str]]:
        """The (tag, digest) that replication shall not bring back.

        Derived: what a policy with `apply = true` dropped here and no undo restored. An intention
        whose DELETE a crash left open counts too.
        """
        found = self._database.quick(_SUPPRESSED, registry, repository)
        return {(tag, digest) for tag, digest in found}

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
        return self._archive.dropped(
            registry=registry, repository=repository, tag=tag, plan=plan, run=run
        )

    def manifests(self, drop: int) -> list[Manifest]:
        """What to push to bring a drop back, in order: children first, what the tag named last.

        Raises:
            DigestMismatchError: The kept bytes are damaged.
        """
        return self._archive.manifests(drop)

    def restore(self, ids: Collection[int], *, pin_until: datetime, reason: str) -> None:
        """Records that an undo brought these back, and pins them: no rule drops them before."""
        self._archive.restore(ids, pin_until, reason)

    def trash(self, registry: str, repository: str) -> list[records.Dropped]:
        """The drops whose content a trash tag keeps alive; due for removal once they expire."""
        return self._archive.trash(registry, repository)

    def trash_removed(self, ids: Collection[int]) -> None:
        """Records that the trash tags of these drops are gone."""
        self._archive.trash_removed(ids)

    def pin(self, pin: records.Pin) -> None:
        """Pins a tag or digest, or moves the end of its pin."""
        self._archive.pin(pin)

    def pins(self, registry: str, repository: str) -> list[records.Pin]:
        """The pins that hold now."""
        return self._archive.pins(registry, repository)


def _keep(connection: sqlite3.Connection, drop: records.Drop, shared: dict[str, Any]) -> int:
    needed = (*drop.children, drop.manifest)
    connection.executemany(_KEEP, [(m.digest, m.media_type, m.raw) for m in needed])
    values = shared | {
        "tag": drop.tag,
        "digest": drop.manifest.digest,
        "media_type": drop.manifest.media_type,
        "reason": drop.reason,
        "trash_tag": drop.trash_tag,
    }
    [(number,)] = connection.execute(_INTEND, values).fetchall()
    links = [(number, position, m.digest) for position, m in enumerate(needed)]
    connection.executemany(_LINK, links)
    return int(number)
