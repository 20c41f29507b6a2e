"""One reading of a source blob for several targets, kept in a temporary file in between."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO

from syncer import log
from syncer.manifest import Descriptor
from syncer.store import Chunks, Store

_PIECE = 256 * 1024


@dataclass
class _Entry:
    left: int  # targets that have not been served yet
    lock: threading.Lock = field(default_factory=threading.Lock)
    file: BinaryIO | None = None


class Spool:
    """Blobs on their way to `targets` registries; each is read from its source once.

    A target that finds the temporary disk full reads the source for itself.
    """

    def __init__(self, targets: int) -> None:
        self._targets = targets
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._lock = threading.Lock()

    @contextmanager
    def open(self, source: Store, repository: str, blob: Descriptor) -> Iterator[Chunks]:
        """The blob's bytes, from the source the first time and from disk after that."""
        if self._targets < 2:
            with source.open_blob(repository, blob) as chunks:
                yield chunks
            return
        entry = self._entry(source, blob)
        with entry.lock:
            if entry.file is None:
                entry.file = _fetched(source, repository, blob)
            copy = os.dup(entry.file.fileno()) if entry.file else -1
        if copy < 0:
            with source.open_blob(repository, blob) as chunks:
                yield chunks
            return
        with os.fdopen(copy, "rb") as file:
            yield _read(file.fileno(), blob.size)

    def served(self, source: Store, blob: Descriptor) -> None:
        """Says that one more target needs the blob no longer; the last one frees the disk."""
        if self._targets < 2:
            return
        with self._lock:
            entry = self._entry_unlocked(source, blob)
            entry.left -= 1
            if entry.left <= 0:
                del self._entries[source.key, blob.digest]
                if entry.file is not None:
                    entry.file.close()

    def _entry(self, source: Store, blob: Descriptor) -> _Entry:
        with self._lock:
            return self._entry_unlocked(source, blob)

    def _entry_unlocked(self, source: Store, blob: Descriptor) -> _Entry:
        return self._entries.setdefault((source.key, blob.digest), _Entry(self._targets))


def _fetched(source: Store, repository: str, blob: Descriptor) -> BinaryIO | None:
    try:
        file = tempfile.TemporaryFile(prefix="syncer-")  # noqa: SIM115 - lives until served
        with source.open_blob(repository, blob) as chunks:
            for chunk in chunks:
                file.write(chunk)
        file.flush()
    except OSError as error:
        log.get().warning(
            "temporary disk unusable, reading the source once per target", error=str(error)
        )
        return None
    return file


def _read(descriptor: int, size: int) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(min(_PIECE, max(size, 1))))
    offset = 0
    # pread keeps a position of its own: other targets read the same file at the same time.
    while count := os.preadv(descriptor, [buffer], offset):
        offset += count
        yield buffer[:count]
