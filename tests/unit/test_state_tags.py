"""What a listing changes in the memory of tags."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from syncer.state import TagRecord, tags

NOW = datetime(2026, 11, 22, tzinfo=UTC)
TAGS = st.sampled_from(["a", "b", "c"])
DIGESTS = st.sampled_from(["sha256:1", "sha256:2"])
LISTINGS = st.dictionaries(TAGS, DIGESTS)


@st.composite
def memories(draw: st.DrawFn) -> tags.Seen:
    memory: tags.Seen = {}
    for tag, digest in draw(st.sets(st.tuples(TAGS, DIGESTS))):
        age = timedelta(hours=draw(st.integers(0, 72)))
        gone = NOW - age if draw(st.booleans()) else None
        record = TagRecord(tag, digest, NOW - age, NOW - age, gone)
        memory.setdefault(tag, {})[digest] = record
    return memory


@settings(max_examples=100, derandomize=True, deadline=None)
@given(memory=memories(), listing=LISTINGS, complete=st.booleans())
def test_a_listing_writes_what_is_news_and_nothing_else(
    memory: tags.Seen, listing: dict[str, str], *, complete: bool
) -> None:
    """Oracle: every known or listed binding, one by one."""
    here, gone = set(), set()
    for tag in "abc":
        for digest in ("sha256:1", "sha256:2"):
            record = memory.get(tag, {}).get(digest)
            holds = record is not None and record.gone is None
            if listing.get(tag) == digest:
                stale = record is not None and NOW - record.last_seen >= timedelta(days=1)
                if not holds or stale:
                    here.add((tag, digest))
            elif holds and (tag in listing or complete):
                gone.add((tag, digest))
    every = listing if complete else None
    news, ended = tags._news(sorted(memory.items()), listing, every, NOW)
    assert set(news) == here
    assert set(ended) == gone


def test_a_hundred_thousand_tags_that_did_not_change_are_no_news() -> None:
    seen = NOW - timedelta(hours=23)
    listing = {f"t{number}": "sha256:1" for number in range(100_000)}
    memory: tags.Seen = {
        tag: {digest: TagRecord(tag, digest, seen, seen)} for tag, digest in listing.items()
    }
    assert tags._news(sorted(memory.items()), listing, (), NOW) == ([], [])
