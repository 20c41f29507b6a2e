"""What one tag points to, on both sides: as few requests as the answer takes. Runs in leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from syncer import copy, diff, errors, manifest, reference
from syncer.manifest import Manifest
from syncer.store import Store


@dataclass
class Target:
    """A target repository as it was listed."""

    store: Store
    listed: frozenset[str] = frozenset()
    dropped: frozenset[str] = frozenset()  # by a retention policy, for good, at some digest
    new: bool = False
    error: errors.SyncerError | None = None


_NOWHERE: Mapping[str, str] = MappingProxyType({})
_NONE: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Look:
    """What one tag points to, at the source and at each target that lists it."""

    digest: str = ""
    content: Manifest | None = None
    skipped: str = ""  # why
    code: str = ""
    everywhere: bool = False  # every target has the same
    targets: Mapping[str, str] = field(default_factory=lambda: _NOWHERE)  # else, those that list it
    missing: Mapping[str, int] = field(default_factory=lambda: _NONE)  # referrers, by target
    merges: bool = False  # an index of referrers, to which targets may have added their own

    @property
    def in_step(self) -> bool:
        """Whether there is nothing to do for the tag, at any target."""
        return self.everywhere and not self.missing

    def at(self, target: str) -> str:
        """What the tag points to there; `UNRESOLVED` where the target does not list it."""
        return self.digest if self.everywhere else self.targets.get(target, diff.UNRESOLVED)


@dataclass(frozen=True)
class Looker:
    """Asks what tags point to.

    Attributes:
        source: The source repository.
        name: What it is called at the targets.
        targets: The targets that could be listed.
        api: Whether the source lists referrers itself and is to be asked for new ones; may wait.
    """

    source: copy.Side
    name: str
    targets: Sequence[Target]
    api: Callable[[], bool]

    def ask(self, tag: str) -> Look:
        """One HEAD a side; a GET of the source instead where a target is to get the tag."""
        holders = [target for target in self.targets if tag in target.listed]
        try:
            if not holders and not all(tag in target.dropped for target in self.targets):
                content = self.source.store.manifest(self.source.repository, tag)
                return Look(content.digest, content)
            found = self.source.store.resolve(self.source.repository, tag)
        except (errors.UnsupportedContentError, errors.NoPlatformError) as error:
            return Look(skipped=str(error), code=error.code)
        except errors.NotFoundError:
            found = None
        if found is None:
            return Look()
        if found.media_type in manifest.SCHEMA1_TYPES:
            why = f"{found.digest} is Docker schema 1, which no current registry takes"
            return Look(skipped=why, code=errors.UnsupportedContentError.code)
        at = {target.store.name: self._resolve(target, tag) for target in holders}
        if reference.subject_of(tag) and found.media_type in manifest.INDEX_TYPES:
            return Look(found.digest, targets=self._merged(found.digest, at), merges=True)
        in_step = [target for target in holders if at[target.store.name] == found.digest]
        everywhere = len(in_step) == len(self.targets)
        missing = self._missing(found.digest, in_step)
        targets = _NOWHERE if everywhere else at
        return Look(found.digest, everywhere=everywhere, targets=targets, missing=missing)

    def _merged(self, digest: str, at: Mapping[str, str]) -> Mapping[str, str]:
        """A target whose fallback tag lists all that the source's lists is in step with it."""
        wanted: set[str] | None = None
        told = dict(at)
        for target in self.targets:
            standing = at.get(target.store.name, "")
            if standing and standing != digest:
                if wanted is None:
                    wanted = _listed(self.source.store, self.source.repository, digest)
                if wanted <= _listed(target.store, self.name, standing):
                    told[target.store.name] = digest
        return told

    def _missing(self, digest: str, targets: Sequence[Target]) -> Mapping[str, int]:
        """How many referrers each target lacks: one GET, and one a target where there are any."""
        if not targets or not self.api():
            return _NONE
        wanted = _digests(self.source.store, self.source.repository, digest)
        lacks = {
            target.store.name: len(wanted - _digests(target.store, self.name, digest))
            for target in targets
            if wanted
        }
        return {name: count for name, count in lacks.items() if count}

    def _resolve(self, target: Target, tag: str) -> str:
        found = target.store.resolve(self.name, tag)
        return found.digest if found else diff.UNRESOLVED


def recalled(
    tags: Iterable[str], here: Mapping[str, str], there: Sequence[tuple[Target, Mapping[str, str]]]
) -> dict[str, str]:
    """Those of `tags` that were in step when last looked at and that every target lists. Pure.

    Args:
        tags: Tags of the source's listing that never move.
        here: What tags of the source are known to point to.
        there: The targets, each with what its tags are known to point to.

    Returns:
        Each with its digest, the same everywhere.
    """
    return {
        tag: here[tag]
        for tag in tags
        if tag in here
        and all(tag in target.listed and known.get(tag) == here[tag] for target, known in there)
    }


def _digests(store: Store, repository: str, subject: str) -> set[str]:
    return {each.digest for each in store.referrers(repository, subject)}


def _listed(store: Store, repository: str, digest: str) -> set[str]:
    return {each.digest for each in store.manifest(repository, digest).manifests}
