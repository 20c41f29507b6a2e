"""Whether the sources of a mirrored repository are what they were, and its mirrors whole (I17)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta

from syncer import errors
from syncer.manifest import Manifest
from syncer.retention import Guard
from syncer.state import State, TagRecord
from syncer.store import Store

# How long a loss of tags at a source is held against pruning its mirrors.
MEMORY = timedelta(days=7)
_SMALL = 10

Seen = Mapping[str, Mapping[str, TagRecord]]


def problem(state: State, seen: Seen, sources: Collection[str], guard: Guard, now: datetime) -> str:
    """Why a repository fed from elsewhere must not be pruned now; empty when nothing speaks against.

    Args:
        state: What was seen at the sources, and what we dropped there ourselves.
        seen: What is known of the mirrored repository.
        sources: The keys of the registries that rules copy from.
        guard: How many percent a source may lose.
        now: The moment.
    """
    records = (record for digests in seen.values() for record in digests.values())
    places = {
        (each.source_registry, each.source_repository)
        for each in records
        if each.gone is None and each.source_registry in sources
    }
    found = (_lost(state, place, guard, now) for place in sorted(places))
    return next((reason for reason in found if reason), "")


def _lost(state: State, place: tuple[str, str], guard: Guard, now: datetime) -> str:
    known = state.tags.seen(*place)
    ours = {drop.tag for drop in state.drops.dropped(*place) if drop.how == "dropped"}
    present = {tag for tag, digests in known.items() if _stands(digests.values())}
    lost = {
        tag
        for tag, digests in known.items()
        if tag not in present | ours and _left(digests.values()) >= now - MEMORY
    }
    name = "/".join(place)
    if known and not present and lost:
        return (
            f"its source {name} listed no tags when last looked at; nothing is pruned from a mirror"
        )
    if len(lost) <= _SMALL or len(lost) * 100 <= guard.max_delete_pct * len(present | lost):
        return ""
    return (
        f"its source {name} lost {len(lost)} of {len(present | lost)} tags in the last"
        f" {MEMORY.days} days; nothing is pruned from its mirror until that is past"
    )


def _stands(records: Iterable[TagRecord]) -> bool:
    return any(each.gone is None for each in records)


def _left(records: Iterable[TagRecord]) -> datetime:
    return max(each.gone or each.last_seen for each in records)


def is_whole(store: Store, repository: str, digest: str, depth: int = 0) -> bool:
    """Whether a store has a manifest with all its children and blobs; any doubt is a no."""
    try:
        found = store.manifest(repository, digest)
        return depth <= 8 and _has_parts(store, repository, found, depth)
    except errors.SyncerError:
        return False


def _has_parts(store: Store, repository: str, found: Manifest, depth: int) -> bool:
    return all(
        is_whole(store, repository, child.digest, depth + 1) for child in found.manifests
    ) and all(blob.is_foreign or store.has_blob(repository, blob.digest) for blob in found.blobs())
