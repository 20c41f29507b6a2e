"""Which tag pointed where, since when, and whether that was our doing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, case, func, or_, select, update
from sqlalchemy.dialects.sqlite import Insert, insert

from syncer.state import engine, records, repositories, tables

REFRESH = timedelta(days=1)
_SEEN, _REPOSITORY = tables.core(tables.TagSeen), tables.core(tables.Repository)
_SOURCE = _REPOSITORY.alias()
_NOTHING: Mapping[str, datetime] = {}

_QUERY = (
    select(
        _SEEN.c.tag,
        _SEEN.c.digest,
        _SEEN.c.first_seen,
        _SEEN.c.last_seen,
        _SEEN.c.gone,
        _SEEN.c.ours,
        func.coalesce(_SOURCE.c.registry, ""),
        func.coalesce(_SOURCE.c.name, ""),
        _SEEN.c.source_first_seen,
    )
    .join(_REPOSITORY, _REPOSITORY.c.id == _SEEN.c.repository_id)
    .outerjoin(_SOURCE, _SOURCE.c.id == _SEEN.c.source_id)
    .where(_REPOSITORY.c.registry == bindparam("at"), _REPOSITORY.c.name == bindparam("named"))
)

Seen = dict[str, dict[str, records.TagRecord]]


class Tags:
    """The memory of every tag that was listed or written."""

    def __init__(self, database: engine.Database) -> None:
        self._database = database

    def seen(self, registry: str, repository: str) -> Seen:
        """What is known of a repository: for each tag, a record for each digest it pointed to."""
        seen: defaultdict[str, dict[str, records.TagRecord]] = defaultdict(dict)
        with self._database.read() as connection:
            for row in connection.execute(_QUERY, {"at": registry, "named": repository}):
                seen[row[0]][row[1]] = records.TagRecord(*row)
        return dict(seen)

    def observe(
        self,
        registry: str,
        repository: str,
        tags: Mapping[str, str],
        *,
        complete: bool,
        listed: Collection[str] | None = None,
        at: datetime | None = None,
    ) -> None:
        """Remembers that each of `tags` points to its digest; writes only what is news.

        A tag that comes back to a digest it had left is as young as its return.

        Args:
            registry: The registry's key.
            repository: The repository.
            tags: From tag to digest.
            complete: Any tag that is not among `tags` is gone.
            listed: Any tag that is not among these is gone, though not all of them were looked at.
            at: When they were listed; now by default.
        """
        at = at or self._database.now()
        known = self.seen(registry, repository)
        here = [_row(tag, digest, at) for tag, digest in _news(known, tags, at)]
        gone = list(_gone(known, tags, tags if complete else listed))
        if here or gone:
            with self._database.write() as connection:
                number = repositories.intern(connection, registry, repository)
                _store(connection, number, here)
                mark_gone(connection, number, gone, at)

    def mark_ours(
        self,
        registry: str,
        repository: str,
        tags: Mapping[str, str],
        *,
        source: tuple[str, str] | None = None,
        evidence: Mapping[str, datetime] = _NOTHING,
    ) -> None:
        """Remembers that these bindings are our doing, or were found in step with their source.

        Call it before the PUT: after a crash between the two the tag is still known as ours.

        Args:
            registry: The target's key.
            repository: The repository there.
            tags: From tag to digest.
            source: The source's registry key and repository.
            evidence: From tag to the source's own evidence of its age, where there is any.
        """
        known = self.seen(registry, repository)
        at = self._database.now()
        rows = [
            _row(tag, digest, at, ours=True, evidence=evidence.get(tag))
            for tag, digest in tags.items()
            if not _is_known(known.get(tag, {}).get(digest), source, evidence.get(tag))
        ]
        if rows:
            with self._database.write() as connection:
                number = repositories.intern(connection, registry, repository)
                origin = repositories.intern(connection, *source) if source else None
                _store(connection, number, rows, origin)


def _news(known: Seen, tags: Mapping[str, str], at: datetime) -> Iterator[tuple[str, str]]:
    for tag, digest in tags.items():
        record = known.get(tag, {}).get(digest)
        if record is None or record.gone or at - record.last_seen >= REFRESH:
            yield tag, digest


def _gone(
    known: Seen, tags: Mapping[str, str], listed: Collection[str] | None
) -> Iterator[tuple[str, str]]:
    here = None if listed is None else set(listed)
    for tag, digests in known.items():
        if tag in tags or (here is not None and tag not in here):
            for digest, record in digests.items():
                if not record.gone and tags.get(tag) != digest:
                    yield tag, digest


def _is_known(
    record: records.TagRecord | None, source: tuple[str, str] | None, evidence: datetime | None
) -> bool:
    if record is None or record.gone or not record.ours:
        return False
    same_source = source in (None, (record.source_registry, record.source_repository))
    return same_source and evidence in (None, record.source_first_seen)


def _row(
    tag: str, digest: str, at: datetime, *, ours: bool = False, evidence: datetime | None = None
) -> dict[str, Any]:
    return {
        "tag": tag,
        "digest": digest,
        "first_seen": at,
        "last_seen": at,
        "ours": ours,
        "source_first_seen": evidence,
    }


def _store(
    connection: Connection, number: int, rows: list[dict[str, Any]], origin: int | None = None
) -> None:
    if rows:
        shared = {"repository_id": number, "source_id": origin}
        connection.execute(_upsert(), [row | shared for row in rows])


def _upsert() -> Insert:
    statement = insert(_SEEN)
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["repository_id", "tag", "digest"],
        set_={
            "first_seen": case((_SEEN.c.gone.is_(None), _SEEN.c.first_seen), else_=new.first_seen),
            "last_seen": func.max(_SEEN.c.last_seen, new.last_seen),
            "gone": None,
            "ours": or_(_SEEN.c.ours, new.ours),
            "source_id": func.coalesce(new.source_id, _SEEN.c.source_id),
            "source_first_seen": func.coalesce(new.source_first_seen, _SEEN.c.source_first_seen),
        },
    )


def mark_gone(
    connection: Connection, number: int, bindings: list[tuple[str, str]], at: datetime
) -> None:
    """Records that these (tag, digest) of repository `number` no longer hold."""
    if bindings:
        statement = update(_SEEN).where(
            _SEEN.c.repository_id == number,
            _SEEN.c.tag == bindparam("old_tag"),
            _SEEN.c.digest == bindparam("old_digest"),
            _SEEN.c.gone.is_(None),
        )
        connection.execute(
            statement.values(gone=at),
            [{"old_tag": tag, "old_digest": digest} for tag, digest in bindings],
        )
