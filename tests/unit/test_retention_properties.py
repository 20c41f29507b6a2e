"""The invariants of reference/retention.md 5.1 that are pure. Oracles are in the strategies module."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, assume, example, find, given, settings
from hypothesis import strategies as st

from syncer import patterns, retention
from syncer.retention import Decision, Guard, Keep, Node, RetentionPolicy, Rule, Snapshot, TagFact
from tests.unit.retention_strategies import (
    DIGESTS,
    FOLLOWERS,
    FUTURE,
    LIES,
    NOW,
    PAST,
    claim,
    moments,
    names_of,
    pins,
    policies,
    quick,
    reach,
    snapshots,
    without,
)

ALL = Rule("all", patterns.parse("*"), Keep(last=1))
NO_AGE = Guard(min_age=timedelta(0))
OLD = PAST[-1]


def dropped(policy: RetentionPolicy, snapshot: Snapshot, now: datetime = NOW) -> set[str]:
    return {each.tag for each in retention.decide(policy, snapshot, now) if not each.keep}


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
LAST_ONE = RetentionPolicy("p", (ALL,), guard=NO_AGE)


@quick
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


@quick
@given(policies(), snapshots())
@example(LAST_ONE, SUBJECT_WITH_HUMAN_TAG)
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


@quick
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


@quick
@given(policies(), snapshots(walked=True))
def test_i12_what_is_set_free_lists_every_index_before_its_children(
    policy: RetentionPolicy, snapshot: Snapshot
) -> None:
    free = retention.unreachable(policy, snapshot, retention.decide(policy, snapshot, NOW))
    for place, digest in enumerate(free):
        assert not set(snapshot.manifests[digest].children) & set(free[:place])


@quick
@given(policies(bare=True), snapshots())
def test_i3_tags_of_one_digest_in_one_group_share_one_fate(
    policy: RetentionPolicy, snapshot: Snapshot
) -> None:
    gone = dropped(policy, snapshot)
    fates = defaultdict(set)
    for fact in snapshot.tags:
        if claimed := claim(policy, fact.tag):
            fates[claimed[0].name, claimed[1], fact.digest].add(fact.tag in gone)
    assert all(len(fate) == 1 for fate in fates.values())


@quick
@given(snapshots(), st.integers(1, 4), st.sampled_from(["*", "v*", r"re:(?P<line>v\d+\.\d+)\.\d+"]))
def test_i3_i9_last_drops_only_below_as_many_digests_that_are_strictly_newer(
    snapshot: Snapshot, count: int, text: str
) -> None:
    """So a count never cuts among equals or unknowns, and counts digests, not tags."""
    pattern = patterns.parse(text)
    rule = Rule("one", pattern, Keep(last=count), tuple(pattern.group_names))
    policy = RetentionPolicy("p", (rule,), guard=NO_AGE)
    gone = dropped(policy, snapshot)
    groups: dict[str, dict[str, list[TagFact]]] = defaultdict(lambda: defaultdict(list))
    for fact in snapshot.tags:
        if claimed := claim(policy, fact.tag):
            groups[claimed[1]][fact.digest].append(fact)
    for digests in groups.values():
        ordered = {digest: order(*facts) for digest, facts in digests.items()}
        for digest, facts in digests.items():
            mine = ordered[digest]
            newer = sum(1 for other in ordered.values() if mine and other and other > mine)
            since = arrival(*facts)
            goes = mine is not None and newer >= count and since is not None and since <= NOW
            assert {fact.tag in gone for fact in facts} == {goes}


@quick
@given(policies(), snapshots(), st.text(max_size=20))
def test_i4_what_was_not_read_whole_loses_nothing(
    policy: RetentionPolicy, snapshot: Snapshot, problem: str
) -> None:
    partial = replace(snapshot, complete=False, problem=problem)
    decisions = retention.decide(policy, partial, NOW)
    assert all(each.keep and each.rule == "incomplete" for each in decisions)
    assert all(each.reason and problem in each.reason for each in decisions)
    gone = [replace(each, keep=False) for each in decisions]
    assert retention.unreachable(policy, partial, gone) == []
    assert retention.untagged(policy, partial, NOW) == ()


@quick
@given(policies(), snapshots(), st.data())
def test_i5_what_the_content_claims_of_its_age_changes_nothing(
    policy: RetentionPolicy, snapshot: Snapshot, data: st.DataObject
) -> None:
    lying = tuple(replace(fact, created=data.draw(moments)) for fact in snapshot.tags)
    silent = tuple(replace(fact, created=None) for fact in snapshot.tags)
    assert retention.decide(policy, replace(snapshot, tags=lying), NOW) == retention.decide(
        policy, replace(snapshot, tags=silent), NOW
    )


@quick
@given(policies(), snapshots())
def test_i5_a_time_before_containers_is_no_time(
    policy: RetentionPolicy, snapshot: Snapshot
) -> None:
    def honest(moment: datetime | None) -> datetime | None:
        return None if moment in LIES else moment

    tags = tuple(
        replace(
            fact,
            first_seen=honest(fact.first_seen),
            pushed=honest(fact.pushed),
            pulled=honest(fact.pulled),
            source_order=honest(fact.source_order),
        )
        for fact in snapshot.tags
    )
    assert retention.decide(policy, snapshot, NOW) == retention.decide(
        policy, replace(snapshot, tags=tags), NOW
    )


@quick
@given(policies(), snapshots(), st.sampled_from(FUTURE))
def test_i5_a_tag_from_the_future_pushes_nothing_out(
    policy: RetentionPolicy, snapshot: Snapshot, when: datetime
) -> None:
    newcomer = TagFact("v1.0.99", f"sha256:{99:064x}", first_seen=when, pushed=when)
    joined = replace(snapshot, tags=(*snapshot.tags, newcomer))
    assert dropped(policy, joined) <= dropped(policy, snapshot)


@quick
@given(policies(), snapshots())
def test_i6_nothing_younger_than_min_age_or_of_unknown_age_goes(
    policy: RetentionPolicy, snapshot: Snapshot
) -> None:
    gone = dropped(policy, snapshot)
    for fact in snapshot.tags:
        if fact.tag in gone:
            since = arrival(fact)
            assert since is not None
            assert NOW - since >= policy.guard.min_age


@quick
@given(policies(), snapshots())
def test_i7_what_is_protected_or_pinned_stays_with_all_it_reaches(
    policy: RetentionPolicy, snapshot: Snapshot
) -> None:
    decisions = retention.decide(policy, snapshot, NOW)
    here = [pin for pin in policy.pins if pin.repository in ("", snapshot.repository)]
    names = {pattern.text for pattern in policy.protect} | {pin.tag for pin in here}
    digests = {pin.digest for pin in here if pin.digest}
    shielded = {each.digest for each in decisions if each.tag in names} | digests
    for each in decisions:
        if each.tag in names or reach_down(snapshot, each.digest) & digests:
            assert each.keep
    free = set(retention.unreachable(policy, snapshot, decisions))
    assert not free & reach(snapshot.manifests, shielded)


def reach_down(snapshot: Snapshot, digest: str) -> set[str]:
    """The digest and what it lists, at any depth."""
    node = snapshot.manifests.get(digest, Node())
    return {digest}.union(*(reach_down(snapshot, child) for child in node.children))


@quick
@given(policies(), snapshots())
def test_i8_what_no_rule_claims_stays(policy: RetentionPolicy, snapshot: Snapshot) -> None:
    gone = dropped(policy, snapshot)
    assert all(claim(policy, name) or name in FOLLOWERS for name in gone)
    assert not dropped(replace(policy, rules=()), snapshot) - set(FOLLOWERS)


@quick
@given(policies(), snapshots(), st.randoms(use_true_random=False))
def test_i9_the_order_of_the_listing_changes_nothing(
    policy: RetentionPolicy, snapshot: Snapshot, random: Random
) -> None:
    tags, manifests = list(snapshot.tags), list(snapshot.manifests.items())
    random.shuffle(tags)
    random.shuffle(manifests)
    shuffled = replace(snapshot, tags=tuple(tags), manifests=dict(manifests))
    decisions = retention.decide(policy, snapshot, NOW)
    assert retention.decide(policy, shuffled, NOW) == decisions
    free = retention.unreachable(policy, snapshot, decisions)
    assert set(retention.unreachable(policy, shuffled, decisions)) == set(free)


@contextmanager
def host_zone(name: str) -> Iterator[None]:
    """The host lives in another time zone for a while."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = name
    time.tzset()
    try:
        yield
    finally:
        os.environ.pop("TZ")
        if before is not None:
            os.environ["TZ"] = before
        time.tzset()


@quick
@given(policies(), snapshots())
def test_i10_the_zone_of_the_host_changes_nothing(
    policy: RetentionPolicy, snapshot: Snapshot
) -> None:
    answers = []
    for zone in ("UTC", "Pacific/Kiritimati", "America/Los_Angeles"):
        with host_zone(zone):
            answers.append(retention.decide(policy, snapshot, NOW))
    assert answers[0] == answers[1] == answers[2]


@quick
@given(policies(), snapshots())
def test_i13_to_protect_or_pin_a_tag_never_drops_another(
    policy: RetentionPolicy, snapshot: Snapshot, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(NAMES))
