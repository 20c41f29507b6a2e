"""One source digest to one target: children, blobs, referrers, then the manifest, the tag last.

Everything goes by digest, so a tag never points at incomplete content. All methods of `Copier` run
in the coordinator of a `Work`; the requests are its leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from syncer import errors, events, manifest, reference, spool, store, work
from syncer.manifest import Descriptor, Manifest
from syncer.mounts import Mounts
from syncer.plan import RepositoryPlan
from syncer.shelf import Shelf
from syncer.sides import CARRY, OPEN, PUT, READ, Destination, Side

__all__ = [
    "CARRY",
    "MAX_DEPTH",
    "OPEN",
    "PUT",
    "READ",
    "SMALL_BLOB",
    "Comparison",
    "Copier",
    "Destination",
    "Side",
    "list_referrers",
    "merge_listing",
]

# Blobs up to this size are read whole, checked, and only then offered to the target.
SMALL_BLOB = 1024 * 1024
MAX_DEPTH = 8


@dataclass(frozen=True)
class Comparison:
    """What one target repository needs, with what was read on the way to finding out.

    Attributes:
        source: Where content comes from.
        target: Where it goes.
        plan: What is to be done.
        manifests: Source manifests that are already at hand, by digest.
        in_step: The tags that point to the same digest on both sides, and that digest.
        followers: Further tags of the source that are named after a digest: what they belong to is
            not known, as indexes in step are not read.
        origins: What trimmed digests were trimmed from.
        unsupported_fails: Whether content that can never be copied counts as a failure.
    """

    source: Side
    target: Destination
    plan: RepositoryPlan
    manifests: Mapping[str, Manifest] = field(default_factory=dict)
    in_step: Mapping[str, str] = field(default_factory=dict)
    followers: Sequence[str] = ()
    origins: Mapping[str, str] = field(default_factory=dict)
    unsupported_fails: bool = False


class Copier:
    """Copies content between stores, each thing once per run.

    Args:
        run: The graph of work to run in.
        observer: Told of every blob.
        candidates: Repositories of a store (by key) that may hold a digest, best first.
        targets: How many targets one source has; with several, its blobs are read once.
    """

    def __init__(
        self,
        run: work.Work,
        observer: events.Observer = events.ignore,
        candidates: Callable[[str, str], Sequence[str]] = lambda key, digest: (),  # noqa: ARG005
        *,
        targets: int = 1,
    ) -> None:
        self._run = run
        self._observer = observer
        self._mounts = Mounts(run, candidates)
        self._spool = spool.Spool(targets)
        self._manifests = Shelf(run)
        self._once = work.Once()
        self._attached = work.Once()
        run.when_stuck(self._break_circle)
        self._apis: dict[str, bool] = {}
        self._full: dict[tuple[str, str], errors.QuotaError] = {}

    def close(self) -> None:
        """Frees what was kept on disk; for after the graph has run."""
        self._spool.close()

    def put(
        self,
        source: Side,
        digest: str,
        target: Destination,
        write: Callable[[Manifest], object],
        then: work.Then,
        known: Manifest | None = None,
    ) -> None:
        """Brings everything `digest` names to the target, then runs `write(manifest)` as a leaf.

        `write` puts the manifest itself, under whatever names it should have. `known` spares the
        reading of a manifest that is already at hand.
        """
        if full := self._full.get(_project(target)):
            then(work.Outcome(error=full))  # its source is not even read
            return

        def ended(outcome: work.Outcome[Any]) -> None:
            if isinstance(outcome.error, errors.QuotaError):
                self._full.setdefault(_project(target), outcome.error)
            then(outcome)

        def complete(outcome: work.Outcome[Manifest]) -> None:
            if outcome.error is not None:
                ended(outcome)
                return
            content = outcome.get()
            written = self._naming(target, content, ended)
            self._run.submit(lambda: write(content), written, PUT)

        def attached(outcome: work.Outcome[None]) -> None:
            if outcome.error is not None:
                ended(outcome)
            else:
                self._complete(source, digest, target, complete, known=known)

        # Referrers first: a tag that arrives is already signed.
        self.attach(source, digest, target, attached)

    def attach(
        self, source: Side, subject: str, target: Destination, then: work.Then, depth: int = 0
    ) -> None:
        """Brings what refers to `subject`, and what refers to that, where the source tells."""
        if not target.referrers:
            then(work.DONE)
            return
        if depth > MAX_DEPTH:
            then(work.Outcome(error=_too_deep(subject)))
            return
        store_, repository = source.store, source.repository

        def ask(end: work.Then) -> None:
            self._run.submit(
                lambda: store_.referrers(repository, subject),
                lambda outcome: self._attach(source, subject, target, outcome, end, depth),
                READ,
            )

        def known(outcome: work.Outcome[bool]) -> None:
            # Without the API referrers stand under tags, which are copied as such.
            if outcome.error is not None or not self._apis[store_.key]:
                then(outcome)
            else:
                self._attached.ask((target.key, subject), ask, then)

        self._once.ask(("api", store_.key), lambda end: self._learn(source, end), known)

    def _break_circle(self) -> bool:
        """Ends a wait that leads back to itself: an index may name its own subject.

        Referrers that are on their way need not be waited for; content does.
        """
        circle = errors.InvalidManifestError("what refers to it leads back to it in a circle")
        return self._attached.release() or self._once.release(work.Outcome(error=circle))

    def _learn(self, source: Side, end: work.Then) -> None:
        """Finds out whether a source serves the referrers API."""

        def told(outcome: work.Outcome[bool]) -> None:
            self._apis[source.store.key] = bool(outcome.value)
            end(outcome)

        self._run.submit(lambda: source.store.referrers_api(source.repository), told, READ)

    def _attach(
        self,
        source: Side,
        subject: str,
        target: Destination,
        outcome: work.Outcome[list[Descriptor]],
        then: work.Then,
        depth: int,
    ) -> None:
        if outcome.error is not None or not outcome.value:
            then(outcome)
            return
        found = outcome.get()

        def arrived(end: work.Outcome[None]) -> None:
            if end.error is not None:
                then(end)
            else:
                self._run.submit(lambda: list_referrers(target, subject, found), then, PUT)

        join = work.Join(arrived)
        for referrer in found:
            self._child(source, referrer, target, join.part(), 0)
            self.attach(source, referrer.digest, target, join.part(), depth + 1)
        join.seal()

    def _complete(
        self,
        source: Side,
        digest: str,
        target: Destination,
        then: work.Then,
        *,
        depth: int = 0,
        known: Manifest | None = None,
    ) -> None:
        """Reads a manifest and brings what it names; ends with the manifest, which is not put."""
        if depth > MAX_DEPTH:
            then(work.Outcome(error=_too_deep(digest)))
            return

        def read(outcome: work.Outcome[Manifest]) -> None:
            if outcome.error is not None:
                then(outcome)
                return
            found = outcome.get()
            join = work.Join(lambda end: then(work.Outcome(found, end.error)))
            for child in found.manifests:
                if not child.is_manifest:  # a build cache is an index of blobs
                    self.blob(source, child, target, join.part())
                    continue
                self._child(source, child, target, join.part(), depth + 1)
                self.attach(source, child.digest, target, join.part())
            for blob in found.blobs():
                self.blob(source, blob, target, join.part())
            join.seal()

        if known is not None:
            read(work.Outcome(known))
        else:
            self._manifests.read(source, digest, read)

    def _child(
        self, source: Side, child: Descriptor, target: Destination, then: work.Then, depth: int
    ) -> None:
        """Has a child of an index at the target, by digest."""

        def put(end: work.Then) -> None:
            def complete(outcome: work.Outcome[Manifest]) -> None:
                if outcome.error is not None:
                    end(outcome)
                    return
                content = outcome.get()
                written = self._naming(target, content, end)
                self._run.submit(lambda: _put(target, content), written, PUT)

            self._complete(source, child.digest, target, complete, depth=depth)

        def ask(end: work.Then) -> None:
            def answered(outcome: work.Outcome[store.Resolved | None]) -> None:
                if outcome.error is not None or outcome.value is not None:
                    end(outcome)
                else:
                    put(end)

            self._run.submit(
                lambda: target.store.resolve(target.repository, child.digest), answered, READ
            )

        self._once.ask((target.key, child.digest), put if target.empty else ask, then)

    def _naming(self, target: Side, content: Manifest, then: work.Then) -> work.Then:
        """Once the manifest is put, what it names can be mounted from there."""

        def put(outcome: work.Outcome[Any]) -> None:
            if outcome.error is None:
                self._mounts.named(target, content)
            then(outcome)

        return put

    def read(self, source: Side, digest: str, then: work.Then) -> None:
        """Ends with the manifest that has `digest` at the source."""
        self._manifests.read(source, digest, then)

    def blob(self, source: Side, blob: Descriptor, target: Destination, then: work.Then) -> None:
        """Has a blob in the target repository, carried over the wire once per target registry."""
        if blob.is_foreign and not target.foreign:
            then(work.DONE)
            return

        def carry(known: Sequence[str], end: work.Then) -> None:
            if full := self._full.get(_project(target)):
                end(work.Outcome(error=full))
            else:
                self._run.submit(lambda: self._carry(source, blob, target, known), end, CARRY)

        def start(end: work.Then) -> None:
            def carried(outcome: work.Outcome[str]) -> None:
                self._spool.served(source.store, blob)
                end(outcome)

            self._mounts.carry(target, blob.digest, carry, carried)

        self._once.ask((target.key, blob.digest), start, then)

    def _carry(
        self, source: Side, blob: Descriptor, target: Destination, known: Sequence[str]
    ) -> str:
        if not target.empty and target.store.has_blob(target.repository, blob.digest):
            how = "present"
        elif blob.size > SMALL_BLOB:
            with store.permits(source.store, target.store):
                how = self._send(source, blob, target, known)
        else:
            how = self._send(source, blob, target, known)
        self._observer(
            events.BlobDone(target.store.name, target.repository, blob.digest, blob.size, how)
        )
        return how

    def _send(
        self, source: Side, blob: Descriptor, target: Destination, known: Sequence[str]
    ) -> str:
        return target.store.put_blob(
            target.repository,
            blob,
            lambda: self._spool.open(source.store, source.repository, blob),
            self._mounts.sources(source, target, blob.digest, known),
        )


def _project(target: Side) -> tuple[str, str]:
    """What quotas are given to: the registry and the first part of the repository's name."""
    return (target.store.key, target.repository.partition("/")[0])


def _put(target: Destination, content: Manifest) -> None:
    target.store.put_manifest(target.repository, content.digest, content)


def list_referrers(target: Destination, subject: str, found: Sequence[Descriptor]) -> bool:
    """Sees to it that the target lists these referrers; returns whether that took a write.

    Where the target has the API, putting the manifests was enough.
    """
    if target.store.referrers_api(target.repository):
        return False
    return merge_listing(target, subject, found)


def merge_listing(target: Destination, subject: str, found: Sequence[Descriptor]) -> bool:
    """Adds to the index under a subject's fallback tag; returns whether that took a write.

    What stands there is kept. A target that has the API may have such a tag, too: as a copy.
    """
    store_, repository = target.store, target.repository
    tag = reference.fallback_tag(subject)
    try:
        standing: Manifest | None = store_.manifest(repository, tag)
    except errors.NotFoundError:
        standing = None
    merged = manifest.referrers_index(standing, found)
    if merged is None:
        return False
    target.check()
    store_.put_manifest(repository, tag, merged)
    return True


def _too_deep(digest: str) -> errors.SyncerError:
    return errors.InvalidManifestError(f"index {digest} is nested more than {MAX_DEPTH} deep")
