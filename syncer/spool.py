"""One reading of a source blob for several targets, kept in a temporary file in between."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO

from syncer import log
from syncer.manifest import Descriptor
from syncer.store import Chunks, Store

_PIECE = 256 * 1024


@dataclass
class _Entry:
    left: int  # targets that have not been served yet
    size: int
    lock: threading.Lock = field(default_factory=threading.Lock)
    file: BinaryIO | None = None


class Spool:
    """Blobs on their way to several targets; each is read from its source once.

    It takes at most half of what is free on the temporary disk: the oldest make room, and what does
    not fit is read from the source by each target.

    Args:
        targets: How many targets a source has; with one, nothing is kept.
        room: Bytes it may take; by default half of what is free.
    """

    def __init__(self, targets: int, room: int | None = None) -> None:
        self._targets = targets
        self._room = _free() // 2 if room is None and targets > 1 else room or 0
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def open(self, source: Store, repository: str, blob: Descriptor) -> Iterator[Chunks]:
        """The blob's bytes, from the source the first time and from disk after that."""
        copy = self._copy(source, repository, blob)
        if copy is None:
            with source.open_blob(repository, blob) as chunks:
                yield chunks
            return
        with os.fdopen(copy, "rb") as file:
            yield _read(file.fileno(), blob.size)

    def served(self, source: Store, blob: Descriptor) -> None:
        """Says that one more target needs the blob no longer; the last one frees the disk."""
        with self._lock:
            entry = self._entries.get((source.key, blob.digest))
            if entry is None:
                return
            entry.left -= 1
            if entry.left <= 0:
                _drop(self._entries.pop((source.key, blob.digest)))

    def close(self) -> None:
        """Frees what targets that failed have left behind."""
        with self._lock:
            for entry in self._entries.values():
                _drop(entry)
            self._entries.clear()

    def _copy(self, source: Store, repository: str, blob: Descriptor) -> int | None:
        """A file descriptor of the kept blob, for the caller to close; None when it is not kept."""
        entry = self._entry(source, blob)
        if entry is None:
            return None
        with entry.lock:
            if entry.file is None:
                entry.file = _fetched(source, repository, blob)
            return os.dup(entry.file.fileno()) if entry.file else None

    def _entry(self, source: Store, blob: Descriptor) -> _Entry | None:
        if blob.size > self._room:
            return None
        with self._lock:
            key = (source.key, blob.digest)
            if key not in self._entries:
                self._entries[key] = _Entry(self._targets, blob.size)
                self._make_room()
            return self._entries[key]

    def _make_room(self) -> None:
        over = sum(entry.size for entry in self._entries.values()) - self._room
        for key, entry in list(self._entries.items()):
            # One that is being fetched right now is in use; the next oldest has to go.
            if over > 0 and entry.file is not None and not entry.lock.locked():
                over -= entry.size
                _drop(self._entries.pop(key))


def _drop(entry: _Entry) -> None:
    with entry.lock:
        if entry.file is not None:
            entry.file.close()
            entry.file = None


def _free() -> int:
    return shutil.disk_usage(tempfile.gettempdir()).free


def _fetched(source: Store, repository: str, blob: Descriptor) -> BinaryIO | None:
    with ExitStack() as undo:
        file = undo.enter_context(tempfile.TemporaryFile(prefix="syncer-"))
        try:
            with source.open_blob(repository, blob) as chunks:
                for chunk in chunks:
                    file.write(chunk)
            file.flush()
        except OSError as error:
            text = "temporary disk unusable, each target reads the source"
            log.get().warning(text, error=str(error))
            return None
        undo.pop_all()  # it lives until it is served
    return file


def _read(descriptor: int, size: int) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(min(_PIECE, max(size, 1))))
    offset = 0
    # pread keeps a position of its own: other targets read the same file at the same time.
    while count := os.preadv(descriptor, [buffer], offset):
        offset += count
        yield buffer[:count]
