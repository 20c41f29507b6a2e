"""Tags named after a digest, such as signatures: they stay as long as what they are named after. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from syncer import reference
from syncer.retention import keeps
from syncer.retention.closure import Graph, followed
from syncer.retention.decision import Decision, bars, drop, keep, roots
from syncer.retention.policy import RetentionPolicy
from syncer.retention.snapshot import Snapshot, TagFact


def follow(
    policy: RetentionPolicy,
    snapshot: Snapshot,
    now: datetime,
    followers: Sequence[TagFact],
    others: Sequence[Decision],
) -> Iterator[Decision]:
    """One decision for each of `followers`, given those for all other tags.

    A follower goes when its subject was reached from a tag that goes and is reached from nothing
    that stays. Its subject not being under any tag is no evidence, nor is an index nobody read.
    """
    named: dict[str, list[str]] = {}
    for fact in followers:
        named.setdefault(followed(fact.tag), []).append(fact.digest)
    graph = Graph(snapshot.manifests, named)
    subjects = _names(graph.reach(each.digest for each in others))
    stays = {each.digest for each in others if each.keep}
    pending = []
    for fact in followers:
        held = bars(policy, snapshot, fact.digest, fact.arrived(), now)
        if followed(fact.tag) not in subjects:
            held.append(keeps.Hold("what it is named after is under no tag that was read"))
        if held:
            stays.add(fact.digest)
            yield keep(fact, "follows", keeps.reasons(held), keeps.end(held))
        else:
            pending.append(fact)
    reached = graph.reach(roots(policy, snapshot, stays))
    staying, is_read = _names(reached), graph.is_read(reached)
    for fact in pending:
        if followed(fact.tag) in staying:
            yield keep(fact, "follows", "what it is named after stays")
        elif not is_read:
            reason = "what it is named after may be part of an index that was not read"
            yield keep(fact, "follows", reason)
        else:
            yield drop(fact, "follows", "what it is named after goes", now)


def _names(digests: Iterable[str]) -> set[str]:
    return {reference.fallback_tag(digest) for digest in digests}
