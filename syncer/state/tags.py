"""Which tag pointed where, since when, and whether that was our doing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta

from syncer.state import engine, records, repositories

REFRESH = timedelta(days=1)
_NOTHING: Mapping[str, datetime] = {}
_SELECT = """
    SELECT tag, digest, first_seen, last_seen, gone, ours,
        coalesce(source.registry, ''), coalesce(source.name, ''), source_first_seen
    FROM tag_seen
    JOIN repository ON repository.id = tag_seen.repository_id
    LEFT JOIN repository AS source ON source.id = tag_seen.source_id
    WHERE repository.registry = ? AND repository.name = ?
"""
# A tag that comes back to a digest begins anew; what is known of its source stays known.
_STORE = """
    INSERT INTO tag_seen (
        repository_id, source_id, tag, digest, first_seen, last_seen, ours, source_first_seen
    ) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (repository_id, tag, digest) DO UPDATE SET
        first_seen = CASE WHEN gone IS NULL THEN first_seen ELSE excluded.first_seen END,
        last_seen = max(last_seen, excluded.last_seen),
        gone = NULL,
        ours = ours OR excluded.ours,
        source_id = coalesce(excluded.source_id, source_id),
        source_first_seen = coalesce(excluded.source_first_seen, source_first_seen)
"""
_END = """
    UPDATE tag_seen SET gone = ?
    WHERE repository_id = ? AND tag = ? AND digest = ? AND gone IS NULL
"""

Seen = dict[str, dict[str, records.TagRecord]]


class Tags:
    """The memory of every tag that was listed or written."""

    def __init__(self, database: engine.Database) -> None:
        self._database = database

    def seen(self, registry: str, repository: str) -> Seen:
        """What is known of a repository: for each tag, a record for each digest it pointed to."""
        seen: defaultdict[str, dict[str, records.TagRecord]] = defaultdict(dict)
        with self._database.read() as connection:
            for row in connection.execute(_SELECT, (registry, repository)):
                seen[row[0]][row[1]] = records.TagRecord._make(row)
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
        here = [(*binding, at, at, False, None) for binding in _news(known, tags, at)]
        gone = list(_gone(known, tags, tags if complete else listed))
        if here or gone:
            with self._database.write() as connection:
                number = repositories.intern(connection, registry, repository)
                connection.executemany(_STORE, ((number, None, *row) for row in here))
                connection.executemany(_END, ((at, number, *binding) for binding in gone))

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
            (tag, digest, at, at, True, evidence.get(tag))
            for tag, digest in tags.items()
            if not _is_known(known.get(tag, {}).get(digest), source, evidence.get(tag))
        ]
        if rows:
            with self._database.write() as connection:
                number = repositories.intern(connection, registry, repository)
                origin = repositories.intern(connection, *source) if source else None
                connection.executemany(_STORE, ((number, origin, *row) for row in rows))


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
