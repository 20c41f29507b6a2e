"""Runs and their steps."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Executable, func, insert, select, update

from syncer import errors, events
from syncer.state import engine, ids, records, tables
from syncer.state.presence import Presence
from syncer.state.writer import Writer

RUNNING = "running"
_RUN, _STEP = tables.core(tables.Run), tables.core(tables.Step)


class Runs:
    """What was done, by which run, and how it went."""

    def __init__(self, database: engine.Database, presence: Presence, writer: Writer) -> None:
        self._database = database
        self._presence = presence
        self._writer = writer

    def begin(self, command: str, rules: Collection[str] = (), rules_digest: str = "") -> str:
        """Records that a run starts; returns its id."""
        now = self._database.now()
        values = {
            "id": ids.new(now),
            "command": command,
            "rules": list(rules),
            "rules_digest": rules_digest,
            "started": now,
            "outcome": RUNNING,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "slot": self._presence.slot,
            "report": {},
        }
        with self._database.write() as connection:
            connection.execute(insert(_RUN), values)
        return str(values["id"])

    def finish(self, run: str, outcome: str, report: Mapping[str, Any] | None = None) -> None:
        """Stores every step still waiting, then the outcome and the report.

        Raises:
            StateError: Something could not be stored; the run stays unfinished.
        """
        self._writer.flush()
        self._end([run], outcome, dict(report or {}))

    def mark_interrupted(self) -> list[str]:
        """Ends the runs whose process is dead as `interrupted`; returns their ids."""
        with self._database.read() as connection:
            running = connection.execute(select(_RUN.c.id, _RUN.c.slot).where(_is_running())).all()
        dead = [run for run, slot in running if self._presence.is_dead(slot)]
        if dead:
            self._end(dead, "interrupted", {})
        return dead

    def _end(self, runs: list[str], outcome: str, report: dict[str, Any]) -> None:
        values = {"finished": self._database.now(), "outcome": outcome, "report": report}
        statement = update(_RUN).where(_RUN.c.id.in_(runs), _is_running())
        with self._database.write() as connection:
            connection.execute(statement.values(values))

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
        return next(iter(self._runs(select(_RUN).where(_RUN.c.id == run))), None)

    def active(self) -> list[records.Run]:
        """The runs going on now, and those cut off that `mark_interrupted` has not seen yet."""
        return self._runs(select(_RUN).where(_is_running()).order_by(_RUN.c.id))

    def latest(self, *, limit: int = 50, before: str = "", rule: str = "") -> list[records.Run]:
        """Runs, newest first.

        Args:
            limit: At most so many.
            before: The id of the last run of the page before.
            rule: Only runs of this rule or policy.
        """
        query = select(_RUN).order_by(_RUN.c.id.desc()).limit(limit)
        if before:
            query = query.where(_RUN.c.id < before)
        if rule:
            names = func.json_each(_RUN.c.rules).table_valued("value")
            query = query.where(select(names).where(names.c.value == rule).exists())
        return self._runs(query)

    def steps(
        self, run: str, *, outcomes: Collection[str] = (), limit: int = 1000, offset: int = 0
    ) -> list[records.Step]:
        """A run's steps in the order they ended; only those with one of `outcomes`, if given."""
        query = select(_STEP).where(_STEP.c.run == run)
        if outcomes:
            query = query.where(_STEP.c.outcome.in_(outcomes))
        return self._steps(query.order_by(_STEP.c.id).limit(limit).offset(offset))

    def steps_of(
        self, registry: str, repository: str, tag: str, *, limit: int = 50
    ) -> list[records.Step]:
        """What was ever done to a tag, newest first."""
        query = select(_STEP).where(
            _STEP.c.registry == registry,
            _STEP.c.repository == repository,
            _STEP.c.tag == tag,
        )
        return self._steps(query.order_by(_STEP.c.id.desc()).limit(limit))

    def last_time(self) -> datetime | None:
        """The latest moment any run started or ended: the clock may not be behind it."""
        query = select(func.max(_RUN.c.started), func.max(_RUN.c.finished))
        with self._database.read() as connection:
            return max(filter(None, connection.execute(query).one()), default=None)

    def _runs(self, query: Executable) -> list[records.Run]:
        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()
        return [
            records.Run(
                **{name: row[name] for name in row if name not in ("rules", "slot")},
                rules=tuple(row["rules"]),
            )
            for row in rows
        ]

    def _steps(self, query: Executable) -> list[records.Step]:
        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()
        return [records.Step(**{name: row[name] for name in row if name != "id"}) for row in rows]


def _is_running() -> ColumnElement[bool]:
    return _RUN.c.outcome == RUNNING


def store_steps(connection: Connection, steps: Sequence[records.Step]) -> None:
    """Stores a batch of steps."""
    connection.execute(insert(_STEP), [vars(step) for step in steps])
