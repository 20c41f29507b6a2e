"""What is copied, replaced, left alone and refused, decided from two sets of tags."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from hypothesis import given
from hypothesis import strategies as st

from syncer import diff, plan

tags = st.sampled_from([f"v{n}" for n in range(8)])
digests = st.sampled_from(["sha256:" + c * 64 for c in "abc"])
sides = st.dictionaries(tags, digests)
pairs = st.frozensets(st.tuples(tags, digests))


@given(sides, sides, pairs, pairs, st.sampled_from(["ours", "always", "never"]))
def test_every_source_tag_gets_exactly_one_verdict(
    source: Mapping[str, str],
    target: Mapping[str, str],
    ours: frozenset[tuple[str, str]],
    suppressed: frozenset[tuple[str, str]],
    overwrite: str,
) -> None:
    found = diff.diff(source, target, overwrite=overwrite, ours=ours, suppressed=suppressed)
    for tag, digest in source.items():
        verdicts = {
            "in step": found.in_step.get(tag) == digest,
            "missing": any(c.tag == tag for c in found.missing),
            "changed": any(c.tag == tag for c in found.changed),
            "conflict": any(c.tag == tag for c in found.conflicts),
            "suppressed": any(c.tag == tag for c in found.suppressed),
        }
        if target.get(tag) == digest:
            expected = "in step"
        elif tag not in target:
            expected = "suppressed" if (tag, digest) in suppressed else "missing"
        elif overwrite == "always" or (overwrite == "ours" and (tag, target[tag]) in ours):
            expected = "changed"
        else:
            expected = "conflict"
        assert [name for name, holds in verdicts.items() if holds] == [expected]
    assert set(found.extraneous) == set(target) - set(source)


@given(sides, sides, sides)
def test_tags_the_rule_does_not_speak_of_are_not_extraneous(
    source: Mapping[str, str], target: Mapping[str, str], others: Mapping[str, str]
) -> None:
    found = diff.diff(source, target, unmatched=list(others))
    assert not set(found.extraneous) & set(others)


def replication(
    source: Mapping[str, str],
    target: Mapping[str, str],
    *,
    mutable: Collection[str] = (),
    limit: int = 30,
) -> plan.RepositoryPlan:
    found = diff.diff(source, target, overwrite="always")
    return plan.replication(
        "r",
        plan.Place("eu", "app"),
        plan.Place("us", "app"),
        found,
        is_mutable=lambda tag: tag in mutable,
        max_overwrite_pct=limit,
    )


@given(replaced=st.integers(0, 40), same=st.integers(0, 60), moving=st.integers(0, 30))
def test_a_repository_is_refused_whole_when_too_many_tags_would_be_replaced(
    replaced: int, same: int, moving: int
) -> None:
    old, new = "sha256:" + "0" * 64, "sha256:" + "1" * 64
    mutable = {f"m{n}" for n in range(moving)}
    names = {f"r{n}" for n in range(replaced)} | mutable
    source = dict.fromkeys(names, new) | {f"s{n}": old for n in range(same)}
    target = dict.fromkeys(names, old) | {f"s{n}": old for n in range(same)}

    made = replication(source, target, mutable=mutable)

    assert bool(made.refused) == (replaced > 10 and replaced * 100 > 30 * (replaced + same))
    assert len(made.steps) == replaced + moving


def test_new_tags_are_never_a_reason_to_refuse() -> None:
    new = "sha256:" + "1" * 64
    made = replication({f"v{n}": new for n in range(100)}, {})
    assert not made.refused
    assert {step.action for step in made.steps} == {plan.Action.COPY}


def test_two_sources_on_one_name_refuse_both_and_name_each_other() -> None:
    eu, us, there = plan.Place("eu", "a/app"), plan.Place("us", "b/app"), plan.Place("dr", "app")
    found = plan.collisions(
        [("one", eu, there), ("two", us, there), ("one", eu, plan.Place("dr", "x"))]
    )
    assert set(found) == {("one", eu, there), ("two", us, there)}
    assert "us/b/app" in found["one", eu, there]
    assert "eu/a/app" in found["two", us, there]


def test_the_same_source_by_two_rules_is_no_collision() -> None:
    eu, there = plan.Place("eu", "app"), plan.Place("dr", "app")
    assert not plan.collisions([("one", eu, there), ("two", eu, there)])
