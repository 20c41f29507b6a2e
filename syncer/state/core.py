"""The database through SQLAlchemy: for migrations, and for what people ask and maintenance does.

Importing it takes half a second, which nothing on the path of a replication run may pay.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event
from sqlalchemy.exc import DBAPIError

from syncer.state import engine


class Core:
    """The same file as its `Database`, with the same settings, errors and queue of writers.

    Attributes:
        now: The clock; aware.
    """

    def __init__(self, database: engine.Database) -> None:
        self.now = database.now
        self._database = database
        self._engine = connect(database.path)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """See `Database.read`."""
        with translated(self._database.path), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self, *, durable: bool = False) -> Iterator[Connection]:
        """See `Database.write`."""
        mode = self._engine.execution_options(mode="durable" if durable else "write")
        with translated(self._database.path), self._database.writing, mode.begin() as connection:
            yield connection

    def close(self) -> None:
        """Closes every connection."""
        self._engine.dispose()


def connect(path: Path) -> Engine:
    """An engine over the file."""
    made = create_engine(
        "sqlite://",
        creator=lambda: engine.connect(path),
        poolclass=QueuePool,
        pool_size=8,
        max_overflow=-1,
    )
    event.listen(made, "begin", _begin)
    return made


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


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """See `engine.translated`; also for the errors that SQLAlchemy wraps."""
    try:
        with engine.translated(path):
            yield
    except DBAPIError as error:
        if not isinstance(error.orig, sqlite3.Error):
            raise
        raise engine.explain(error.orig, path) from error
