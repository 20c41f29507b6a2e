"""The database: one file, its connections, and what its errors mean to an operator."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from syncer import errors
from syncer.state import values

if TYPE_CHECKING:
    from syncer.state.core import Core

BUSY_SECONDS = 30
_SETTINGS = (
    "journal_mode=WAL",
    "synchronous=NORMAL",
    "foreign_keys=ON",
    f"journal_size_limit={64 * 1024 * 1024}",
)
_KEPT = 8  # idle connections
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Database:
    """The state's file, read by many threads and written by one at a time.

    No transaction may be open across a network call. Every storage error leaves as a `StateError`.

    Attributes:
        path: The file.
        now: The clock; aware.
        writing: Held by whoever writes. SQLite's own wait between writers is a sleep; threads of
            one process queue up here.
    """

    def __init__(self, path: Path, now: Callable[[], datetime]) -> None:
        self.path = path
        self.now = now
        self.writing = threading.Lock()
        self._idle: deque[sqlite3.Connection] = deque()
        values.register()

    @cached_property
    def core(self) -> Core:
        """The file through SQLAlchemy, made at first use: a replication run does without."""
        from syncer.state.core import Core  # noqa: PLC0415  (half a second)

        return Core(self)

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A read-only transaction: one consistent view."""
        with translated(self.path), self._lent() as connection, connection:
            connection.execute("BEGIN")
            yield connection

    def quick(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """All rows of one small query."""
        with translated(self.path), self._lent() as connection:
            return connection.execute(statement, parameters).fetchall()

    @contextmanager
    def write(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """A transaction that holds the write lock from its start, committed at the end.

        Args:
            durable: It must survive a power cut, not only a crash of the process.
        """
        with translated(self.path), self.writing, self._lent() as connection, connection:
            connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            connection.execute("BEGIN IMMEDIATE")
            yield connection

    def close(self) -> None:
        """Closes every connection."""
        if "core" in vars(self):
            self.core.close()
        while self._idle:
            self._idle.pop().close()

    @contextmanager
    def _lent(self) -> Iterator[sqlite3.Connection]:
        """A connection for this thread; the one that was used last, for its cached pages."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = connect(self.path, detect_types=sqlite3.PARSE_DECLTYPES)
        try:
            yield connection
        finally:
            if len(self._idle) < _KEPT:
                self._idle.append(connection)
            else:
                connection.close()


def connect(path: Path, *, detect_types: int = 0) -> sqlite3.Connection:
    """A connection with the settings that every one of the state has; transactions are explicit."""
    connection = sqlite3.connect(
        path,
        timeout=BUSY_SECONDS,
        detect_types=detect_types,
        isolation_level=None,
        check_same_thread=False,  # lent to one thread at a time
    )
    try:
        for setting in _SETTINGS:
            connection.execute(f"PRAGMA {setting}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def suspect(path: Path) -> Path:
    """The mark that makes the next start look through the whole file for damage."""
    return path.with_name(f"{path.name}.suspect")


def is_damage(error: sqlite3.Error) -> bool:
    """Whether SQLite says the file itself is broken, as opposed to full, locked or unreadable."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turns what SQLite raises inside the block into a `StateError` of one sentence."""
    try:
        yield
    except sqlite3.Error as error:
        raise explain(error, path) from error


def explain(error: sqlite3.Error, path: Path) -> errors.StateError:
    """The sentence for an error of SQLite on this file."""
    if is_damage(error):
        with suppress(OSError):
            suspect(path).touch()
        return errors.StateError(
            f"the state {path} is damaged ({error}): stop every syncer that uses it and start"
            " again; a damaged file is then set aside"
        )
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_FULL:
            text = f"no space left for the state {path}: free some on that disk and run again"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            text = f"the state {path} cannot be written: it or its disk is read-only"
        case sqlite3.SQLITE_CANTOPEN:
            text = f"the state {path} cannot be opened: look at the permissions of its directory"
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            text = f"another process kept the state {path} locked for {BUSY_SECONDS} seconds"
        case sqlite3.SQLITE_IOERR:
            text = f"the disk under the state {path} fails or is full ({error})"
        case _:
            text = f"the state {path} cannot be used: {error}"
    return errors.StateError(text)
