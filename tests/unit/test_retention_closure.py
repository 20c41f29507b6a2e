"""What holds what: indexes, referrers, tags named after digests, pins and trash, case by case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from syncer import patterns, reference, retention
from syncer.retention import Guard, Keep, Node, Pin, RetentionPolicy, Rule, Snapshot, TagFact

NOW = datetime(2026, 5, 6, 12, tzinfo=UTC)
LAST = Rule("all", patterns.parse("*"), Keep(last=1))
POLICY = RetentionPolicy("p", (LAST,), untagged_grace=timedelta(days=14))


def digest(name: str) -> str:
    return f"sha256:{ord(name):064x}"


def snapshot(tags: Mapping[str, str], nodes: Mapping[str, Node]) -> Snapshot:
    """Tags on digests by letter, the first tag the newest; nodes by letter."""
    facts = tuple(
        TagFact(tag, digest(letter), first_seen=NOW - timedelta(days=30 + n))
        for n, (tag, letter) in enumerate(tags.items())
    )
    manifests = {
        digest(letter): replace(
            node,
            children=tuple(map(digest, node.children)),
            subject=node.subject and digest(node.subject),
        )
        for letter, node in nodes.items()
    }
    return Snapshot("prod/app", facts, complete=True, manifests=manifests)


def dropped(policy: RetentionPolicy, found: Snapshot) -> list[str]:
    return [each.tag for each in retention.decide(policy, found, NOW) if not each.keep]


def freed(policy: RetentionPolicy, found: Snapshot) -> list[str]:
    """The letters of the digests that a plan sets free, in their order."""
    free = retention.unreachable(policy, found, retention.decide(policy, found, NOW))
    return [chr(int(each[7:], 16)) for each in free]


INDEXES = snapshot(
    {"v2": "x", "v1": "o", "amd64": "m"},
    {
        "x": Node(("i", "m")),
        "i": Node(("s",)),
        "o": Node(("i", "a")),
        "m": Node(),
        "s": Node(),
        "a": Node(),
    },
)


def test_a_child_shared_with_an_index_that_stays_is_not_set_free() -> None:
    """Nested and shared (dataaxiom #19, zot #2624); an index goes before its own child."""
    assert dropped(POLICY, INDEXES) == ["amd64", "v1"]
    assert freed(POLICY, INDEXES) == ["o", "a"]


def test_what_was_not_read_may_hold_anything() -> None:
    unread = {key: node for key, node in INDEXES.manifests.items() if key != digest("i")}
    assert freed(POLICY, replace(INDEXES, manifests=unread)) == []


def test_a_referrer_stays_with_its_subject_through_any_chain_and_cycle() -> None:
    found = snapshot(
        {"v2": "x", "v1": "o"},
        {
            "x": Node(("c",)),
            "c": Node(subject="x"),
            "s": Node(subject="x"),
            "t": Node(subject="s"),
            "o": Node(subject="q"),
            "q": Node(subject="o"),
        },
    )
    assert dropped(POLICY, found) == ["v1"]
    assert set(freed(POLICY, found)) == {"o", "q"}


@pytest.mark.parametrize("suffix", ["", ".sig", ".att", ".sbom"])
def test_a_tag_named_after_a_digest_goes_with_it_and_stays_with_it(suffix: str) -> None:
    signs = {name: f"{reference.fallback_tag(digest(name))}{suffix}" for name in "xmou"}
    tags = {
        "v2": "x",
        "v1": "o",
        signs["x"]: "p",
        signs["m"]: "q",
        signs["o"]: "r",
        signs["u"]: "t",
    }
    nodes = {name: Node() for name in "mopqrt"} | {"x": Node(("m",))}
    found = snapshot(tags, nodes)
    assert set(dropped(POLICY, found)) == {"v1", signs["o"]}
    reasons = {each.tag: each.reason for each in retention.decide(POLICY, found, NOW)}
    assert reasons[signs["m"]] == "what it is named after stays"
    assert reasons[signs["u"]] == "what it is named after is under no tag that was read"
    assert reasons[signs["o"]] == "what it is named after goes"


def test_a_signature_stays_while_an_index_was_not_read_that_may_hold_its_subject() -> None:
    sign = f"{reference.fallback_tag(digest('o'))}.sig"
    found = snapshot({"v2": "x", "v1": "o", sign: "p"}, {"o": Node(), "p": Node()})
    assert dropped(POLICY, found) == ["v1"]


def test_a_signature_of_a_signature_follows_too() -> None:
    first = f"{reference.fallback_tag(digest('o'))}.sig"
    second = f"{reference.fallback_tag(digest('p'))}.sig"
    found = snapshot(
        {"v2": "x", "v1": "o", first: "p", second: "q"}, {name: Node() for name in "xopq"}
    )
    assert set(dropped(POLICY, found)) == {"v1", first, second}
    assert set(dropped(replace(POLICY, protect=(patterns.parse(first),)), found)) == {"v1"}


def test_a_subject_with_a_human_tag_is_judged_as_a_tag() -> None:
    """The referrer's tag goes like any other; its digest stays with its subject."""
    found = snapshot({"v1": "x", "sbom": "s"}, {"x": Node(), "s": Node(subject="x")})
    assert dropped(POLICY, found) == ["sbom"]
    assert freed(POLICY, found) == []


def test_a_pinned_digest_keeps_every_tag_that_holds_it() -> None:
    """A cluster reports the platform's digest; the tag is on the index above it."""
    pinned = replace(POLICY, pins=(Pin(digest=digest("a"), file="pins", line=1),))
    assert dropped(pinned, INDEXES) == ["amd64"]
    elsewhere = replace(POLICY, pins=(Pin("other", digest=digest("a"), file="pins", line=1),))
    assert dropped(elsewhere, INDEXES) == ["amd64", "v1"]


def test_a_pinned_digest_without_a_tag_is_not_set_free() -> None:
    found = snapshot({"v1": "x"}, {"x": Node(), "l": Node()})
    assert freed(POLICY, found) == ["l"]
    assert freed(replace(POLICY, pins=(Pin(digest=digest("l")),)), found) == []


def test_what_undo_holds_is_not_set_free() -> None:
    assert freed(POLICY, replace(INDEXES, roots=frozenset({digest("o")}))) == []


def untagged(policy: RetentionPolicy, found: Snapshot) -> dict[str, bool]:
    """Whether each manifest without a tag stays, by letter and in their order."""
    decisions = retention.untagged(policy, found, NOW)
    return {chr(int(each.digest[7:], 16)): each.keep for each in decisions}


def test_a_manifest_goes_when_it_was_seen_without_a_tag_for_the_grace() -> None:
    old, young = NOW - timedelta(days=14), NOW - timedelta(days=13)
    found = snapshot(
        {"v1": "x"},
        {
            "x": Node(("c",)),
            "c": Node(),
            "r": Node(subject="x"),
            "p": Node(("o",), untagged_since=old),
            "o": Node(untagged_since=old),
            "y": Node(("h",), untagged_since=young),
            "h": Node(untagged_since=old),
            "n": Node(),
        },
    )
    assert untagged(POLICY, found) == {
        "p": False,
        "o": False,
        "y": True,
        "h": True,
        "n": True,
    }
    assert list(untagged(POLICY, found)).index("p") < list(untagged(POLICY, found)).index("o")
    assert untagged(replace(POLICY, untagged_grace=None), found) == {}
    guard = Guard(min_age=timedelta(days=15))
    assert all(untagged(replace(POLICY, guard=guard), found).values())
    assert not any(
        key in untagged(POLICY, replace(found, roots=frozenset({digest("p")}))) for key in "po"
    )
