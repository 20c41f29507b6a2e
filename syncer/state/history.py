"""What people ask about runs and steps: pages of them, by rule, outcome or tag."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Executable, func, select

from syncer.state import records, tables
from syncer.state.core import Core

_RUN, _STEP = tables.core(tables.Run), tables.core(tables.Step)


class History:
    """The asking half of `Runs`, where the methods are explained."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def latest(self, limit: int, before: str, rule: str) -> list[records.Run]:
        """See `Runs.latest`."""
        query = select(_RUN).order_by(_RUN.c.id.desc()).limit(limit)
        if before:
            query = query.where(_RUN.c.id < before)
        if rule:
            names = func.json_each(_RUN.c.rules).table_valued("value")
            query = query.where(select(names).where(names.c.value == rule).exists())
        with self._core.read() as connection:
            rows = connection.execute(query).mappings().all()
        return [
            records.Run(
                **{name: row[name] for name in row if name not in ("rules", "slot")},
                rules=tuple(row["rules"]),
            )
            for row in rows
        ]

    def steps(
        self, run: str, outcomes: Collection[str], limit: int, offset: int
    ) -> list[records.Step]:
        """See `Runs.steps`."""
        query = select(_STEP).where(_STEP.c.run == run)
        if outcomes:
            query = query.where(_STEP.c.outcome.in_(outcomes))
        return self._steps(query.order_by(_STEP.c.id).limit(limit).offset(offset))

    def steps_of(self, registry: str, repository: str, tag: str, limit: int) -> list[records.Step]:
        """See `Runs.steps_of`."""
        query = select(_STEP).where(
            _STEP.c.registry == registry,
            _STEP.c.repository == repository,
            _STEP.c.tag == tag,
        )
        return self._steps(query.order_by(_STEP.c.id.desc()).limit(limit))

    def last_time(self) -> datetime | None:
        """See `Runs.last_time`."""
        query = select(func.max(_RUN.c.started), func.max(_RUN.c.finished))
        with self._core.read() as connection:
            return max(filter(None, connection.execute(query).one()), default=None)

    def _steps(self, query: Executable) -> list[records.Step]:
        with self._core.read() as connection:
            rows = connection.execute(query).mappings().all()
        return [records.Step(**{name: row[name] for name in row if name != "id"}) for row in rows]
