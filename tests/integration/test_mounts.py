"""Blobs that many repositories share: each crosses once, also where mounts want a manifest first."""

from __future__ import annotations

import functools
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from syncer import copy, errors, manifest, work
from syncer.layout import Layout
from syncer.manifest import Descriptor, Manifest
from syncer.store import OpenBlob
from tests import content

REPOSITORIES = [f"team/app{number:02}" for number in range(20)]


class Target(Layout):
    """A target that mounts as registries do.

    Args:
        path: Where it keeps its content.
        mounts: Whether it mounts a blob from a repository.

    Attributes:
        ways: How often each blob came, and how.
        held: Which repositories hold which blobs.
        named: In which of them a manifest names it, too.
        first: Which repository had each blob first.
    """

    def __init__(self, path: Path, mounts: Callable[[Target, str, str], bool]) -> None:
        super().__init__(path)
        self._mounts = mounts
        self._guard = threading.Lock()
        self.ways: Counter[tuple[str, str]] = Counter()
        self.held: set[tuple[str, str]] = set()
        self.first: dict[str, str] = {}
        self.named: set[tuple[str, str]] = set()

    def put_blob(
        self,
        repository: str,
        descriptor: Descriptor,
        source: OpenBlob,
        mount_from: Sequence[str] = (),
    ) -> str:
        digest = descriptor.digest
        with self._guard:
            mounted = any(self._mounts(self, name, digest) for name in mount_from)
        if not mounted:
            super().put_blob(repository, descriptor, source)
        with self._guard:
            self.held.add((repository, digest))
            self.first.setdefault(digest, repository)
            self.ways[digest, "mounted" if mounted else "copied"] += 1
        return "mounted" if mounted else "copied"

    def put_manifest(self, repository: str, target: str, manifest: Manifest) -> None:
        super().put_manifest(repository, target, manifest)
        with self._guard:
            for blob in manifest.blobs():
                assert (repository, blob.digest) in self.held
                self.named.add((repository, blob.digest))


def _held(target: Target, repository: str, digest: str) -> bool:
    return (repository, digest) in target.held


def _named(target: Target, repository: str, digest: str) -> bool:
    return (repository, digest) in target.named


def _never(_target: Target, _repository: str, _digest: str) -> bool:
    return False


@pytest.mark.parametrize("threads", [1, 8])
@pytest.mark.parametrize(("mounts", "sent"), [(_held, 1), (_named, 2), (_never, 20)])
def test_a_shared_blob_crosses_once_and_once_more_where_it_takes_a_try_to_know_how(
    tmp_path: Path, mounts: Callable[[Target, str, str], bool], sent: int, threads: int
) -> None:
    base = tuple(content.blob(f"base {number}", 5000) for number in range(3))
    target = Target(tmp_path / "target", mounts)

    ends = _copy(tmp_path, target, dict.fromkeys(REPOSITORIES, base), threads)

    assert [end.error for end in ends.values()] == [None] * len(REPOSITORIES)
    copied = [target.ways[blob.digest, "copied"] for blob in base]
    assert max(copied) <= sent
    # The registry's habit shows in one mount; with it known no other blob is sent twice.
    assert mounts is _never or sum(copied) <= len(base) + sent - 1


@pytest.mark.parametrize("threads", [1, 8])
def test_who_waits_for_a_manifest_that_is_refused_goes_on_without_it(
    tmp_path: Path, threads: int
) -> None:
    known, shared = content.blob("known", 5000), content.blob("shared", 5000)
    target = Target(tmp_path / "target", _named)
    # Among the first the registry's habit shows; of the others, who carries the blob fails.
    wants: dict[str, tuple[content.Blob, ...]] = dict.fromkeys(REPOSITORIES[:12], (known,))
    wants |= dict.fromkeys(REPOSITORIES[12:], (shared,))

    ends = _copy(
        tmp_path, target, wants, threads, refused=lambda: target.first.get(shared.digest, "")
    )

    assert [name for name, end in ends.items() if end.error] == [target.first[shared.digest]]
    assert len({repository for repository, _ in target.named}) == len(wants) - 1


def _copy(
    path: Path,
    target: Target,
    wants: Mapping[str, tuple[content.Blob, ...]],
    threads: int,
    refused: Callable[[], str] = lambda: "",
) -> dict[str, work.Outcome[object]]:
    """Copies one tag into each repository; the manifest of the `refused` one is not taken."""
    source = Layout(path / "source")
    graph = work.Work(threads, threading.Event())
    copier = copy.Copier(graph)
    ends: dict[str, work.Outcome[object]] = {}
    digests = {name: _push(source, name, blobs) for name, blobs in wants.items()}

    def write(repository: str, found: Manifest) -> None:
        if repository == refused():
            raise errors.DeniedError("not this one")
        target.put_manifest(repository, "v1", found)

    def begin(repository: str, ended: Callable[[], None]) -> None:
        def then(outcome: work.Outcome[object]) -> None:
            ends[repository] = outcome
            ended()

        side, there = (
            copy.Side(source, repository),
            copy.Destination(target, repository, empty=True),
        )
        put = functools.partial(write, repository)
        copier.put(side, digests[repository], there, put, then)

    graph.each(wants, begin, lambda: None, 8)
    graph.run()
    return ends


def _opened(data: bytes) -> AbstractContextManager[Iterator[bytes]]:
    return nullcontext(iter((data,)))


def _push(source: Layout, repository: str, blobs: tuple[content.Blob, ...]) -> str:
    made = content.manifest(repository, layers=blobs)
    for blob in made.blobs:
        descriptor = Descriptor("application/octet-stream", blob.digest, len(blob.data))
        source.put_blob(repository, descriptor, functools.partial(_opened, blob.data))
    parsed = manifest.parse(made.data, made.media_type)
    source.put_manifest(repository, "v1", parsed)
    return parsed.digest
