"""The newest of many tags."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncer import patterns
from syncer.newest import newest

VERSIONS = ["v1.0.0", "1.2", "1.10.0", "2.0.0-rc.1", "2.0.0", "latest", "7", "nightly"]


@pytest.mark.parametrize(
    ("count", "sort", "tags"),
    [
        (1, "semver", {"2.0.0"}),
        (3, "semver", {"2.0.0", "2.0.0-rc.1", "1.10.0"}),
        (9, "semver", {"v1.0.0", "1.2", "1.10.0", "2.0.0-rc.1", "2.0.0"}),
        (2, "name", {"v1.0.0", "nightly"}),
    ],
)
def test_versions_compare_as_versions_and_names_as_names(
    count: int, sort: str, tags: set[str]
) -> None:
    assert newest(VERSIONS, count, sort).tags == tags


def test_what_is_left_out_is_counted() -> None:
    found = newest(VERSIONS, 2, "semver")
    assert (len(found.tags), found.older, found.unordered) == (2, 3, 3)


def test_tags_of_one_version_come_together() -> None:
    assert newest(["v1.2.0", "1.2.0", "1.2", "1.1.0"], 1, "semver").tags == {
        "v1.2.0",
        "1.2.0",
        "1.2",
    }


def test_of_nothing_nothing_is_the_newest() -> None:
    assert not newest([], 3, "semver").tags
    assert not newest(["latest"], 3, "semver").tags


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.sets(st.from_regex(r"v?[0-3]\.[0-3](\.[0-3](-rc\.[0-3])?)?|[a-c]{1,3}", fullmatch=True)),
    st.integers(1, 6),
    st.sampled_from(["semver", "name"]),
)
def test_nothing_left_out_is_newer_than_what_is_taken(
    tags: set[str], count: int, sort: str
) -> None:
    found = newest(tags, count, sort)
    keys = {tag: patterns.version(tag) if sort == "semver" else tag for tag in tags}
    ordered = {tag for tag in tags if keys[tag] is not None}
    assert found.tags <= ordered
    assert len(found.tags) >= min(count, len(ordered))
    for tag in found.tags:
        newer = {other for other in ordered if keys[other] > keys[tag]}  # type: ignore[operator]
        assert len(newer) < count
        assert newer <= found.tags
    assert found.older == len(ordered) - len(found.tags)
    assert found.unordered == len(tags) - len(ordered)
