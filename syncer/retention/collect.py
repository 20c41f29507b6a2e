"""What no tag holds any longer: digests that a plan sets free, and manifests without a tag. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from syncer.retention import wording
from syncer.retention.closure import Graph
from syncer.retention.decision import Decision, bars, roots
from syncer.retention.keeps import Hold, after, end, reasons
from syncer.retention.policy import RetentionPolicy
from syncer.retention.snapshot import Snapshot, possible


def unreachable(
    policy: RetentionPolicy, snapshot: Snapshot, decisions: Iterable[Decision]
) -> list[str]:
    """The digests that nothing which stays reaches, in an order safe to delete them in (I1, I12).

    Kept tags, pinned digests and the snapshot's roots reach over children and referrers. None are
    named when the snapshot is not complete or anything that stays was not read.
    """
    graph = Graph(snapshot.manifests)
    stays = (decision.digest for decision in decisions if decision.keep)
    reached = graph.reach(roots(policy, snapshot, stays))
    if not snapshot.complete or not graph.is_read(reached):
        return []
    known = {*snapshot.manifests, *(fact.digest for fact in snapshot.tags)}
    return graph.parents_first(known - reached)


def untagged(policy: RetentionPolicy, snapshot: Snapshot, now: datetime) -> tuple[Decision, ...]:
    """One decision for each manifest that no tag reaches, in an order safe to drop them in.

    It goes when it has been seen so for as long as `untagged_grace` and `min_age`, and no index or
    subject that stays holds it. What dropping tags will set free is not among them: it has to be
    seen without a tag first. Nothing is decided without a grace, or when something that stays was
    not read.
    """
    grace = policy.untagged_grace
    if grace is None or not snapshot.complete:
        return ()
    graph = Graph(snapshot.manifests)
    tagged = graph.reach(roots(policy, snapshot, (fact.digest for fact in snapshot.tags)))
    loose = graph.parents_first(set(snapshot.manifests) - tagged)
    decisions = [_untagged(policy, snapshot, digest, grace, now) for digest in loose]
    held = graph.reach(each.digest for each in decisions if each.keep)
    if not graph.is_read(tagged | held):
        return ()
    part = "part of an untagged one that stays"
    return tuple(
        each
        if each.keep or each.digest not in held
        else replace(each, keep=True, reason=part, due=None)
        for each in decisions
    )


def _untagged(
    policy: RetentionPolicy, snapshot: Snapshot, digest: str, grace: timedelta, now: datetime
) -> Decision:
    since = max(possible([snapshot.manifests[digest].untagged_since]), default=None)
    held = bars(policy, snapshot, digest, since, now)
    if since is not None and now - since < grace:
        reason = f"untagged for less than {wording.duration(grace)}"
        held.append(Hold(reason, after(since, grace)))
    if held:
        return Decision("", digest, True, "untagged", reasons(held), since, end(held))
    reason = f"untagged for {wording.duration(grace)}"
    return Decision("", digest, False, "untagged", reason, since, now)
