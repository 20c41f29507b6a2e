"""Runs and their steps, as they happen. What is asked of them later stands in `history`."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from syncer import errors, events
from syncer.state import engine, ids, records
from syncer.state.presence import Presence
from syncer.state.writer import Writer

if TYPE_CHECKING:
    from syncer.state.history import History

_BEGIN = """
    INSERT INTO run (
        id, command, rules, rules_digest, started, outcome, host, pid, slot, report
    ) VALUES (?, ?, ?, ?, ?, 'running', ?, ?, ?, '{}')
"""
_END = """
    UPDATE run SET finished = ?, outcome = ?, report = ? WHERE id = ? AND outcome = 'running'
"""
_SLOTS = "SELECT id, slot FROM run WHERE outcome = 'running'"
_SELECT = """
    SELECT id, command, rules, rules_digest, started, finished, outcome, host, pid, report FROM run
"""
_ONE = _SELECT + " WHERE id = ?"
_ACTIVE = _SELECT + " WHERE outcome = 'running' ORDER BY id"
_STEP = """
    INSERT INTO step (
        run, rule, action, outcome, registry, repository, tag, digest, at, previous, reason, code,
        size
    ) VALUES (
        :run, :rule, :action, :outcome, :registry, :repository, :tag, :digest, :at, :previous,
        :reason, :code, :size
    )
"""


class Runs:
    """What was done, by which run, and how it went."""

    def __init__(self, database: engine.Database, presence: Presence, writer: Writer) -> None:
        self._database = database
        self._presence = presence
        self._writer = writer

    @cached_property
    def _history(self) -> History:
        from syncer.state.history import History  # noqa: PLC0415  (it imports SQLAlchemy)

        return History(self._database.core)

    def begin(self, command: str, rules: Collection[str] = (), rules_digest: str = "") -> str:
        """Records that a run starts; returns its id."""
        now = self._database.now()
        run, host, slot = ids.new(now), socket.gethostname(), self._presence.slot
        values = (run, command, json.dumps(list(rules)), rules_digest, now, host, os.getpid(), slot)
        with self._database.write() as connection:
            connection.execute(_BEGIN, values)
        return run

    def finish(self, run: str, outcome: str, report: Mapping[str, Any] | None = None) -> None:
        """Stores every step still waiting, then the outcome and the report.

        Raises:
            StateError: Something could not be stored; the run stays unfinished.
        """
        self._writer.flush()
        self._end([run], outcome, dict(report or {}))

    def mark_interrupted(self) -> list[str]:
        """Ends the runs whose process is dead as `interrupted`; returns their ids."""
        running = self._database.quick(_SLOTS)
        dead = [run for run, slot in running if self._presence.is_dead(slot)]
        if dead:
            self._end(dead, "interrupted", {})
        return dead

    def _end(self, runs: list[str], outcome: str, report: dict[str, Any]) -> None:
        values = (self._database.now(), outcome, json.dumps(report))
        with self._database.write() as connection:
            connection.executemany(_END, [(*values, run) for run in runs])

    def record(self, step: records.Step) -> None:
        """Stores a step, soon. Raises `StateError` once the state can no longer be written."""
        self._writer.record(step)

    def listen(self, run: str, key_of: Callable[[str], str]) -> events.Observer:
        """An observer that records every `StepDone` of this run.

        It never raises: when the state can no longer be written, `finish` and the leases say so.

        Args:
            run: The run's id.
            key_of: From a registry's name to its key.
        """

        def tell(event: events.Event) -> None:
            if isinstance(event, events.StepDone):
                values = vars(event) | {"registry": key_of(event.registry)}
                with contextlib.suppress(errors.StateError):
                    self._writer.record(records.Step(run=run, at=self._database.now(), **values))

        return tell

    def get(self, run: str) -> records.Run | None:
        """One run, by its id."""
        return next(iter(self._runs(_ONE, run)), None)

    def active(self) -> list[records.Run]:
        """The runs going on now, and those cut off that `mark_interrupted` has not seen yet."""
        return self._runs(_ACTIVE)

    def _runs(self, statement: str, *parameters: str) -> list[records.Run]:
        rows = self._database.quick(statement, *parameters)
        return [records.Run(run, name, tuple(rules), *rest) for run, name, rules, *rest in rows]

    def latest(self, *, limit: int = 50, before: str = "", rule: str = "") -> list[records.Run]:
        """Runs, newest first.

        Args:
            limit: At most so many.
            before: The id of the last run of the page before.
            rule: Only runs of this rule or policy.
        """
        return self._history.latest(limit, before, rule)

    def steps(
        self, run: str, *, outcomes: Collection[str] = (), limit: int = 1000, offset: int = 0
    ) -> list[records.Step]:
        """A run's steps in the order they ended; only those with one of `outcomes`, if given."""
        return self._history.steps(run, outcomes, limit, offset)

    def steps_of(
        self, registry: str, repository: str, tag: str, *, limit: int = 50
    ) -> list[records.Step]:
        """What was ever done to a tag, newest first."""
        return self._history.steps_of(registry, repository, tag, limit)

    def last_time(self) -> datetime | None:
        """The latest moment any run started or ended: the clock may not be behind it."""
        return self._history.last_time()


def store_steps(connection: sqlite3.Connection, steps: Sequence[records.Step]) -> None:
    """Stores a batch of steps."""
    connection.executemany(_STEP, [vars(step) for step in steps])
