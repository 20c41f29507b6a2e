"""Files in a layout's directory: written whole or not at all, the system's errors as sentences."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from syncer import errors

_LOCK = ".syncer.lock"
_TEMPORARY = ".syncer-"
# What the next try may not meet again; a full, read-only or forbidden disk waits for a person.
_PASSING = frozenset(
    {
        errno.EAGAIN,
        errno.EBUSY,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ESTALE,
        errno.ETIMEDOUT,
    }
)

Write = Callable[[bytes | memoryview], None]


class Disk:
    """The directory `root` of the layout that people call `name`."""

    def __init__(self, root: Path, name: str) -> None:
        self.root = root
        self.name = name

    @contextmanager
    def failures(self, path: Path) -> Iterator[None]:
        """Turns the system's errors in the block into `UnavailableError` with reason and path."""
        try:
            yield
        except OSError as error:
            failure = errors.UnavailableError(
                f"{self.name}: {path}: {error.strerror or error}", registry=self.name
            )
            failure.temporary = error.errno in _PASSING
            raise failure from error

    def make(self, directory: Path) -> None:
        """Makes a directory, if it is not there; the one it is in must be."""
        with self.failures(directory):
            if not directory.is_dir():
                directory.mkdir(mode=0o755, exist_ok=True)
                _sync(directory.parent)

    def open(self, path: Path) -> FileIO | None:
        """The regular file at `path`, to read; None where there is none."""
        with self.failures(path):
            try:
                # Without O_NONBLOCK a pipe that somebody put there would block for ever.
                file = FileIO(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
            except FileNotFoundError:
                return None
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                file.close()
                raise OSError(errno.EINVAL, "not a regular file")
            return file

    def read(self, path: Path, limit: int) -> bytes | None:
        """The first `limit` bytes of a file; None where there is none."""
        file = self.open(path)
        if file is None:
            return None
        with file, self.failures(path):
            return file.read(min(limit, os.fstat(file.fileno()).st_size))

    @contextmanager
    def replacing(self, path: Path) -> Iterator[Write]:
        """A function that writes what becomes `path`, on disk, when the block ends without error."""
        temporary, file = self._temporary(path)

        def write(chunk: bytes | memoryview) -> None:
            rest = memoryview(chunk)
            with self.failures(path):
                while rest:
                    rest = rest[file.write(rest) :]

        try:
            with file:
                yield write
                with self.failures(path):
                    os.fsync(file.fileno())
                    temporary.replace(path)
                    _sync(path.parent)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps every other process and thread that changes this layout out of the block."""
        path = self.root / _LOCK
        with self.failures(path):
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(path, flags, 0o644)
        try:
            with self.failures(path):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def sweep(self) -> None:
        """Removes what writers that were killed left; one that lives holds its file locked."""
        for leftover in self.root.glob(f"{_TEMPORARY}*"):
            with suppress(OSError), FileIO(os.open(leftover, os.O_RDWR | os.O_NOFOLLOW)) as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                leftover.unlink()

    def _temporary(self, path: Path) -> tuple[Path, FileIO]:
        # Beside the blobs, not among them: there the name must be the digest of the content.
        while True:
            temporary = self.root / f"{_TEMPORARY}{secrets.token_hex(8)}"
            with self.failures(path):
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                file = FileIO(os.open(temporary, flags, 0o644), "wb")
                fcntl.flock(file, fcntl.LOCK_EX)
                if os.fstat(file.fileno()).st_nlink:
                    return temporary, file
            file.close()  # swept between open and flock


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network and FUSE file systems cannot; they order such writes themselves.
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(descriptor)
