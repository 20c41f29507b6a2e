"""Which tag pointed where, since when, and whether that was our doing."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import TypeVar

from syncer.state import engine, records, repositories

REFRESH = timedelta(days=1)
_SELECT = """
    SELECT tag, digest, first_seen, last_seen, gone, ours,
        coalesce(source.registry, ''), coalesce(source.name, ''), source_first_seen
    FROM tag_seen
    JOIN repository ON repository.id = tag_seen.repository_id
    LEFT JOIN repository AS source ON source.id = tag_seen.source_id
    WHERE repository.registry = ? AND repository.name = ?
    ORDER BY tag, digest
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
Walk = Iterable[tuple[str, Mapping[str, records.TagRecord]]]
Binding = tuple[str, str]  # tag and digest
_T = TypeVar("_T")


class Tags:
    """The memory of every tag that was listed or written."""

    def __init__(self, database: engine.Database) -> None:
        self._database = database

    def seen(self, registry: str, repository: str) -> Seen:
        """What is known of a repository: for each tag, a record for each digest it pointed to."""
        return dict(self.walk(registry, repository))

    def walk(
        self, registry: str, repository: str
    ) -> Iterator[tuple[str, dict[str, records.TagRecord]]]:
        """What `seen` says, tag by tag: a large repository need not be in memory whole."""
        with self._database.read() as connection:
            rows = connection.execute(_SELECT, (registry, repository))
            for tag, found in itertools.groupby(rows, operator.itemgetter(0)):
                yield tag, {row[1]: records.TagRecord._make(row) for row in found}

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
        every = None if listed is None else frozenset(tag for tag in listed if tag not in tags)
        every = frozenset() if complete else every
        news, gone = _news(self.walk(registry, repository), tags, every, at)
        here = [(*binding, at, at, False, None) for binding in news]
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
        evidence: Iterable[tuple[str, datetime]] = (),
    ) -> None:
        """Remembers that these bindings are our doing, or were found in step with their source.

        Call it before the PUT: after a crash between the two the tag is still known as ours.

        Args:
            registry: The target's key.
            repository: The repository there.
            tags: From tag to digest.
            source: The source's registry key and repository.
            evidence: Tags, in their order, each with the source's own evidence of its age.
        """
        at = self._database.now()
        known = _beside(tags, self.walk(registry, repository))
        rows = [
            (tag, tags[tag], at, at, True, since)
            for (tag, found), (_, since) in zip(known, _beside(tags, evidence), strict=True)
            if not _is_known((found or {}).get(tags[tag]), source, since)
        ]
        if rows:
            with self._database.write() as connection:
                number = repositories.intern(connection, registry, repository)
                origin = repositories.intern(connection, *source) if source else None
                connection.executemany(_STORE, ((number, origin, *row) for row in rows))


def _news(
    known: Walk, tags: Mapping[str, str], every: Collection[str] | None, at: datetime
) -> tuple[list[Binding], list[Binding]]:
    """The bindings to note, and those that no longer hold, in one walk over what is known.

    `every` are the other tags there are; None where that is not known.
    """
    news: list[Binding] = []
    gone: list[Binding] = []
    for tag, found in _joined(tags, known):
        digest = tags.get(tag)
        live = {old: record for old, record in (found or {}).items() if not record.gone}
        standing = live.pop(digest, None) if digest is not None else None
        if digest is not None and (standing is None or at - standing.last_seen >= REFRESH):
            news.append((tag, digest))
        if digest is not None or (every is not None and tag not in every):
            gone.extend((tag, old) for old in live)
    return news, gone


def _joined(
    tags: Iterable[str], found: Iterable[tuple[str, _T]]
) -> Iterator[tuple[str, _T | None]]:
    """Every tag of either, in order, and what was found for it. `found` is in the order of tags.

    SQLite orders text by its UTF-8 bytes, which is the order of Python's strings.
    """
    names = iter(sorted(tags))
    name = next(names, None)
    for tag, value in found:
        while name is not None and name < tag:
            yield name, None
            name = next(names, None)
        if name == tag:
            name = next(names, None)
        yield tag, value
    while name is not None:
        yield name, None
        name = next(names, None)


def _beside(
    tags: Mapping[str, str], found: Iterable[tuple[str, _T]]
) -> Iterator[tuple[str, _T | None]]:
    """Each of `tags`, in order, and what was found for it."""
    return ((tag, value) for tag, value in _joined(tags, found) if tag in tags)


def _is_known(
    record: records.TagRecord | None, source: tuple[str, str] | None, evidence: datetime | None
) -> bool:
    if record is None or record.gone or not record.ours:
        return False
    same_source = source in (None, (record.source_registry, record.source_repository))
    return same_source and evidence in (None, record.source_first_seen)
