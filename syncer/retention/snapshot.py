"""What was observed of one repository: its tags with their times, and its manifests. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType

# Docker was first shown on this day. A tag "pushed" before it carries somebody's zero.
_FIRST_POSSIBLE = datetime(2013, 3, 15, tzinfo=UTC)


@dataclass(frozen=True)
class TagFact:
    """One tag and the evidence about it. All times are aware; None is what nobody knows.

    Attributes:
        tag: The tag.
        digest: What it points to.
        first_seen: When this state first saw this tag point to this digest. May be left None
            where the very first listing of a repository had it and `pushed` speaks instead.
        pushed: When the registry says the tag was pushed.
        pulled: When the registry says the tag was last pulled.
        source_order: For a tag we copied, when it came to be at the source: the push time there,
            else when this state first saw it there.
        created: What the content claims. Shown to people, never judged by.
    """

    tag: str
    digest: str
    first_seen: datetime | None = None
    pushed: datetime | None = None
    pulled: datetime | None = None
    source_order: datetime | None = None
    created: datetime | None = None

    def arrived(self) -> datetime | None:
        """The newest evidence of when the tag came to point here, which age limits go by."""
        return max(possible((self.pushed, self.first_seen)), default=None)

    def ordered(self, now: datetime) -> datetime | None:
        """What places the tag among others: at the source, else here. None: nobody knows.

        A time that has not come yet orders nothing: it would push honest tags out of the counts.
        """
        for moment in possible((self.source_order, self.pushed, self.first_seen)):
            return moment if moment <= now else None
        return None


@dataclass(frozen=True)
class Node:
    """A manifest as the closure sees it.

    Attributes:
        children: The digests an index lists; empty for a manifest.
        subject: The digest it refers to, or empty.
        media_type: Its media type.
        untagged_since: When this state first saw it without a tag that reaches it.
    """

    children: tuple[str, ...] = ()
    subject: str = ""
    media_type: str = ""
    untagged_since: datetime | None = None


@dataclass(frozen=True)
class Snapshot:
    """A repository as it was read.

    Attributes:
        repository: Its name.
        tags: Every tag, each once; without the trash tags that undo keeps.
        complete: Whether everything that was asked for could be read. If not, nothing is dropped.
        problem: Why not, in a sentence.
        manifests: What the tags reach, over children and referrers, and the untagged manifests
            the registry lists. A digest without a node was not read: what may depend on it stays.
        mirrored: For a digest, the registries at which it was verified.
        pulls_known: Whether the registry tells pulls, so that no pull time means never pulled.
        roots: Digests that something else holds: trash tags and what can still be undone.
    """

    repository: str
    tags: tuple[TagFact, ...]
    complete: bool
    problem: str = ""
    manifests: Mapping[str, Node] = field(default_factory=lambda: MappingProxyType({}))
    mirrored: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))
    pulls_known: bool = False
    roots: frozenset[str] = frozenset()


def possible(moments: Iterable[datetime | None]) -> list[datetime]:
    """Those of `moments` that are known and not before containers were."""
    return [each for each in moments if each is not None and each >= _FIRST_POSSIBLE]
