"""What may be forgotten, so that the state stays bounded by age."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from sqlalchemy import Delete, and_, delete, func, or_, select, tuple_

from syncer.state import tables
from syncer.state.core import Core

LOCATIONS = 20  # repositories remembered for one blob of one registry
_RULES = timedelta(days=400)  # a rule may run once a year
_ABANDONED = timedelta(days=1)

_RUN, _SEEN = tables.core(tables.Run), tables.core(tables.TagSeen)
_BLOB, _REPOSITORY = tables.core(tables.BlobLocation), tables.core(tables.Repository)
_PLAN, _PART = tables.core(tables.Plan), tables.core(tables.PlanPart)
_DROPPED, _LINK = tables.core(tables.Dropped), tables.core(tables.DroppedManifest)
_KEPT, _PIN = tables.core(tables.KeptManifest), tables.core(tables.Pin)
_LEASE, _RULE = tables.core(tables.Lease), tables.core(tables.RuleState)


def maintain(core: Core, *, keep_runs: int, keep_days: int) -> int:
    """Forgets what is over: see `State.maintain`. One short transaction for each kind of row."""
    now = core.now()
    old = now - timedelta(days=keep_days)
    count = 0
    for statement in (
        *_runs(old, keep_runs),
        *_observations(old),
        *_plans(now, old),
        *_drops(now, old),
        *_rest(now, old),
    ):
        with core.write() as connection:
            count += connection.execute(statement).rowcount
    return count


def _runs(old: datetime, keep: int) -> Iterator[Delete]:
    newest = select(_RUN.c.id).order_by(_RUN.c.id.desc()).limit(keep)
    over = or_(_RUN.c.started < old, _RUN.c.id.not_in(newest))
    yield delete(_RUN).where(_RUN.c.outcome != "running", over)


def _observations(old: datetime) -> Iterator[Delete]:
    yield delete(_SEEN).where(or_(_SEEN.c.last_seen < old, _SEEN.c.gone < old))
    yield delete(_BLOB).where(_BLOB.c.last_seen < old)
    rank = func.row_number().over(
        partition_by=(_REPOSITORY.c.registry, _BLOB.c.digest), order_by=_BLOB.c.last_seen.desc()
    )
    ranked = (
        select(_BLOB.c.digest, _BLOB.c.repository_id, rank.label("rank"))
        .join(_REPOSITORY, _REPOSITORY.c.id == _BLOB.c.repository_id)
        .subquery()
    )
    excess = select(ranked.c.digest, ranked.c.repository_id).where(ranked.c.rank > LOCATIONS)
    yield delete(_BLOB).where(tuple_(_BLOB.c.digest, _BLOB.c.repository_id).in_(excess))


def _plans(now: datetime, old: datetime) -> Iterator[Delete]:
    over = select(_PLAN.c.id).where(_PLAN.c.expires < now)
    yield delete(_PART).where(_PART.c.plan.in_(over))
    abandoned = and_(_PLAN.c.status == "open", _PLAN.c.created < now - _ABANDONED)
    yield delete(_PLAN).where(or_(_PLAN.c.expires < old, abandoned))


def _drops(now: datetime, old: datetime) -> Iterator[Delete]:
    """Bytes go when undo ends; a suppression when the tag is seen nowhere any more."""
    over = and_(_DROPPED.c.expires < now, _DROPPED.c.trash_tag == "")
    yield delete(_LINK).where(_LINK.c.dropped_id.in_(select(_DROPPED.c.id).where(over)))
    yield delete(_KEPT).where(_KEPT.c.digest.not_in(select(_LINK.c.digest)))
    same = and_(_SEEN.c.tag == _DROPPED.c.tag, _SEEN.c.digest == _DROPPED.c.digest)
    suppressing = (
        select(_DROPPED.c.id)
        .join(_SEEN, same)
        .where(_DROPPED.c.suppress, _DROPPED.c.restored.is_(None), _SEEN.c.gone.is_(None))
    )
    forgotten = and_(over, _DROPPED.c.at < old, _DROPPED.c.id.not_in(suppressing))
    yield delete(_DROPPED).where(forgotten)


def _rest(now: datetime, old: datetime) -> Iterator[Delete]:
    yield delete(_PIN).where(_PIN.c.until < now)
    yield delete(_LEASE).where(_LEASE.c.expires < old)
    yield delete(_RULE).where(func.coalesce(_RULE.c.last_started, now) < now - _RULES)
