"""Rows that may wait a moment: collected from all threads, stored in batches by one."""

from __future__ import annotations

import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from syncer import errors
from syncer.state import engine

BATCH = 500
SECONDS = 0.5
_BACKLOG = 20 * BATCH

Sink = Callable[[sqlite3.Connection, Sequence[Any]], None]


class Writer:
    """Stores recorded rows every 500 rows or half a second.

    The first storage error ends it: every later call raises that error, so that a full disk is
    one clear failure and nobody waits for rows that will never be stored.

    Args:
        database: Where the rows go.
        sinks: For each type of row, what stores a batch of them.
    """

    def __init__(self, database: engine.Database, sinks: Mapping[type, Sink]) -> None:
        self._database = database
        self._sinks = sinks
        self._changed = threading.Condition()
        self._rows: list[object] = []
        self._recorded = 0
        self._stored = 0
        self._hurry = False
        self._closing = False
        self._error: errors.StateError | None = None
        self._thread: threading.Thread | None = None

    def record(self, row: object) -> None:
        """Takes a row to store soon. Waits only while the disk is thousands of rows behind.

        Raises:
            StateError: Storing failed, now or earlier.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._error or len(self._rows) < _BACKLOG)
            self.check()
            self._rows.append(row)
            self._recorded += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="state", daemon=True)
                self._thread.start()
            if len(self._rows) in (1, BATCH):
                self._changed.notify_all()

    def check(self) -> None:
        """Raises the storage error, if there was one."""
        if self._error:
            raise errors.StateError(str(self._error)) from self._error

    def flush(self) -> None:
        """Waits until all that was recorded before is stored.

        Raises:
            StateError: It could not be.
        """
        with self._changed:
            goal = self._recorded
            self._hurry = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._error or self._stored >= goal)
            self.check()

    def close(self) -> None:
        """Stores what is left and ends the thread. Raises nothing: `flush` first to know."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread:
            self._thread.join()

    def _work(self) -> None:
        error = errors.StateError("the thread that writes the state ended")
        try:
            while rows := self._next():
                self._store(rows)
                with self._changed:
                    self._stored += len(rows)
                    self._changed.notify_all()
        except errors.StateError as failure:
            error = failure
        finally:  # whatever ended this thread, nobody may wait for it
            with self._changed:
                self._error = error
                self._rows.clear()
                self._changed.notify_all()

    def _next(self) -> list[object]:
        """The next batch; empty when there will be no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._rows or self._closing)
            self._changed.wait_for(
                lambda: len(self._rows) >= BATCH or self._hurry or self._closing, SECONDS
            )
            rows, self._rows = self._rows, []
            self._hurry = False
            return rows

    def _store(self, rows: list[object]) -> None:
        kinds: defaultdict[type, list[object]] = defaultdict(list)
        for row in rows:
            kinds[type(row)].append(row)
        with self._database.write() as connection:
            for kind, batch in kinds.items():
                self._sinks[kind](connection, batch)
