"""Which tags are taken as in step by what is known of them, and which are looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import event, given
from hypothesis import strategies as st

from syncer.look import Target, recalled
from syncer.memory import NoMemory, Where
from syncer.remember import UNREAD, settled
from syncer.state import TagRecord

NOW = datetime(2026, 3, 1, tzinfo=UTC)
RECHECK = timedelta(days=7)
EU = ("https://eu.example", "app")
OTHERS = (("https://eu.example", "other"), ("https://asia.example", "app"), ("", ""))
TAGS = ("a", "b", "c")

Seen = Mapping[str, Mapping[str, TagRecord]]


def mostly(usual: Any, *others: Any) -> st.SearchStrategy[Any]:
    """`usual` six times of seven, so that a tag has a chance to be taken on all sides."""
    return st.sampled_from([usual] * 6 * len(others) + list(others))


@st.composite
def sides(draw: st.DrawFn) -> tuple[frozenset[str], Seen]:
    """A repository: the tags it lists, and what is known of them."""
    seen: dict[str, dict[str, TagRecord]] = {}
    for tag in TAGS:
        for digest in draw(mostly(["x"], [], ["y"], ["x", "y"], [UNREAD], ["x", UNREAD])):
            hours = draw(mostly(1, 0, -1, 7 * 24 - 1, 7 * 24, 7 * 24 + 1))
            source = draw(mostly(EU, *OTHERS))
            seen.setdefault(tag, {})[digest] = TagRecord(
                tag,
                digest,
                NOW - 30 * timedelta(days=1),
                NOW - timedelta(hours=hours),
                NOW if draw(mostly(False, True)) else None,
                draw(mostly(True, False)),
                *source,
            )
    return frozenset(draw(mostly(TAGS, ("a",), ()))), seen


def taken(tags: Sequence[str], source: Seen, there: Sequence[tuple[frozenset[str], Seen]]) -> Any:
    """What a run decides."""
    window = (NOW - RECHECK, NOW)
    targets = [
        (
            Target(cast(Any, SimpleNamespace(name=str(number))), listed),
            settled(seen.items(), EU, *window),
        )
        for number, (listed, seen) in enumerate(there)
    ]
    return recalled(tags, settled(source.items(), None, *window), targets)


def stands(records: Mapping[str, TagRecord], source: Where | None) -> str:
    """Oracle: the digest a tag surely stands for; empty where that is not sure or not fresh."""
    live = {digest for digest in records if not records[digest].gone}
    if len(live) != 1:
        return ""
    (digest,) = live
    record = records[digest]
    age = NOW - record.last_seen
    fresh = timedelta() <= age < RECHECK
    theirs = (record.source_registry, record.source_repository)
    brought = source is None or (record.ours and theirs == source)
    return digest if fresh and brought else ""


@given(source=sides(), there=st.lists(sides(), min_size=1, max_size=3))
def test_a_tag_is_taken_when_all_sides_list_it_and_were_lately_seen_with_one_and_the_same_digest(
    source: tuple[frozenset[str], Seen], there: list[tuple[frozenset[str], Seen]]
) -> None:
    listed, known = source
    found = taken(sorted(listed), known, there)

    event(f"{len(found)} taken")
    for tag in TAGS:
        digests = {stands(known.get(tag, {}), None)}
        digests |= {stands(seen.get(tag, {}), EU) for _, seen in there}
        is_listed = all(tag in each for each in (listed, *(each for each, _ in there)))
        assert (tag in found) == (is_listed and len(digests) == 1 and digests != {""})
        if tag in found:
            assert {found[tag]} == digests


def test_a_run_without_a_state_knows_nothing() -> None:
    assert NoMemory().confirmed(EU, None, NOW - RECHECK, NOW) == {}


def test_a_tag_that_was_listed_and_never_looked_at_is_not_known() -> None:
    listed = TagRecord("a", UNREAD, NOW, NOW)
    assert settled([("a", {UNREAD: listed})], None, NOW - RECHECK, NOW) == {}
