"""The invariants of reference/retention.md 5.1 that speak of what holds what.

Oracles stand in retention_strategies and use no product code.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, Phase, example, find, given, settings
from hypothesis import strategies as st

from syncer import patterns, retention
from syncer.retention import Guard, Keep, Node, RetentionPolicy, Rule, Snapshot, TagFact
from tests.unit.retention_strategies import (
    DIGESTS,
    FOLLOWERS,
    FUTURE,
    LIES,
    NOW,
    PAST,
    arrival,
    dropped,
    names_of,
    order,
    policies,
    reach,
    snapshots,
)

ALL = Rule("all", patterns.parse("*"), Keep(last=1))
NO_AGE = Guard(min_age=timedelta(0))
OLD = PAST[-1]


def kept_digests(policy: RetentionPolicy, snapshot: Snapshot) -> set[str]:
    """Everything that is a root after the plan: kept tags, pinned digests, trash."""
    gone = dropped(policy, snapshot)
    pinned = {pin.digest for pin in policy.pins if pin.repository in ("", snapshot.repository)}
    tags = {fact.digest for fact in snapshot.tags if fact.tag not in gone}
    return (tags | pinned | snapshot.roots) - {""}


def tag(name: str, digest: str, when: datetime = OLD) -> TagFact:
    return TagFact(name, digest, first_seen=when)


# A subject whose referrer carries a human tag: one dropped, one kept, each time judged as a tag.
SUBJECT_WITH_HUMAN_TAG = Snapshot(
    "prod/app",
    (tag("v1.0.0", DIGESTS[0], NOW), tag("sbom", DIGESTS[1]), tag("old", DIGESTS[2], PAST[-2])),
    complete=True,
    manifests={DIGESTS[0]: Node(), DIGESTS[1]: Node(subject=DIGESTS[0]), DIGESTS[2]: Node()},
)
# A signature of what goes, while the index that stays, and may hold the same, was not read.
UNREAD_INDEX = Snapshot(
    "prod/app",
    (tag("v1", DIGESTS[0], NOW), tag("v0", DIGESTS[1]), tag(FOLLOWERS[4], DIGESTS[2])),
    complete=True,
    manifests={DIGESTS[1]: Node(), DIGESTS[2]: Node()},
)
LAST_ONE = RetentionPolicy("p", (ALL,), guard=NO_AGE)


@given(policies(), snapshots())
@example(LAST_ONE, SUBJECT_WITH_HUMAN_TAG)
def test_i1_nothing_that_a_surviving_tag_reaches_is_set_free(
    policy: RetentionPolicy, snapshot: Snapshot
) -> None:
    free = retention.unreachable(policy, snapshot, retention.decide(policy, snapshot, NOW))
    stays = reach(snapshot.manifests, kept_digests(policy, snapshot))
    assert not stays & set(free)
    if stays <= set(snapshot.manifests):
        everything = {*snapshot.manifests, *(fact.digest for fact in snapshot.tags)}
        assert set(free) == everything - stays
    else:
        assert free == []


@given(policies(), snapshots())
@example(LAST_ONE, SUBJECT_WITH_HUMAN_TAG)
@example(LAST_ONE, UNREAD_INDEX)
def test_i1_a_tag_named_after_a_digest_shares_its_fate(
    policy: RetentionPolicy, snapshot: Snapshot
) -> None:
    gone = dropped(policy, snapshot)
    followers = {fact.tag for fact in snapshot.tags if fact.tag in FOLLOWERS}
    stays = reach(snapshot.manifests, kept_digests(policy, snapshot))
    assert not gone & followers & names_of(stays)
    if not stays <= set(snapshot.manifests):
        assert not gone & followers
    before = reach(snapshot.manifests, {fact.digest for fact in snapshot.tags})
    assert gone & followers <= names_of(before), "its subject was never seen: it had to stay"


@given(policies(bare=True), snapshots(walked=True))
def test_i1_a_signature_goes_with_its_subject(policy: RetentionPolicy, snapshot: Snapshot) -> None:
    gone = dropped(policy, snapshot)
    human = {fact.digest for fact in snapshot.tags if fact.tag not in FOLLOWERS}
    left = {fact.digest for fact in snapshot.tags if fact.tag not in gone}
    ends = reach(snapshot.manifests, human) - reach(snapshot.manifests, left | snapshot.roots)
    for fact in snapshot.tags:
        since = arrival(fact)
        if fact.tag in names_of(ends) and since and since <= NOW:
            assert fact.tag in gone


@given(policies(), snapshots(walked=True))
def test_i12_what_is_set_free_lists_every_index_before_its_children(
    policy: RetentionPolicy, snapshot: Snapshot
) -> None:
    free = retention.unreachable(policy, snapshot, retention.decide(policy, snapshot, NOW))
    for place, digest in enumerate(free):
        assert not set(snapshot.manifests[digest].children) & set(free[:place])


@given(policies(), snapshots(walked=True))
def test_an_untagged_manifest_goes_only_when_nothing_that_stays_holds_it(
    policy: RetentionPolicy, snapshot: Snapshot
) -> None:
    grace = policy.untagged_grace
    decisions = retention.untagged(policy, snapshot, NOW)
    if grace is None:
        assert decisions == ()
        return
    pinned = {pin.digest for pin in policy.pins if pin.repository in ("", "prod/app")} - {""}
    tagged = {fact.digest for fact in snapshot.tags} | pinned | snapshot.roots
    loose = set(snapshot.manifests) - reach(snapshot.manifests, tagged)
    assert {each.digest for each in decisions} == loose
    gone = {each.digest for each in decisions if not each.keep}
    assert not gone & reach(snapshot.manifests, set(snapshot.manifests) - gone)
    for each in decisions:
        since = snapshot.manifests[each.digest].untagged_since
        old = since is not None and NOW - since >= max(grace, policy.guard.min_age)
        assert each.keep or (old and since not in LIES)


CASES: dict[str, Callable[[RetentionPolicy, Snapshot, set[str]], bool]] = {
    "a digest loses one tag and keeps another": lambda _, snapshot, gone: any(
        one.digest == other.digest and one.tag in gone and other.tag not in gone
        for one in snapshot.tags
        for other in snapshot.tags
    ),
    "a nested index stays": lambda _, snapshot, gone: any(
        snapshot.manifests[child].children
        for fact in snapshot.tags
        if fact.tag not in gone and fact.digest in snapshot.manifests
        for child in snapshot.manifests[fact.digest].children
        if child in snapshot.manifests
    ),
    "a child of a dropped index stays under another": lambda _, snapshot, gone: any(
        set(snapshot.manifests.get(one.digest, Node()).children)
        & set(snapshot.manifests.get(other.digest, Node()).children)
        for one in snapshot.tags
        for other in snapshot.tags
        if one.tag in gone and other.tag not in gone and one.digest != other.digest
    ),
    "a signature goes": lambda _, snapshot, gone: bool(gone & set(FOLLOWERS)),
    "a referrer under a human tag goes": lambda _, snapshot, gone: any(
        snapshot.manifests.get(fact.digest, Node()).subject
        for fact in snapshot.tags
        if fact.tag in gone - set(FOLLOWERS)
    ),
    "two tags tie where others go": lambda policy, snapshot, gone: any(
        one.digest != other.digest and order(one) == order(other) is not None
        for one in snapshot.tags
        for other in snapshot.tags
        if gone and one.tag not in gone and other.tag not in gone
    ),
    "1970 beside a drop": lambda _, snapshot, gone: (
        bool(gone) and any(fact.pushed in LIES for fact in snapshot.tags)
    ),
    "the future beside a drop": lambda _, snapshot, gone: (
        bool(gone) and any(fact.pushed in FUTURE for fact in snapshot.tags)
    ),
    "a mirror lets a drop pass": lambda policy, _, gone: bool(gone and policy.require_mirrored),
}


@pytest.mark.parametrize("case", CASES)
def test_the_strategies_produce_what_the_properties_are_about(case: str) -> None:
    """Without these cases the properties above would hold for an empty reason."""
    find(
        st.tuples(policies(), snapshots()),
        lambda pair: CASES[case](pair[0], pair[1], dropped(*pair)),
        settings=settings(
            max_examples=1000,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        ),
    )
