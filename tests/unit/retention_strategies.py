"""Repositories and policies that are as awkward as real ones, and oracles written without the product.

Few names, digests and moments are drawn from, so that digests are shared, times tie, indexes nest,
subjects carry human tags and `sha256-*` tags name digests that are there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import settings
from hypothesis import strategies as st

from syncer import patterns
from syncer.retention import Guard, Keep, Node, Pin, RetentionPolicy, Rule, Snapshot, TagFact

quick = settings(max_examples=100, deadline=None, derandomize=True, database=None)

NOW = datetime(2026, 5, 6, 12, tzinfo=UTC)
DIGESTS = [f"sha256:{number:064x}" for number in range(9)]
NAMES = [
    "latest",
    "stable",
    *(f"v1.{minor}.{patch}" for minor in range(2) for patch in (0, 1, 2, 10)),
    "v1.2.0-rc.1",
    "pr-1-a",
    "pr-1-b",
    "pr-2-a",
]
FOLLOWERS = [
    f"sha256-{digest[7:]}{suffix}" for digest in DIGESTS for suffix in ("", ".sig", ".att")
]
LIES = [datetime(1970, 1, 1, tzinfo=UTC), datetime(1980, 1, 1, 0, 0, 1, tzinfo=UTC)]
PAST = [NOW - timedelta(hours=hours) for hours in (0, 1, 23, 24, 25, 40, 71, 72, 170, 700, 4000)]
FUTURE = [NOW + timedelta(minutes=1), NOW + timedelta(days=40)]
ZONES = [ZoneInfo(name) for name in ("UTC", "Europe/Berlin", "Asia/Kathmandu", "Pacific/Apia")]
SPANS = [timedelta(hours=24), timedelta(days=3), timedelta(days=30)]

# What the patterns below match, said without them.
CLAIMS: dict[str, Callable[[str], re.Match[str] | None]] = {
    "*": re.compile(r".*").fullmatch,
    "v*": re.compile(r"v.*").fullmatch,
    "latest": re.compile(r"latest").fullmatch,
    r"re:(?P<line>v\d+\.\d+)\.\d+": re.compile(r"(?P<line>v\d+\.\d+)\.\d+").fullmatch,
    r"re:pr-(?P<pr>\d+)-.*": re.compile(r"pr-(?P<pr>\d+)-.*").fullmatch,
    "semver:>=1.0 <1.1": re.compile(r"v1\.0\.\d+").fullmatch,
}

known = st.sampled_from(PAST)
moments = st.one_of(known, known, st.none(), st.sampled_from([*LIES, *FUTURE]))


def facts(digest: st.SearchStrategy[str]) -> st.SearchStrategy[TagFact]:
    """Evidence about a tag whose name is filled in later."""
    return st.builds(
        TagFact,
        tag=st.just(""),
        digest=digest,
        first_seen=st.one_of(known, moments),
        pushed=moments,
        pulled=moments,
        source_order=st.one_of(st.none(), moments),
        created=moments,
    )


@st.composite
def snapshots(draw: st.DrawFn, *, walked: bool | None = None) -> Snapshot:
    """A complete repository; `walked` fixes whether all its manifests were read."""
    few = draw(st.sampled_from([DIGESTS, DIGESTS[:4]]))
    named = draw(st.dictionaries(st.sampled_from(NAMES), facts(st.sampled_from(few)), max_size=12))
    named |= draw(
        st.dictionaries(st.sampled_from(FOLLOWERS), facts(st.sampled_from(DIGESTS)), max_size=4)
    )
    manifests = draw(graphs())
    walk = draw(st.sampled_from(["all", "all", "all", "some", "none"])) if walked is None else "all"
    if walk == "some":
        manifests = {digest: manifests[digest] for digest in draw(st.sets(st.sampled_from(DIGESTS)))}
    registries = st.frozensets(st.sampled_from(["dr", "eu"]))
    return Snapshot(
        "prod/app",
        tuple(
            TagFact(**{**vars(fact), "tag": name}) for name, fact in named.items()
        ),
        complete=True,
        manifests={} if walk == "none" else manifests,
        mirrored=draw(st.dictionaries(st.sampled_from(DIGESTS), registries)),
        pulls_known=draw(st.booleans()),
        roots=draw(st.frozensets(st.sampled_from(DIGESTS), max_size=1)),
    )


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, Node]:
    """Every digest with its children among earlier ones (a digest cannot hold itself) and subject."""
    nodes = {}
    for number, digest in enumerate(DIGESTS):
        earlier = st.sampled_from(DIGESTS[:number]) if number else st.nothing()
        children = draw(st.lists(earlier, max_size=2, unique=True)) if number else []
        subject = draw(st.one_of(st.just(""), st.just(""), st.sampled_from(DIGESTS)))
        nodes[digest] = Node(tuple(children), subject, untagged_since=draw(moments))
    return nodes


counts = st.one_of(st.none(), st.none(), st.integers(1, 3))
spans = st.one_of(st.none(), st.none(), st.sampled_from(SPANS))


@st.composite
def keeps(draw: st.DrawFn) -> Keep:
    given = {
        "last": draw(counts),
        "within": draw(spans),
        "pulled_within": draw(st.one_of(st.none(), spans)),
        "hourly": draw(st.one_of(st.none(), counts, spans)),
        "daily": draw(st.one_of(counts, spans)),
        "weekly": draw(st.one_of(st.none(), counts, spans)),
        "monthly": draw(counts),
        "yearly": draw(counts),
    }
    if not any(given.values()):
        given["last"] = 1
    counted = any(isinstance(given[key], int) for key in given if key.endswith("ly"))
    return Keep(**given, oldest=counted and draw(st.booleans()))


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    pattern = patterns.parse(draw(st.sampled_from(list(CLAIMS))))
    names = sorted(pattern.group_names & {"line", "pr"})
    group = tuple(names) if draw(st.booleans()) else ()
    return Rule("", pattern, draw(keeps()), group, draw(st.sampled_from(["age", "semver"])))


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
    drawn = [
        Rule(f"rule{number}", rule.tags, rule.keep, rule.group, rule.sort)
        for number, rule in enumerate(draw(st.lists(rules(), min_size=1, max_size=3)))
    ]
    zone = draw(st.sampled_from(ZONES))
    if bare:
        guard = Guard(min_age=timedelta(0))
        return RetentionPolicy("policy", tuple(drawn), guard=guard, timezone=zone)
    return RetentionPolicy(
        "policy",
        tuple(drawn),
        protect=tuple(map(patterns.parse, draw(st.lists(st.sampled_from(NAMES), max_size=2)))),
        pins=tuple(draw(st.lists(pins, max_size=2))),
        untagged_grace=draw(spans),
        guard=Guard(min_age=draw(st.sampled_from([timedelta(0), timedelta(hours=24)]))),
        timezone=zone,
        require_mirrored=draw(st.sampled_from([(), (), ("dr",), ("dr", "eu")])),
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
        children = {child for each in reached & set(manifests) for child in manifests[each].children}
        referrers = {digest for digest, node in manifests.items() if node.subject in reached}
        if children | referrers <= reached:
            return reached
        reached |= children | referrers


def names_of(digests: Iterable[str]) -> set[str]:
    """The tags that are named after one of `digests`."""
    return {
        f"sha256-{digest[7:]}{suffix}" for digest in digests for suffix in ("", ".sig", ".att")
    }


def without(snapshot: Snapshot, tags: Iterable[str]) -> Snapshot:
    """The snapshot after `tags` were deleted."""
    gone = set(tags)
    left = tuple(fact for fact in snapshot.tags if fact.tag not in gone)
    return Snapshot(**{**vars(snapshot), "tags": left})
