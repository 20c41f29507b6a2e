"""Layout: one OCI image layout as a Store."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from syncer import errors, events, manifest, reference
from syncer.layout import index, names
from syncer.layout.blobs import Blobs
from syncer.layout.disk import Disk
from syncer.layout.graph import Graph
from syncer.layout.index import Index
from syncer.manifest import Descriptor, Manifest
from syncer.store import Capabilities, Chunks, OpenBlob, Resolved, TagDelete, TagTimes

_ATTEMPTS = 3
_DONE = {"pull": "read", "push": "written to", "delete": "written to"}
_CAPABILITIES = Capabilities(tag_delete=TagDelete.TAG, referrers=True)


class Layout:
    """The layout in a directory, as a `store.Store`.

    The directory is made at the first write; the one it is in must be there, for it may be a disk
    that is not mounted. The repository "" is the layout's own, whose tags are plain.

    Args:
        path: The directory.
        name: What people call it; `oci:PATH/` if not given.
        observer: Told of the bytes of blobs that are read and written.
    """

    def __init__(
        self,
        path: Path | str,
        name: str | None = None,
        *,
        observer: events.Observer = events.ignore,
    ) -> None:
        try:
            root = Path(path).expanduser().resolve()
        except (RuntimeError, ValueError) as error:
            raise errors.UsageError(f"{str(path)!r} is no directory: {error}") from None
        self._name = name or f"{names.PREFIX}{str(path).rstrip('/')}/"
        self._own = names.own_repository(self._name)
        self._observer = observer
        self._disk = Disk(root, self._name)
        self._blobs = Blobs(self._disk)
        self._index = Index(self._disk, self._own)
        self._graph = Graph(self._by_digest)
        self._proven: set[str] = set()
        self._created = False

    @property
    def name(self) -> str:
        """The name people use."""
        return self._name

    @property
    def key(self) -> str:
        """`oci:` and the absolute path, links resolved."""
        return f"{names.PREFIX}{self._disk.root}"

    def capabilities(self, repository: str = "") -> Capabilities:  # noqa: ARG002
        """The same for every repository."""
        return _CAPABILITIES

    def permit(self, count: int = 1, *, writes: bool = False) -> AbstractContextManager[None]:  # noqa: ARG002
        """Nothing to wait for: a disk has no limit of requests."""
        return nullcontext()

    def repositories(self) -> Iterator[str]:
        """Every repository that a row of `index.json` names."""
        return iter(sorted({name for name, _ in self._index.rows() if name}))

    def tags(self, repository: str) -> list[str]:
        """Every tag, sorted.

        Raises:
            NotFoundError: No row names the repository, or there is no layout.
        """
        ours = self._repository(repository)
        targets = [target for name, target in self._index.rows() if name == ours]
        if not targets:
            raise self._missing(f"repository {ours}")
        return sorted(filter(reference.is_tag, targets))

    def resolve(self, repository: str, target: str) -> Resolved | None:
        """What a tag or digest points to; None also where that content is missing or damaged."""
        by_digest = reference.is_digest(target)
        try:
            found = (
                self._by_digest(target).descriptor if by_digest else self._row(repository, target)
            )
        except errors.NotFoundError:
            return None
        except errors.ContentError:
            if by_digest:
                return None
            raise
        if self._blobs.size(found.digest) != found.size:
            return None
        return Resolved(found.digest, found.media_type, found.size)

    def manifest(self, repository: str, target: str) -> Manifest:
        """The manifest or index under a tag or digest, its digest checked."""
        if reference.is_digest(target):
            return self._by_digest(target)
        row = self._row(repository, target)
        return manifest.parse(self._blobs.read(row.digest), row.media_type, row.digest)

    def put_manifest(self, repository: str, target: str, manifest: Manifest) -> None:
        """Stores the manifest's exact bytes, then its row; a tag of that name moves."""
        by_digest = reference.is_digest(target)
        digest = target if by_digest else manifest.digest
        blob = Descriptor(manifest.media_type, digest, manifest.size)
        row = index.row((repository, target), digest, manifest)
        name = (repository if by_digest else self._repository(repository), target)
        self._create()
        # The bytes are written under the lock, or a delete of the same digest could come between.
        with self._index.editing() as rows:
            if not self._blobs.holds(blob):
                self._blobs.write(blob, iter((manifest.raw,)))
            for child in manifest.manifests:
                rows.pop((repository, child.digest), None)
            if by_digest and self._rows_of(rows, repository, digest):
                return
            rows.pop((repository, digest), None)
            if name not in rows or rows[name].digest != digest:
                rows[name] = row

    def has_blob(self, repository: str, digest: str) -> bool:  # noqa: ARG002
        """Whether any repository of the layout has the blob."""
        return self._blobs.size(digest) is not None

    @contextmanager
    def open_blob(self, repository: str, descriptor: Descriptor) -> Iterator[Chunks]:  # noqa: ARG002
        """The blob's bytes; size and digest are checked before the last chunk is handed out."""
        with self._blobs.open(descriptor, lambda count: self._moved("read", count)) as chunks:
            yield chunks

    def put_blob(
        self,
        repository: str,  # noqa: ARG002
        descriptor: Descriptor,
        source: OpenBlob,
        mount_from: Sequence[str] = (),  # noqa: ARG002
    ) -> str:
        """Stores a blob; `"mounted"` where the layout has it already, for whatever repository.

        What is there is read once to prove it, and replaced if it is damaged.
        """
        self._create()
        if self._has(descriptor):
            return "mounted"
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with source() as chunks:
                    self._blobs.write(descriptor, chunks, lambda n: self._moved("written", n))
                break
            except errors.SyncerError as error:
                if attempt == _ATTEMPTS or not error.temporary:
                    raise
        self._proven.add(descriptor.digest)
        return "copied"

    def probe(self, repository: str) -> Capabilities:  # noqa: ARG002
        """Tags can be deleted where the directory can be written."""
        if os.access(self._disk.root, os.W_OK):
            return _CAPABILITIES
        return replace(_CAPABILITIES, tag_delete=TagDelete.NONE)

    def delete_tag(self, repository: str, tag: str) -> None:
        """Removes the tag's row; its content stays."""
        self._row(repository, tag)
        with self._index.editing() as rows:
            rows.pop((self._repository(repository), tag), None)

    def delete_manifest(self, repository: str, digest: str) -> None:
        """Removes the rows of a digest in this repository, and its bytes unless still named.

        Raises:
            NotFoundError: It has no row here, and is not there or is named elsewhere.
        """
        self._index.rows()
        with self._index.editing() as rows:
            found = self._rows_of(rows, repository, digest)
            for name in found:
                del rows[name]
        # Looked at again under the lock, now that the rows are gone from the disk: whatever stops
        # us in between, and whoever puts the same manifest just now, no row points at nothing.
        with self._index.editing() as rows:
            removed = not self._graph.names(rows, digest) and self._blobs.remove(digest)
        if not found and not removed:
            where = self._repository(repository)
            raise self._missing(f"manifest {digest} in {where}, or another index names it")

    def referrers_api(self, repository: str) -> bool:  # noqa: ARG002
        """Always: what refers to what is read from the manifests."""
        return True

    def referrers(self, repository: str, digest: str) -> list[Descriptor]:
        """What refers to `digest` in this repository, with a tag or without."""
        try:
            rows = self._index.rows()
        except errors.NotFoundError:
            return []
        return list(self._graph.referrers(rows, self._repository(repository)).get(digest, ()))

    def times(self, repository: str) -> dict[str, TagTimes]:  # noqa: ARG002
        """Empty: a layout does not tell."""
        return {}

    def skew(self) -> float | None:
        """None: a directory has no clock of its own."""
        return None

    def ping(self) -> str:
        """Who we are there: the user this process runs as.

        Raises:
            NotFoundError: There is no layout, nor a directory that one could be made in.
        """
        root = self._disk.root
        if root.is_dir() or not root.parent.is_dir():
            self._index.rows()
        return f"uid {os.geteuid()}"

    def may(self, repository: str, action: str) -> str:  # noqa: ARG002
        """Why we may not `pull`, `push` or `delete` there; empty when nothing speaks against it."""
        root = self._disk.root
        at = root if root.is_dir() else root.parent
        mode = os.R_OK | os.X_OK if action == "pull" else os.W_OK | os.X_OK
        return "" if os.access(at, mode) else f"{at} may not be {_DONE[action]} by us"

    def _repository(self, repository: str) -> str:
        return repository or self._own

    def _row(self, repository: str, tag: str) -> Descriptor:
        ours = self._repository(repository)
        found = self._index.rows().get((ours, tag))
        if found is None:
            raise self._missing(f"{ours}:{tag}")
        return found.descriptor

    def _rows_of(self, rows: index.Rows, repository: str, digest: str) -> list[names.Name]:
        """The names of a digest in a repository; those without a repository are in our own."""
        ours = self._repository(repository)
        owners = {ours, ""} if ours == self._own else {ours}
        return [name for name, row in rows.items() if row.digest == digest and name[0] in owners]

    def _by_digest(self, digest: str) -> Manifest:
        raw = self._blobs.read(digest)
        return manifest.parse(raw, _type_by_shape(raw), digest)

    def _has(self, blob: Descriptor) -> bool:
        known = blob.digest in self._proven and self._blobs.size(blob.digest) == blob.size
        if known or self._blobs.holds(blob):
            self._proven.add(blob.digest)
            return True
        return False

    def _create(self) -> None:
        if self._created:
            return
        root = self._disk.root
        if not root.parent.is_dir():
            raise errors.NotFoundError(
                f"{root.parent} is not there: mount or make it, and {root.name} is made in it",
                registry=self._name,
            )
        self._disk.make(root)
        self._index.create()
        self._disk.sweep()
        self._created = True

    def _moved(self, direction: str, count: int) -> None:
        self._observer(events.BytesMoved(self._name, direction, count))

    def _missing(self, what: str) -> errors.NotFoundError:
        return errors.NotFoundError(f"{self._name} has no {what}", registry=self._name)


def _type_by_shape(raw: bytes) -> str:
    """The media type of an OCI manifest that does not say its own; "" where nothing is to add."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(body, dict) or "mediaType" in body:
        return ""
    if "manifests" in body:
        return manifest.OCI_INDEX
    return manifest.OCI_MANIFEST if "layers" in body and "config" in body else ""
