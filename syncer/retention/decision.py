"""A decision, and what bars a drop whatever the rules say. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from syncer.retention import wording
from syncer.retention.keeps import Hold, after
from syncer.retention.policy import RetentionPolicy
from syncer.retention.snapshot import Snapshot, TagFact


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to one tag, or to one manifest that has none, and why.

    Attributes:
        tag: The tag; empty for an untagged manifest.
        digest: What it points to.
        keep: Whether it stays.
        rule: The rule that claimed it; else `protect`, `pin`, `unclaimed`, `follows`, `untagged`
            or `incomplete`.
        reason: Why, for a person.
        since: The newest evidence of its arrival, which ages are counted from.
        due: When it goes if nothing else changes: now for a drop; None: not by time alone.
    """

    tag: str
    digest: str
    keep: bool
    rule: str
    reason: str
    since: datetime | None = None
    due: datetime | None = None


def keep(fact: TagFact, rule: str, reason: str, due: datetime | None = None) -> Decision:
    """The decision that `fact` stays."""
    return Decision(fact.tag, fact.digest, True, rule, reason, fact.arrived(), due)


def drop(fact: TagFact, rule: str, reason: str, now: datetime) -> Decision:
    """The decision that `fact` goes."""
    return Decision(fact.tag, fact.digest, False, rule, reason, fact.arrived(), now)


def bars(
    policy: RetentionPolicy,
    snapshot: Snapshot,
    digest: str,
    since: datetime | None,
    now: datetime,
) -> list[Hold]:
    """Why a digest that arrived at `since` may not go yet, whatever the rules say."""
    found = []
    min_age = policy.guard.min_age
    if since is None:
        found.append(Hold("its age is not known"))
    elif now < since:
        found.append(Hold("arrived after this was judged", after(since, min_age)))
    elif now - since < min_age:
        reason = f"younger than min_age of {wording.duration(min_age)}"
        found.append(Hold(reason, after(since, min_age)))
    if policy.require_mirrored:
        verified = snapshot.mirrored.get(digest, frozenset())
        missing = [name for name in policy.require_mirrored if name not in verified]
        if missing:
            found.append(Hold(f"not verified at {', '.join(missing)}"))
    return found


def roots(policy: RetentionPolicy, snapshot: Snapshot, digests: Iterable[str]) -> set[str]:
    """`digests` with those that pins and the snapshot hold."""
    pinned = {pin.digest for pin in policy.pins_of(snapshot.repository) if pin.digest}
    return {*digests, *pinned, *snapshot.roots}
