"""Where blobs were seen: proposals for mounts, never proof."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from itertools import islice

from sqlalchemy import Connection, Executable, delete, func, select
from sqlalchemy.dialects.sqlite import insert

from syncer import errors
from syncer.state import engine, records, repositories, tables
from syncer.state.writer import Writer

CANDIDATES = 5
_PARAMETERS = 500
_BLOB, _REPOSITORY = tables.core(tables.BlobLocation), tables.core(tables.Repository)


class Blobs:
    """The memory of which repositories have a blob."""

    def __init__(self, database: engine.Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer

    def locations(self, registry: str, digests: Collection[str]) -> dict[str, tuple[str, ...]]:
        """For each digest that is known, up to five repositories that may have it, newest first."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        wanted = iter(digests)
        with self._database.read() as connection:
            while some := list(islice(wanted, _PARAMETERS)):
                for digest, repository in connection.execute(_newest(registry, some)):
                    found[digest].append(repository)
        return {digest: tuple(names) for digest, names in found.items()}

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
            number = repositories.find(connection, registry, repository)
            connection.execute(
                delete(_BLOB).where(_BLOB.c.digest == digest, _BLOB.c.repository_id == number)
            )


def _newest(registry: str, digests: list[str]) -> Executable:
    rank = func.row_number().over(
        partition_by=_BLOB.c.digest, order_by=(_BLOB.c.last_seen.desc(), _REPOSITORY.c.name)
    )
    ranked = (
        select(_BLOB.c.digest, _REPOSITORY.c.name, rank.label("rank"))
        .join(_REPOSITORY, _REPOSITORY.c.id == _BLOB.c.repository_id)
        .where(_REPOSITORY.c.registry == registry, _BLOB.c.digest.in_(digests))
        .subquery()
    )
    return (
        select(ranked.c.digest, ranked.c.name)
        .where(ranked.c.rank <= CANDIDATES)
        .order_by(ranked.c.rank)
    )


def store(connection: Connection, seen: Sequence[records.BlobSeen]) -> None:
    """Stores a batch of locations."""
    places = {(blob.registry, blob.repository) for blob in seen}
    numbers = {place: repositories.intern(connection, *place) for place in places}
    statement = insert(_BLOB)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["digest", "repository_id"],
            set_={"last_seen": statement.excluded.last_seen},
        ),
        [
            {
                "digest": blob.digest,
                "repository_id": numbers[blob.registry, blob.repository],
                "last_seen": blob.at,
            }
            for blob in seen
        ],
    )
