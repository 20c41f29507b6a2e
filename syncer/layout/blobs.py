"""Content under `blobs/<algorithm>/<encoded>`: never read or written without being checked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from syncer import errors, manifest, reference
from syncer.layout.disk import Disk
from syncer.manifest import Descriptor
from syncer.store import Chunks

_CHUNK = 256 * 1024

# Told the number of bytes of each chunk.
Moved = Callable[[int], None]


def _silently(count: int) -> None:
    pass


class Blobs:
    """The blobs of a layout, manifests among them."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def size(self, digest: str) -> int | None:
        """The number of bytes stored under `digest`; None where there are none."""
        path = self._path(digest)
        with self._disk.failures(path):
            return path.stat().st_size if path.is_file() else None

    @contextmanager
    def open(self, blob: Descriptor, moved: Moved = _silently) -> Iterator[Chunks]:
        """The blob's bytes; size and digest are checked before the last chunk is handed out."""
        path = self._path(blob.digest)
        file = self._disk.open(path)
        if file is None:
            raise self._missing(blob.digest)
        with file:
            yield self._checked(file, path, blob, moved)

    def read(self, digest: str) -> bytes:
        """A manifest's bytes, their digest left for the parser to check.

        Raises:
            NotFoundError: There is no such blob.
            InvalidManifestError: There is, and it is too large for a manifest.
        """
        raw = self._disk.read(self._path(digest), manifest.LIMIT + 1)
        if raw is None:
            raise self._missing(digest)
        if len(raw) > manifest.LIMIT:
            raise errors.InvalidManifestError(
                f"{digest} in {self._disk.name} is more than {manifest.LIMIT} bytes: no manifest"
            )
        return raw

    def holds(self, blob: Descriptor) -> bool:
        """Whether the blob is there, every byte of it right."""
        try:
            with self.open(blob) as chunks:
                for _ in chunks:
                    pass
        except (errors.NotFoundError, errors.ContentError):
            return False
        return True

    def write(self, blob: Descriptor, chunks: Chunks, moved: Moved = _silently) -> None:
        """Stores a blob; what has not the right size and digest leaves nothing behind."""
        path = self._path(blob.digest)
        running = manifest.hasher(blob.digest.partition(":")[0])
        left = blob.size
        self._make(path.parent)
        with self._disk.replacing(path) as write:
            for chunk in chunks:
                left -= len(chunk)
                if left < 0:
                    raise _wrong_size(blob, "more")
                running.update(chunk)
                write(chunk)
                moved(len(chunk))
            if left:
                raise _wrong_size(blob, f"{blob.size - left}")
            _check(blob, running.hexdigest())

    def remove(self, digest: str) -> bool:
        """Removes a blob; whether it was there."""
        path = self._path(digest)
        with self._disk.failures(path):
            there = path.is_file()
            path.unlink(missing_ok=True)
        return there

    def _checked(self, file: FileIO, path: Path, blob: Descriptor, moved: Moved) -> Chunks:
        running = manifest.hasher(blob.digest.partition(":")[0])
        size = os.fstat(file.fileno()).st_size
        if size != blob.size:
            raise _wrong_size(blob, f"{size}")
        buffer = memoryview(bytearray(min(_CHUNK, max(size, 1))))
        left = size
        while True:
            with self._disk.failures(path):
                chunk = buffer[: file.readinto(buffer[:left])]
            left -= len(chunk)
            running.update(chunk)
            if left and not chunk:
                raise _wrong_size(blob, f"{size - left}")
            if not left:
                _check(blob, running.hexdigest())
            if chunk:
                moved(len(chunk))
                yield chunk
            if not left:
                return

    def _path(self, digest: str) -> Path:
        # The grammar of digests has no / and no .. in it: no name climbs out of the directory.
        if not reference.is_digest(digest):
            raise errors.InvalidManifestError(f"{digest!r} is no digest")
        algorithm, _, encoded = digest.partition(":")
        return self._disk.root / "blobs" / algorithm / encoded

    def _make(self, directory: Path) -> None:
        self._disk.make(directory.parent)
        self._disk.make(directory)
        if not directory.resolve().is_relative_to(self._disk.root):
            raise errors.ProtocolError(
                f"{directory} is a link out of the layout; nothing is written there",
                registry=self._disk.name,
            )

    def _missing(self, digest: str) -> errors.NotFoundError:
        return errors.NotFoundError(f"{self._disk.name} has no {digest}", registry=self._disk.name)


def _wrong_size(blob: Descriptor, received: str) -> errors.SizeMismatchError:
    return errors.SizeMismatchError(
        f"blob {blob.digest} has {received} bytes, its descriptor says {blob.size}"
    )


def _check(blob: Descriptor, encoded: str) -> None:
    if blob.digest.partition(":")[2] != encoded:
        raise errors.DigestMismatchError(
            f"asked for blob {blob.digest}, its bytes have the digest {encoded}"
        )
