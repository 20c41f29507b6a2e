"""How many bytes a replication plan may move."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from syncer import errors
from syncer.browse.parallel import each
from syncer.copy import Comparison, Side
from syncer.manifest import Manifest
from syncer.plan import Action, Place, RepositoryPlan, Step

# A plan of more manifests than this is weighed by those at hand alone.
MOST_READ = 2000


@dataclass(frozen=True)
class Weight:
    """Bytes of the blobs that a plan's steps name; what a target has already is counted, too.

    Referrers are not: they are looked up when the content that they refer to is copied.

    Attributes:
        total: All of it; a blob counts once for each target registry.
        places: For each target repository; a blob counts once in each.
        unread: Manifests that were not read, so that what they name is missing here.
    """

    total: int
    places: Mapping[Place, int] = field(default_factory=dict)
    unread: int = 0


def weigh(comparisons: Sequence[Comparison]) -> Weight:
    """An upper bound of the bytes to move. Cost: a GET for each manifest not at hand."""
    known = {digest: found for each_ in comparisons for digest, found in each_.manifests.items()}
    unread = _read(known, comparisons)
    registries: defaultdict[str, dict[str, int]] = defaultdict(dict)
    places: dict[Place, int] = {}
    for one in comparisons:
        blobs = {
            digest: size
            for step in _steps(one.plan)
            for digest, size in _blobs(known, step.digest, foreign=one.target.foreign)
        }
        places[one.plan.target] = sum(blobs.values())
        registries[one.plan.target.registry] |= blobs
    total = sum(sum(blobs.values()) for blobs in registries.values())
    return Weight(total, places, unread)


def _read(known: dict[str, Manifest], comparisons: Sequence[Comparison]) -> int:
    """Adds the manifests that steps name, level by level; returns how many could not be had."""
    wanted = {step.digest: one.source for one in comparisons for step in _steps(one.plan)}
    read = unread = 0
    done: set[str] = set()
    while wanted := {digest: side for digest, side in wanted.items() if digest not in done}:
        missing = [(digest, side) for digest, side in wanted.items() if digest not in known]
        if read + len(missing) > MOST_READ:
            return unread + len(missing)
        read += len(missing)
        for (digest, _), found in zip(missing, each(missing, _get), strict=True):
            if isinstance(found, errors.SyncerError):
                unread += 1
            else:
                known[digest] = found
        done |= set(wanted)
        wanted = {
            child.digest: side
            for digest, side in wanted.items()
            if digest in known
            for child in known[digest].manifests
            if child.is_manifest
        }
    return unread


def _steps(plan: RepositoryPlan) -> list[Step]:
    """The steps that bring content; a referrer's is not known before it is looked up."""
    return [] if plan.refused else [s for s in plan.steps if s.action is not Action.ATTACH]


def _get(item: tuple[str, Side]) -> Manifest:
    digest, side = item
    return side.store.manifest(side.repository, digest)


def _blobs(
    known: Mapping[str, Manifest], digest: str, *, foreign: bool
) -> Iterator[tuple[str, int]]:
    """The blobs a manifest names, at any depth, each with its size."""
    found = known.get(digest)
    if found is None:
        return
    for blob in found.blobs():
        if foreign or not blob.is_foreign:
            yield blob.digest, blob.size
    for child in found.manifests:
        yield from _blobs(known, child.digest, foreign=foreign)
