"""Repositories and policies that are as awkward as real ones, and oracles written without the product.

Few names, digests and moments are drawn from, so that digests are shared, times tie, indexes nest,
subjects carry human tags and `sha256-*` tags name digests that are there.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from syncer import patterns, retention
from syncer.retention import Guard, Keep, Node, Pin, RetentionPolicy, Rule, Snapshot, TagFact

NOW = datetime(2026, 5, 6, 12, tzinfo=UTC)
DIGESTS = [f"sha256:{number:064x}" for number in range(7)]
NAMES = [
    "latest",
    "stable",
    *(f"v1.{minor}.{patch}" for minor in range(2) for patch in (0, 2, 10)),
    "v1.2.0-rc.1",
    "pr-1-a",
    "pr-1-b",
    "pr-2-a",
]
FOLLOWERS = [
    f"sha256-{digest[7:]}{suffix}" for digest in DIGESTS for suffix in ("", ".sig", ".att")
]
LIES = [datetime(1970, 1, 1, tzinfo=UTC), datetime(1980, 1, 1, 0, 0, 1, tzinfo=UTC)]
PAST = [
    NOW - timedelta(hours=hours) for hours in (0, 23, 24, 25, 72, 170, 700, 800, 900, 2000, 4000)
]
FUTURE = [NOW + timedelta(minutes=1), NOW + timedelta(days=40)]
ZONES = [ZoneInfo(name) for name in ("UTC", "Europe/Berlin", "Asia/Kathmandu", "Pacific/Apia")]
BOTH = frozenset({"dr", "eu"})
SPANS = [timedelta(hours=24), timedelta(days=3), timedelta(days=10)]

# What the patterns below match, said without them.
CLAIMS: dict[str, Callable[[str], re.Match[str] | None]] = {
    "*": re.compile(r".*").fullmatch,
    "v*": re.compile(r"v.*").fullmatch,
    "latest": re.compile(r"latest").fullmatch,
    r"re:(?P<line>v\d+\.\d+)\.\d+": re.compile(r"(?P<line>v\d+\.\d+)\.\d+").fullmatch,
    r"re:pr-(?P<pr>\d+)-.*": re.compile(r"pr-(?P<pr>\d+)-.*").fullmatch,
    "semver:>=1.0 <1.1": re.compile(r"v1\.0\.\d+").fullmatch,
}

MOMENTS = [*PAST * 3, *[None] * 12, *LIES, *FUTURE]
moments = st.sampled_from(MOMENTS)
# Drawn beforehand, since one choice among many is quicker than many choices: when a tag was first
# seen, mostly known, and when it was pushed, pulled and ordered at its source.
_random = Random(20260506)
EVIDENCE = [
    (_random.choice([*PAST * 3, *[None] * 4, *LIES, *FUTURE]), *_random.choices(MOMENTS, k=3))
    for _ in range(300)
]
MIRRORED = [
    {
        digest: _random.choice([BOTH, BOTH, BOTH, frozenset({"dr"}), frozenset()])
        for digest in DIGESTS
    }
    for _ in range(20)
]


# Mostly nothing or one child, so that some of what is there is held by nobody.
FAMILIES: list[list[tuple[str, ...]]] = [
    [
        *[()] * 8,
        *itertools.combinations(DIGESTS[:number], 1),
        *itertools.combinations(DIGESTS[: min(number, 3)], 2),
    ]
    for number in range(len(DIGESTS))
]
# Every digest with its children among earlier ones (no digest holds itself) and its subject.
GRAPHS = [
    {
        digest: Node(
            _random.choice(FAMILIES[number]),
            _random.choice([*[""] * 14, *DIGESTS]),
            untagged_since=_random.choice(MOMENTS),
        )
        for number, digest in enumerate(DIGESTS)
    }
    for _ in range(1000)
]


@st.composite
def snapshots(draw: st.DrawFn, *, walked: bool | None = None) -> Snapshot:
    """A complete repository; `walked` makes sure that all its manifests were read."""
    human = draw(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(DIGESTS[:5]), min_size=5))
    names = st.sampled_from([*sorted(names_of(human.values())), *FOLLOWERS[::4]])
    followers = draw(st.dictionaries(names, st.sampled_from(DIGESTS[5:]), max_size=3))
    manifests = draw(st.sampled_from(GRAPHS))
    read = "all" if walked else draw(st.sampled_from(["all", "all", "all", "some", "none"]))
    if read != "all":
        some = draw(st.sets(st.sampled_from(DIGESTS))) if read == "some" else ()
        manifests = {digest: manifests[digest] for digest in some}
    return Snapshot(
        "prod/app",
        tuple(
            TagFact(tag, digest, *draw(st.sampled_from(EVIDENCE)))
            for tag, digest in (human | followers).items()
        ),
        complete=True,
        manifests=manifests,
        mirrored=draw(st.sampled_from(MIRRORED)),
        pulls_known=draw(st.sampled_from([True, True, False])),
        roots=draw(st.frozensets(st.sampled_from(DIGESTS), max_size=1)),
    )


KEEPS = [name for name in vars(Keep(last=1)) if name != "oldest"]


@st.composite
def values(draw: st.DrawFn, name: str) -> int | timedelta:
    """A value for one part of a keep."""
    if name.endswith("within") or (name != "last" and draw(st.booleans())):
        return draw(st.sampled_from(SPANS))
    return draw(st.sampled_from([1, 1, 2, 3]))


def some_keeps(count: int) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(KEEPS), min_size=count, max_size=count, unique=True)


@st.composite
def keeps(draw: st.DrawFn) -> Keep:
    names = draw(st.sampled_from([1, 1, 2]).flatmap(some_keeps))
    given: dict[str, Any] = {name: draw(values(name)) for name in names}
    counted = any(isinstance(given[name], int) for name in names if name.endswith("ly"))
    return Keep(**given, oldest=counted and draw(st.booleans()))


@st.composite
def rules(draw: st.DrawFn, name: str, text: str) -> Rule:
    """A rule that claims by `text`."""
    pattern = patterns.parse(text)
    group = tuple(sorted(pattern.group_names & {"line", "pr"})) if draw(st.booleans()) else ()
    return Rule(name, pattern, draw(keeps()), group, draw(st.sampled_from(["age", "semver"])))


pins = st.builds(
    Pin,
    repository=st.sampled_from(["", "prod/app", "prod/other"]),
    tag=st.sampled_from(["", *NAMES]),
    digest=st.sampled_from(["", *DIGESTS]),
    reason=st.sampled_from(["", "runs in eu"]),
    file=st.just("/etc/syncer/pins.d/eu.txt"),
    line=st.integers(1, 99),
)


@st.composite
def policies(draw: st.DrawFn, *, bare: bool = False) -> RetentionPolicy:
    """A policy; a `bare` one has nothing but rules: no protect, pins or outer guards."""
    claims = draw(st.lists(st.sampled_from(list(CLAIMS)), max_size=2))
    texts = [*claims, *draw(st.sampled_from([("*",), ("*",), ("v*",)]))]
    drawn = [draw(rules(f"rule{number}", text)) for number, text in enumerate(texts)]
    zone = draw(st.sampled_from(ZONES))
    if bare:
        guard = Guard(min_age=timedelta(0))
        return RetentionPolicy("policy", tuple(drawn), guard=guard, timezone=zone)
    return RetentionPolicy(
        "policy",
        tuple(drawn),
        protect=tuple(map(patterns.parse, draw(st.lists(st.sampled_from(NAMES), max_size=1)))),
        pins=tuple(draw(st.one_of(st.just([]), st.just([]), st.lists(pins, max_size=2)))),
        untagged_grace=draw(st.sampled_from([None, *SPANS])),
        guard=Guard(
            min_age=draw(st.sampled_from([timedelta(0), timedelta(0), timedelta(hours=24)]))
        ),
        timezone=zone,
        require_mirrored=draw(st.sampled_from([(), (), (), ("dr",), ("dr", "eu")])),
    )


def claim(policy: RetentionPolicy, tag: str) -> tuple[Rule, str] | None:
    """The rule that claims `tag` and the group it falls into, found without the product."""
    if tag in FOLLOWERS:
        return None
    for rule in policy.rules:
        if match := CLAIMS[rule.tags.text](tag):
            return rule, ",".join(match[name] for name in rule.group)
    return None


def arrival(*facts: TagFact) -> datetime | None:
    """The newest evidence of when a digest got its tags; None when there is none for one of them."""
    newest = []
    for fact in facts:
        told = [each for each in (fact.first_seen, fact.pushed) if each and each not in LIES]
        if not told:
            return None
        newest.append(max(told))
    return max(newest)


def order(*facts: TagFact) -> datetime | None:
    """What orders a digest among others; None when it is unknown for one of its tags."""
    told = []
    for fact in facts:
        evidence = [
            each
            for each in (fact.source_order, fact.pushed, fact.first_seen)
            if each and each not in LIES
        ]
        if not evidence or evidence[0] > NOW:
            return None
        told.append(evidence[0])
    return max(told)


def reach(manifests: Mapping[str, Node], roots: Iterable[str]) -> set[str]:
    """What must stay with `roots`, by asking every manifest again until nothing is added."""
    reached = set(roots)
    while True:
        children = {
            child for each in reached & set(manifests) for child in manifests[each].children
        }
        referrers = {digest for digest, node in manifests.items() if node.subject in reached}
        if children | referrers <= reached:
            return reached
        reached |= children | referrers


def names_of(digests: Iterable[str]) -> set[str]:
    """The tags that are named after one of `digests`."""
    return {f"sha256-{digest[7:]}{suffix}" for digest in digests for suffix in ("", ".sig", ".att")}


def without(snapshot: Snapshot, tags: Iterable[str]) -> Snapshot:
    """The snapshot after `tags` were deleted."""
    gone = set(tags)
    left = tuple(fact for fact in snapshot.tags if fact.tag not in gone)
    return Snapshot(**{**vars(snapshot), "tags": left})


def dropped(policy: RetentionPolicy, snapshot: Snapshot, now: datetime = NOW) -> set[str]:
    """What the product drops."""
    return {each.tag for each in retention.decide(policy, snapshot, now) if not each.keep}
