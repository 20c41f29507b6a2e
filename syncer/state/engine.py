"""The database: one file, its connections, and what its errors mean to an operator."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

from syncer import errors

BUSY_SECONDS = 30
_WAL_BYTES = 64 * 1024 * 1024
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Database:
    """The state's file, read by many threads and written by one at a time.

    No transaction may be open across a network call. Every storage error leaves as a `StateError`.

    Args:
        path: The file.
        now: The clock; aware.
    """

    def __init__(self, path: Path, now: Callable[[], datetime]) -> None:
        self.path = path
        self.now = now
        self._engine = connect(path)
        # SQLite's own wait between writers is a sleep; threads of one process queue up here.
        self._writing = threading.Lock()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A read-only transaction: one consistent view."""
        with translated(self.path), self._engine.connect() as connection, connection.begin():
            yield connection

    def quick(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """All rows of one small query in plain SQL, values as SQLite keeps them.

        For what is asked for each blob or tag: SQLAlchemy takes ten times as long for it.
        """
        with translated(self.path), closing(self._engine.raw_connection()) as connection:
            cursor = connection.cursor()
            cursor.execute(statement, parameters)
            return list(cursor.fetchall())

    @contextmanager
    def write(self, *, durable: bool = False) -> Iterator[Connection]:
        """A transaction that holds the write lock from its start, committed at the end.

        Args:
            durable: It must survive a power cut, not only a crash of the process.
        """
        with translated(self.path), self._writing, self._engine.connect() as connection:
            options = connection.execution_options(mode="durable" if durable else "write")
            with options.begin():
                yield connection

    def close(self) -> None:
        """Closes every connection."""
        self._engine.dispose()


def connect(path: Path) -> Engine:
    """An engine over the file, with the settings every connection of the state has."""
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"isolation_level": None, "timeout": BUSY_SECONDS},
        pool_size=8,
        max_overflow=-1,
    )
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def _configure(connection: sqlite3.Connection, _: Any) -> None:
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        f"journal_size_limit={_WAL_BYTES}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    """Takes the write lock first: a transaction that upgrades from reading fails at once."""
    mode = connection.get_execution_options().get("mode", "read")
    if mode == "read":
        connection.exec_driver_sql("BEGIN")
        return
    connection.exec_driver_sql(f"PRAGMA synchronous={'NORMAL' if mode == 'write' else 'FULL'}")
    if mode == "migrate":  # a table that is rebuilt must not empty those that refer to it
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
    connection.exec_driver_sql("BEGIN IMMEDIATE")


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
    except DBAPIError as error:
        if not isinstance(error.orig, sqlite3.Error):
            raise
        raise explain(error.orig, path) from error
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
