"""Where blobs were seen: proposals for mounts, never proof."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress

from syncer import errors
from syncer.state import engine, records, repositories
from syncer.state.writer import Writer

CANDIDATES = 5
_NEWEST = """
    SELECT repository.name FROM blob_location
    JOIN repository ON repository.id = blob_location.repository_id
    WHERE blob_location.digest = ? AND repository.registry = ?
    ORDER BY blob_location.last_seen DESC, repository.name LIMIT ?
"""
_STORE = """
    INSERT INTO blob_location (digest, repository_id, last_seen) VALUES (?, ?, ?)
    ON CONFLICT (digest, repository_id) DO UPDATE SET last_seen = excluded.last_seen
"""
_FORGET = """
    DELETE FROM blob_location WHERE digest = ?
    AND repository_id = (SELECT id FROM repository WHERE registry = ? AND name = ?)
"""


class Blobs:
    """The memory of which repositories have a blob."""

    def __init__(self, database: engine.Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer

    def locations(self, registry: str, digests: Collection[str]) -> dict[str, tuple[str, ...]]:
        """For each digest that is known, up to five repositories that may have it, newest first."""
        found = {
            digest: tuple(
                name for (name,) in self._database.quick(_NEWEST, digest, registry, CANDIDATES)
            )
            for digest in digests
        }
        return {digest: names for digest, names in found.items() if names}

    def remember(self, registry: str, repository: str, digests: Iterable[str]) -> None:
        """Records, soon, that this repository has these blobs.

        Never raises, so that an observer may call it: when the state can no longer be written,
        `Runs.finish` and the leases say so.
        """
        at = self._database.now()
        with suppress(errors.StateError):
            for digest in digests:
                self._writer.record(records.BlobSeen(registry, repository, digest, at))

    def forget(self, registry: str, repository: str, digest: str) -> None:
        """Takes back a location that turned out to be wrong."""
        with self._database.write() as connection:
            connection.execute(_FORGET, (digest, registry, repository))


def store(connection: sqlite3.Connection, seen: Sequence[records.BlobSeen]) -> None:
    """Stores a batch of locations."""
    places = {(blob.registry, blob.repository) for blob in seen}
    numbers = {place: repositories.intern(connection, *place) for place in places}
    connection.executemany(
        _STORE, [(blob.digest, numbers[blob.registry, blob.repository], blob.at) for blob in seen]
    )
