"""Prune plans, stored until they are applied or run out."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Executable, RowMapping, insert, select, update

from syncer.state import ids, records, tables
from syncer.state.core import Core

_PLAN, _PART = tables.core(tables.Plan), tables.core(tables.PlanPart)


class Plans:
    """Stored plans. They are stored a repository at a time, so none is ever whole in memory."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def create(self, policies: Collection[str], rules_digest: str, expires: datetime) -> str:
        """Opens an empty plan and returns its id; it does not count before `complete`."""
        now = self._core.now()
        values = {
            "id": ids.new(now),
            "policies": list(policies),
            "created": now,
            "expires": expires,
            "status": "open",
            "snapshot": "",
            "rules_digest": rules_digest,
            "summary": {},
        }
        with self._core.write() as connection:
            connection.execute(insert(_PLAN), values)
        return str(values["id"])

    def add(self, plan: str, registry: str, repository: str, *, drops: int, body: Any) -> None:
        """Stores one repository of an open plan; `body` is anything JSON can say."""
        raw = zlib.compress(json.dumps(body, separators=(",", ":")).encode())
        values = {
            "plan": plan,
            "registry": registry,
            "repository": repository,
            "drops": drops,
            "body": raw,
        }
        with self._core.write() as connection:
            connection.execute(insert(_PART), values)

    def complete(self, plan: str, snapshot: str, summary: Mapping[str, Any]) -> None:
        """Closes an open plan: it is now pending."""
        self._change(plan, {"status": "pending", "snapshot": snapshot, "summary": dict(summary)})

    def end(self, plan: str, status: str) -> None:
        """Records what became of a plan: applied, expired or refused."""
        self._change(plan, {"status": status})

    def get(self, plan: str) -> records.Plan | None:
        """A plan by its id; a pending one whose time is over is `expired`."""
        return next(iter(self._plans(select(_PLAN).where(_PLAN.c.id == plan))), None)

    def latest(self, *, limit: int = 50, status: str = "") -> list[records.Plan]:
        """Plans, newest first; only those of one status, if given."""
        query = select(_PLAN).where(_PLAN.c.status != "open").order_by(_PLAN.c.id.desc())
        return [plan for plan in self._plans(query) if status in ("", plan.status)][:limit]

    def parts(self, plan: str) -> Iterator[records.PlanPart]:
        """A plan's repositories, by registry and name; each is read when it is asked for."""
        names = select(_PART.c.registry, _PART.c.repository).where(_PART.c.plan == plan)
        with self._core.read() as connection:
            places = connection.execute(names.order_by(_PART.c.registry, _PART.c.repository)).all()
        for registry, repository in places:
            part = self.part(plan, registry, repository)
            if part:
                yield part

    def part(self, plan: str, registry: str, repository: str) -> records.PlanPart | None:
        """One repository of a plan."""
        query = select(_PART.c.drops, _PART.c.body).where(
            _PART.c.plan == plan,
            _PART.c.registry == registry,
            _PART.c.repository == repository,
        )
        with self._core.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        return records.PlanPart(registry, repository, row[0], json.loads(zlib.decompress(row[1])))

    def _change(self, plan: str, values: dict[str, Any]) -> None:
        with self._core.write() as connection:
            connection.execute(update(_PLAN).where(_PLAN.c.id == plan).values(values))

    def _plans(self, query: Executable) -> list[records.Plan]:
        with self._core.read() as connection:
            rows = connection.execute(query).mappings().all()
        return [_plan(row, self._core.now()) for row in rows]


def _plan(row: RowMapping, now: datetime) -> records.Plan:
    values = dict(row) | {"policies": tuple(row["policies"])}
    if values["status"] == "pending" and values["expires"] <= now:
        values["status"] = "expired"
    return records.Plan(**values)
