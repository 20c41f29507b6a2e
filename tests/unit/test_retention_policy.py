"""Policies as values: what is refused, how they read, and the guards."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from syncer import patterns, retention
from syncer.retention import Decision, Guard, Keep, Pin, RetentionPolicy, Rule


def days(count: float) -> timedelta:
    return timedelta(days=count)


@pytest.mark.parametrize(
    ("keep", "says"),
    [
        ({}, "drop every tag"),
        ({"last": 0}, "last must be more than nothing"),
        ({"last": -1}, "last must be more than nothing"),
        ({"last": 1, "daily": 0}, "daily must be"),
        ({"within": days(0)}, "within must be"),
        ({"last": 1, "weekly": days(-7)}, "weekly must be"),
        ({"oldest": True}, "drop every tag"),
        ({"last": 3, "oldest": True}, "calendar count"),
        ({"daily": days(7), "oldest": True}, "calendar count"),
    ],
)
def test_a_keep_that_keeps_nothing_is_refused(keep: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Keep(**keep)  # type: ignore[arg-type]


def test_a_group_that_is_not_captured_is_refused() -> None:
    pattern = patterns.parse(r"re:(?P<major>\d+)\.\d+")
    with pytest.raises(ValueError, match=r"'minor' is not captured .* write \(\?P<minor>"):
        Rule("releases", pattern, Keep(last=1), group=("major", "minor"))


def test_a_policy_reads_as_a_person_would_say_it() -> None:
    policy = RetentionPolicy(
        "releases",
        (
            Rule(
                "releases",
                patterns.parse("semver:>=1"),
                Keep(last=2, pulled_within=days(90)),
                group=("major", "minor"),
                sort="semver",
            ),
            Rule("builds", patterns.parse("main-*"), Keep(within=days(3), daily=days(14))),
            Rule("rest", patterns.parse("*"), Keep(last=1, weekly=4, yearly=1, oldest=True)),
        ),
        protect=(patterns.parse("latest"), patterns.parse("stable")),
        pins=(Pin("app", "v1"),),
        untagged_grace=days(14),
        timezone=ZoneInfo("Europe/Berlin"),
        require_mirrored=("dr-west",),
    )
    assert "\n".join(retention.sentences(policy)) == SAID


SAID = """\
keep latest and stable whatever the rules say
keep what is pinned: 1 pin
of tags matching semver:>=1, per major.minor, by version: keep the highest 2 and those pulled \
within 90 days; drop the rest
of tags matching main-*: keep those of the last 3 days and the newest of each day for 14 days; \
drop the rest
of tags matching *: keep the last 1, the newest of each of the 4 latest weeks that have one, \
the newest of the latest year that has one and the oldest while a count is not filled; \
drop the rest
hours, days, weeks, months and years are those of Europe/Berlin
keep every tag that no rule claims
drop manifests without a tag after 14 days
drop only what is verified at dr-west
drop nothing younger than 24 hours; leave at least 1 tagged digest; refuse more than 200 drops \
or 30 % of a repository, or 2000 in a run"""


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (days(90), "90 days"),
        (days(14), "14 days"),
        (days(1), "24 hours"),
        (timedelta(hours=1), "1 hour"),
        (timedelta(hours=36), "36 hours"),
        (timedelta(minutes=90), "90 minutes"),
        (timedelta(seconds=61), "61 seconds"),
        (timedelta(0), "0 seconds"),
    ],
)
def test_a_duration_is_said_in_the_largest_unit_that_divides_it(
    span: timedelta, words: str
) -> None:
    assert retention.duration(span) == words


def plan(keeps: int, drops: int) -> list[Decision]:
    return [
        Decision(f"t{n}", f"sha256:{n:064x}", n < keeps, "rule", "reason")
        for n in range(keeps + drops)
    ]


@pytest.mark.parametrize(
    ("keeps", "drops", "says"),
    [
        (1000, 200, ""),
        (
            1000,
            201,
            "201 of 1201 tags would go, more than max_delete = 200 allows; if that is right, say --allow-delete 201",
        ),
        (23, 10, ""),
        (10, 10, ""),
        (26, 11, ""),
        (
            25,
            11,
            "11 of 36 tags would go, more than max_delete_pct = 30 allows; if that is right, say --allow-delete 11",
        ),
        (0, 3, "only 0 tags would be left, fewer than min_keep = 1: keep more"),
        (0, 0, ""),
    ],
)
def test_the_guards_of_a_repository_refuse_all_of_it(keeps: int, drops: int, says: str) -> None:
    assert retention.refusal(Guard(), plan(keeps, drops)) == says


def test_only_the_exact_number_lifts_the_brake_and_nothing_lifts_min_keep() -> None:
    assert retention.refusal(Guard(), plan(1000, 201), allow_delete=201) == ""
    assert "max_delete" in retention.refusal(Guard(), plan(1000, 201), allow_delete=202)
    assert "max_delete" in retention.refusal(Guard(), plan(1000, 201), allow_delete=200)
    assert "min_keep" in retention.refusal(Guard(), plan(0, 201), allow_delete=201)


def test_three_tags_left_on_one_digest_are_one_thing_to_pull() -> None:
    left = [Decision(f"t{n}", "sha256:a", True, "rule", "reason") for n in range(3)]
    gone = [Decision("t9", "sha256:b", False, "rule", "reason")]
    says = "only 1 tagged digest would be left, fewer than min_keep = 2: keep more"
    assert retention.refusal(Guard(min_keep=2), [*left, *gone]) == says


def test_a_signature_is_not_one_of_the_digests_that_stay() -> None:
    signature = Decision(f"sha256-{'a' * 64}.sig", "sha256:b", True, "follows", "reason")
    gone = Decision("v1", "sha256:a", False, "rule", "reason")
    assert "min_keep = 1" in retention.refusal(Guard(), [signature, gone])


def test_a_run_is_refused_above_its_own_limit() -> None:
    assert retention.run_refusal(Guard(), 2000) == ""
    says = "2001 tags would go, more than max_delete_run = 2000 allows; if that is right, say --allow-delete 2001"
    assert retention.run_refusal(Guard(), 2001) == says
    assert retention.run_refusal(Guard(), 2001, allow_delete=2000) == says
    assert retention.run_refusal(Guard(), 2001, allow_delete=2001) == ""
