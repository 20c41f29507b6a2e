"""The invariants of reference/retention.md 5.1 that speak of single tags.

Oracles stand in retention_strategies and use no product code.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import Any, Literal

from hypothesis import given
from hypothesis import strategies as st

from syncer import patterns, retention
from syncer.retention import Guard, Keep, Node, Pin, RetentionPolicy, Rule, Snapshot, TagFact
from tests.unit.retention_strategies import (
    FOLLOWERS,
    FUTURE,
    KEEPS,
    LIES,
    NAMES,
    NOW,
    SPANS,
    arrival,
    claim,
    dropped,
    keeps,
    moments,
    order,
    pins,
    policies,
    reach,
    snapshots,
    values,
    without,
)

NO_AGE = Guard(min_age=timedelta(0))


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


@given(policies(), snapshots(), st.data())
def test_i5_what_the_content_claims_of_its_age_changes_nothing(
    policy: RetentionPolicy, snapshot: Snapshot, data: st.DataObject
) -> None:
    lying = tuple(replace(fact, created=data.draw(moments)) for fact in snapshot.tags)
    silent = tuple(replace(fact, created=None) for fact in snapshot.tags)
    assert retention.decide(policy, replace(snapshot, tags=lying), NOW) == retention.decide(
        policy, replace(snapshot, tags=silent), NOW
    )


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


@given(policies(), snapshots(), st.sampled_from(FUTURE))
def test_i5_a_tag_from_the_future_pushes_nothing_out(
    policy: RetentionPolicy, snapshot: Snapshot, when: datetime
) -> None:
    newcomer = TagFact("vnext", f"sha256:{99:064x}", first_seen=when, pushed=when)
    joined = replace(snapshot, tags=(*snapshot.tags, newcomer))
    assert dropped(policy, joined) <= dropped(policy, snapshot)


@given(policies(bare=True), snapshots(), st.sampled_from([timedelta(0), *SPANS]))
def test_i6_nothing_younger_than_min_age_or_of_unknown_age_goes(
    policy: RetentionPolicy, snapshot: Snapshot, min_age: timedelta
) -> None:
    policy = replace(policy, guard=Guard(min_age=min_age))
    gone = dropped(policy, snapshot)
    for fact in snapshot.tags:
        if fact.tag in gone:
            since = arrival(fact)
            assert since is not None
            assert NOW - since >= min_age


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


@given(policies(bare=True), snapshots())
def test_i7_each_tag_that_would_go_stays_once_it_is_protected_or_pinned(
    policy: RetentionPolicy, snapshot: Snapshot
) -> None:
    digests = {fact.tag: fact.digest for fact in snapshot.tags}
    for name in dropped(policy, snapshot):
        shields = (
            replace(policy, protect=(patterns.parse(name),)),
            replace(policy, pins=(Pin("prod/app", tag=name),)),
            replace(policy, pins=(Pin(digest=digests[name]),)),
        )
        assert not any(name in dropped(shielded, snapshot) for shielded in shields)


def reach_down(snapshot: Snapshot, digest: str) -> set[str]:
    """The digest and what it lists, at any depth."""
    node = snapshot.manifests.get(digest, Node())
    return {digest}.union(*(reach_down(snapshot, child) for child in node.children))


@given(policies(), snapshots())
def test_i8_what_no_rule_claims_stays(policy: RetentionPolicy, snapshot: Snapshot) -> None:
    gone = dropped(policy, snapshot)
    assert all(claim(policy, name) or name in FOLLOWERS for name in gone)
    assert dropped(replace(policy, rules=()), snapshot) == set()


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


@given(policies(), snapshots())
def test_i10_the_zone_of_the_host_changes_nothing(
    policy: RetentionPolicy, snapshot: Snapshot
) -> None:
    answers = []
    for zone in ("UTC", "Pacific/Kiritimati", "America/Los_Angeles"):
        with host_zone(zone):
            answers.append(retention.decide(policy, snapshot, NOW))
    assert answers[0] == answers[1] == answers[2]


@given(policies(), snapshots(), st.sampled_from([*NAMES, *FOLLOWERS]), pins)
def test_i13_to_protect_or_to_pin_drops_nothing_more(
    policy: RetentionPolicy, snapshot: Snapshot, name: str, pin: Pin
) -> None:
    before = dropped(policy, snapshot)
    protected = replace(policy, protect=(*policy.protect, patterns.parse(name)))
    assert dropped(protected, snapshot) <= before
    assert dropped(replace(policy, pins=(*policy.pins, pin)), snapshot) <= before


@given(policies(), snapshots(), st.data())
def test_i13_to_add_or_raise_a_keep_drops_nothing_more(
    policy: RetentionPolicy, snapshot: Snapshot, data: st.DataObject
) -> None:
    number = data.draw(st.integers(0, len(policy.rules) - 1))
    rules = list(policy.rules)
    rules[number] = replace(rules[number], keep=more(rules[number].keep, data))
    assert dropped(replace(policy, rules=tuple(rules)), snapshot) <= dropped(policy, snapshot)


@given(keeps(), keeps(), snapshots(), st.sampled_from(["age", "semver"]))
def test_keeps_are_a_union(
    one: Keep, other: Keep, snapshot: Snapshot, sort: Literal["age", "semver"]
) -> None:
    """What two keeps hold together is what each of them holds alone."""
    given = {name: value for each in (one, other) for name, value in vars(each).items() if value}
    parts: list[dict[str, Any]] = [{name: given[name]} for name in KEEPS if name in given]

    def gone(keep: Keep) -> set[str]:
        rule = Rule("all", patterns.parse("*"), keep, sort=sort)
        return dropped(RetentionPolicy("p", (rule,), guard=NO_AGE), snapshot) - set(FOLLOWERS)

    both = Keep(**{name: value for part in parts for name, value in part.items()})
    assert gone(both) == set.intersection(*(gone(Keep(**part)) for part in parts))


def more(keep: Keep, data: st.DataObject) -> Keep:
    """The keep with one of its parts added or raised."""
    name = data.draw(st.sampled_from(KEEPS))
    given: dict[str, Any] = vars(keep) | {name: data.draw(values(name))}
    match getattr(keep, name):
        case int(count):
            given[name] = count + 1
        case timedelta() as span:
            given[name] = span + SPANS[0]
    return Keep(**given)


@given(policies(), snapshots())
def test_i14_what_is_left_after_the_plan_loses_nothing_more(
    policy: RetentionPolicy, snapshot: Snapshot
) -> None:
    assert dropped(policy, without(snapshot, dropped(policy, snapshot))) == set()


@given(policies(bare=True), snapshots(), st.sampled_from([("dr",), ("eu",), ("dr", "eu")]))
def test_i17_only_what_is_verified_at_every_named_mirror_goes(
    policy: RetentionPolicy, snapshot: Snapshot, required: tuple[str, ...]
) -> None:
    policy = replace(policy, require_mirrored=required)
    for each in retention.decide(policy, snapshot, NOW):
        assert each.keep or set(required) <= snapshot.mirrored[each.digest]


@given(policies(), snapshots())
def test_i18_every_tag_has_one_decision_that_names_its_rule_and_a_reason(
    policy: RetentionPolicy, snapshot: Snapshot
) -> None:
    decisions = retention.decide(policy, snapshot, NOW)
    assert [(each.tag, each.digest) for each in decisions] == sorted(
        (fact.tag, fact.digest) for fact in snapshot.tags
    )
    for each in decisions:
        claimed = claim(policy, each.tag)
        others = {"protect", "pin", "follows" if each.tag in FOLLOWERS else "unclaimed"}
        assert each.rule in ({claimed[0].name, "protect", "pin"} if claimed else others)
        assert each.reason.strip()
        assert "\n" not in each.reason


@given(policies(), snapshots())
def test_a_tag_goes_after_its_due_time_and_not_before(
    policy: RetentionPolicy, snapshot: Snapshot
) -> None:
    facts = {fact.tag: fact for fact in snapshot.tags}
    honest = not any(
        moment in FUTURE
        for fact in snapshot.tags
        for moment in (fact.first_seen, fact.pushed, fact.pulled, fact.source_order)
    )
    instant = timedelta(microseconds=1)
    for each in retention.decide(policy, snapshot, NOW):
        assert each.since == arrival(facts[each.tag])
        if not each.keep:
            assert each.due == NOW
        elif each.due is not None and each.rule != "follows":
            assert each.tag in dropped(policy, snapshot, each.due + instant)
            if honest:
                assert each.tag not in dropped(policy, snapshot, each.due - instant)


@given(policies(), snapshots(), st.integers(0, 6), st.integers(0, 6), st.integers(0, 100))
def test_i11_a_plan_over_a_limit_is_refused_whole(
    policy: RetentionPolicy, snapshot: Snapshot, most: int, least: int, percent: int
) -> None:
    guard = Guard(min_keep=least, max_delete=most, max_delete_pct=percent)
    decisions = retention.decide(policy, snapshot, NOW)
    drops = [each for each in decisions if not each.keep]
    chosen = [each for each in decisions if each.tag not in FOLLOWERS]
    left = [each for each in chosen if each.keep]
    enough = len(left) >= min(least, len(chosen)) and len({each.digest for each in left}) >= min(
        least, len({each.digest for each in chosen})
    )
    within = len(drops) <= most and (
        len(drops) <= 10 or len(drops) * 100 <= percent * len(decisions)
    )
    passes = not drops or (enough and within)
    assert (retention.refusal(guard, decisions) == "") == passes
    allowed = retention.refusal(guard, decisions, allow_delete=len(drops))
    assert (allowed == "") == (not drops or enough)
    assert retention.refusal(guard, decisions, allow_delete=len(drops) + 1) == retention.refusal(
        guard, decisions
    )
