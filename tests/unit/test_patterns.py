from __future__ import annotations

import itertools

import pytest
import semver
from hypothesis import given, settings
from hypothesis import strategies as st

from syncer import patterns
from syncer.patterns import Selection, parse

NAMES = [
    "latest",
    "prod",
    "prod/app",
    "prod/team/app",
    "staging/prod/app",
    "v1.4.2",
    "v1.4.10",
    "v1-rc",
]


@pytest.mark.parametrize(
    ("text", "matched"),
    [
        ("latest", ["latest"]),
        ("*", ["latest", "prod", "v1.4.2", "v1.4.10", "v1-rc"]),
        ("**", NAMES),
        ("prod/**", ["prod/app", "prod/team/app"]),
        ("prod/*", ["prod/app"]),
        ("prod/*/app", ["prod/team/app"]),
        ("prod/**/app", ["prod/app", "prod/team/app"]),
        ("**/app", ["prod/app", "prod/team/app", "staging/prod/app"]),
        ("v1.4.?", ["v1.4.2"]),
        ("v1.*", ["v1.4.2", "v1.4.10"]),
        ("v1.4.[!0-1]*", ["v1.4.2"]),
        ("V1.*", []),
        (r"re:v\d+", []),
        (r"re:v\d+.*", ["v1.4.2", "v1.4.10", "v1-rc"]),
        ("re:prod|latest", ["latest", "prod"]),
        ("re:(?i)LATEST", ["latest"]),
    ],
)
def test_a_pattern_is_compared_with_the_whole_name(text: str, matched: list[str]) -> None:
    assert [name for name in NAMES if parse(text).matches(name)] == matched


VERSIONS = [
    "1.3.9",
    "v1.4",
    "1.4.0-rc.1",
    "1.4.0",
    "v1.4.3",
    "1.5.0-rc.1",
    "1.5.0",
    "2.0.0-0",
    "2.0.0",
]


@pytest.mark.parametrize(
    ("text", "matched"),
    [
        ("semver:>=1.4 <2", ["v1.4", "1.4.0", "v1.4.3", "1.5.0"]),
        ("semver:=1.4", ["v1.4", "1.4.0", "v1.4.3"]),
        ("semver:!=1.4 !=2", ["1.3.9", "1.5.0"]),
        ("semver:>1.4", ["1.5.0", "2.0.0"]),
        ("semver:<=v1.4", ["1.3.9", "v1.4", "1.4.0", "v1.4.3"]),
        ("semver:<1.4.0", ["1.3.9"]),
        ("semver:>1.4.0", ["v1.4.3", "1.5.0", "2.0.0"]),
        ("semver:>=1", ["1.3.9", "v1.4", "1.4.0", "v1.4.3", "1.5.0", "2.0.0"]),
        ("semver:>=1.4.0-0 <2", ["v1.4", "1.4.0-rc.1", "1.4.0", "v1.4.3", "1.5.0-rc.1", "1.5.0"]),
        ("semver:>=1.5.0-rc.1 <=2.0.0", ["1.5.0-rc.1", "1.5.0", "2.0.0-0", "2.0.0"]),
    ],
)
def test_semver_comparators_all_hold_and_partial_versions_speak_of_their_line(
    text: str, matched: list[str]
) -> None:
    assert [name for name in VERSIONS if parse(text).matches(name)] == matched


@pytest.mark.parametrize(
    "name", ["14", "v2", "20240501", "2024.01.02", "1.2.3.4", "x1.2.3", "1.2.3_4"]
)
def test_a_tag_that_is_no_version_matches_no_comparator(name: str) -> None:
    assert patterns.version(name) is None
    assert not parse("semver:>=0").matches(name)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        (r"v\d+", "re:"),
        ("{a,b}", "re:"),
        ("!latest", "'!'"),
        ("v1.(2|3)", "re:"),
        ("v[0-", "'['"),
        ("prod/", "begins or ends with /"),
        ("a//b", "//"),
        ("prod**", "alone between slashes"),
        ("re:(a", "missing )"),
        ("re:(?=a)b", "invalid perl operator"),
        (r"re:(a)\1", "invalid escape"),
        ("semver:", "compares with nothing"),
        ("semver:>= 1.4", "no comparator"),
        ("semver:^1.4", "no comparator"),
        ("semver:>=1.04", "semver.org"),
        ("semver:>=1.4-rc.1", "no full version"),
    ],
)
def test_a_bad_pattern_is_refused_in_one_sentence_that_says_why(
    text: str, says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError) as refused:
        parse(text)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
    assert capfd.readouterr() == ("", "")


def test_groups_are_the_named_captures_of_a_full_match() -> None:
    pattern = parse(r"re:v(?P<major>\d+)\.(?P<minor>\d+)(-(?P<flavour>\w+))?")
    assert pattern.group_names == {"major", "minor", "flavour"}
    assert pattern.groups("v1.4") == {"major": "1", "minor": "4", "flavour": ""}
    assert pattern.groups("v1.4-slim") == {"major": "1", "minor": "4", "flavour": "slim"}
    assert pattern.groups("xv1.4") is None


def test_groups_of_a_glob_are_empty_and_of_a_version_its_numbers() -> None:
    assert parse("v*").groups("v1.4.2") == {}
    assert parse("v*").groups("latest") is None
    assert parse("re:v.*").groups("v1") == {}
    assert parse("semver:>=1").groups("v1.4") == {"major": "1", "minor": "4", "patch": "0"}
    assert parse("semver:>=1").groups("latest") is None


def test_a_pattern_knows_its_form() -> None:
    assert [parse(text).is_literal for text in ("latest", "a/b", "l*", "re:latest")] == [
        True,
        True,
        False,
        False,
    ]
    assert parse("semver:>=1").is_semver
    assert not parse("1.4").is_semver
    assert parse("v*") == parse("v*") != parse("v?")


def test_a_nested_quantifier_takes_linear_time() -> None:
    """With a backtracking engine this test would not end (2 ** 4000 steps)."""
    assert not parse("re:(a+)+b").matches("a" * 4000)


def test_many_stars_take_linear_time() -> None:
    assert not parse("*a" * 40 + "*b*c").matches("a" * 4000)


def test_a_name_that_is_not_unicode_text_matches_without_an_error() -> None:
    assert parse("re:.*").matches("\udcff")
    assert parse("*").matches("\udcff")


def test_a_selection_needs_one_include_and_no_exclude() -> None:
    selection = Selection((parse("v*"), parse("latest")), (parse("*-rc"),))
    assert [name for name in NAMES if selection.matches(name)] == ["latest", "v1.4.2", "v1.4.10"]
    assert not Selection(()).matches("latest")


def test_counts_say_how_many_names_each_pattern_matched() -> None:
    selection = Selection((parse("v*"), parse("edge")), (parse("*-rc"),))
    assert selection.counts(iter(NAMES)) == {"v*": 3, "edge": 0, "*-rc": 1}


identifiers = st.one_of(
    st.integers(0, 12).map(str), st.sampled_from(["alpha", "beta", "rc", "rc1", "x-y", "0a"])
)


@st.composite
def versions(draw: st.DrawFn) -> str:
    numbers = ".".join(str(draw(st.integers(0, 12))) for _ in range(3))
    prerelease = draw(st.lists(identifiers, max_size=3))
    return f"{numbers}-{'.'.join(prerelease)}" if prerelease else numbers


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(versions(), min_size=2, max_size=6))
def test_versions_sort_by_semver_precedence(tags: list[str]) -> None:
    for one, other in itertools.pairwise(tags):
        left, right = patterns.version(one), patterns.version(f"v{other}")
        assert left is not None
        assert right is not None
        expected = semver.Version.parse(one).compare(other)
        assert (left > right) - (left < right) == expected
