"""Signatures, SBOMs and what else refers to content: brought, merged, noticed at what price."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import content
from tests.client import OCI_INDEX, Client
from tests.content import Content
from tests.fake_registry import Asked, FakeRegistry
from tests.operator import between
from tests.registries import Factory
from tests.zoo import Zoo, attach, referrers, typed, zoo

RULE = """
[[replicate]]
name = "mirror"
source = "eu"
target = "us"
repos = ["prod/**"]
mutable = []
"""
NARROW = RULE + 'tags = ["v*"]\n'
REPOSITORY = "prod/app"
PAIRS = pytest.mark.parametrize(("eu_has_api", "us_has_api"), [(0, 0), (0, 1), (1, 0), (1, 1)])


@pytest.fixture
def api() -> Iterator[FakeRegistry]:
    """A registry with the referrers API, which neither line of distribution has."""
    with FakeRegistry() as registry:
        registry.notes_subjects = True
        yield registry


@pytest.fixture
def other_api() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        registry.notes_subjects = True
        yield registry


def fallback(subject: Content, suffix: str = "") -> str:
    return subject.digest.replace(":", "-") + suffix


def put_listing(url: str, subject: Content, *found: Content) -> None:
    """Puts an index of referrers under the fallback tag, whatever stood there."""
    entries = [each.descriptor() for each in found]
    body = json.dumps(content.index().body | {"manifests": entries}).encode()
    with Client(url) as client:
        client.push_manifest(REPOSITORY, fallback(subject), OCI_INDEX, body)


@PAIRS
def test_referrers_of_referrers_and_of_children_arrive_with_or_without_the_api(
    tmp_path: Path,
    registry: Factory,
    api: FakeRegistry,
    other_api: FakeRegistry,
    eu_has_api: int,
    us_has_api: int,
) -> None:
    eu, us = api if eu_has_api else registry(), other_api if us_has_api else registry()
    everything = zoo("referrers")
    signed = {tag: everything.tags[tag] for tag in ("plain", "multi", "signed")}
    animals = Zoo(signed, everything.referrers)
    animals.push(eu.url, REPOSITORY)
    operator = between(tmp_path, eu, us, RULE)

    report = operator.sync()

    assert report.outcome == "ok", [event.reason for event in report.errors]
    for digest in animals.everything():
        assert referrers(us.url, REPOSITORY, digest) == referrers(eu.url, REPOSITORY, digest)
    again = operator.sync()
    assert (again.outcome, again.total("done")) == ("ok", 0)
    assert not again.requests["us"].keys() & {"PUT", "POST"}
    assert operator.verify().report.outcome == "ok"


def test_an_entry_made_at_the_target_says_what_the_referrer_is(
    tmp_path: Path, registry: Factory, api: FakeRegistry
) -> None:
    us, subject = registry(), content.manifest()
    plain = content.manifest("by-config", subject=subject.descriptor())
    sbom = content.artifact(subject, artifact_type="a/sbom", annotations={"k": "☂"})
    content.push(api.url, REPOSITORY, "v1", subject)
    for each in (plain, sbom):
        content.push(api.url, REPOSITORY, None, each)

    assert between(tmp_path, api, us, RULE).sync().outcome == "ok"

    listing = json.loads(content.skopeo_raw(us, REPOSITORY, fallback(subject)))
    entries = {entry["digest"]: entry for entry in listing["manifests"]}
    assert entries[sbom.digest]["artifactType"] == "a/sbom"
    assert entries[sbom.digest]["annotations"] == {"k": "☂"}
    assert entries[plain.digest]["artifactType"] == content.OCI_CONFIG


def test_a_listing_that_was_copied_to_a_target_with_the_api_is_kept_in_step(
    tmp_path: Path, registry: Factory, api: FakeRegistry
) -> None:
    eu, subject = registry(), content.manifest("signed")
    operator = between(tmp_path, eu, api, RULE)
    content.push(eu, REPOSITORY, "v1", subject)
    for seed in ("first", "second"):
        attach(eu, REPOSITORY, content.artifact(subject, seed=seed))
        assert operator.sync().outcome == "ok"

    again = operator.sync()

    assert (again.outcome, again.total("done")) == ("ok", 0)
    assert len(referrers(api.url, REPOSITORY, subject.digest)) == 2
    listing = json.loads(content.fetch(api.url, REPOSITORY, fallback(subject))[0])
    assert len(listing["manifests"]) == 2


@pytest.mark.parametrize("eu_has_api", [0, 1])
def test_the_targets_own_referrers_survive_beside_the_sources(
    tmp_path: Path, registry: Factory, api: FakeRegistry, eu_has_api: int
) -> None:
    eu, us = api if eu_has_api else registry(), registry()
    subject = content.manifest("signed")
    ours, later, theirs = (content.artifact(subject, seed=name) for name in ("o", "l", "t"))
    operator = between(tmp_path, eu, us, RULE)
    content.push(eu.url, REPOSITORY, "v1", subject)
    content.push(us, REPOSITORY, "v1", subject)
    attach(us, REPOSITORY, theirs)

    for known in ([ours], [ours, later]):
        attach(eu.url, REPOSITORY, known[-1])
        assert operator.sync().outcome == "ok"
        wanted = {theirs.digest, *(each.digest for each in known)}
        assert referrers(us, REPOSITORY, subject.digest) == wanted
        assert operator.verify().report.outcome == "ok"

    again = operator.sync()
    assert (again.outcome, again.total("done"), again.requests["us"]["PUT"]) == ("ok", 0, 0)


def test_a_source_that_does_not_say_what_refers_to_its_tags_fails_once(
    tmp_path: Path, registry: Factory, api: FakeRegistry
) -> None:
    us, tags = registry(), [f"v{number}" for number in range(5)]
    operator = between(tmp_path, api, us, RULE)
    for tag in tags:
        content.push(api.url, REPOSITORY, tag, content.manifest(tag))
    assert operator.sync().outcome == "ok"
    api.on("GET", ".*/referrers/.*", lambda asked: asked.fail(403, "DENIED"))
    api.asked.clear()

    report = operator.sync()

    assert report.outcome == "failed"
    assert [each.code for each in report.errors] == ["DENIED"]
    assert sum("/referrers/" in url for _, url in api.asked) == 1


def test_a_listing_that_is_none_is_left_alone_and_said(tmp_path: Path, registry: Factory) -> None:
    eu, us = registry(), registry()
    subject, there = content.manifest("signed"), content.manifest("no index")
    content.push(eu, REPOSITORY, "v1", subject)
    attach(eu, REPOSITORY, content.artifact(subject))
    content.push(us, REPOSITORY, fallback(subject), there)

    report = between(tmp_path, eu, us, RULE).sync()

    assert report.outcome == "partial"
    assert [event.tag for event in report.errors] == [fallback(subject)]
    assert "no index" in report.errors[0].reason
    assert content.fetch(us, REPOSITORY, fallback(subject))[0] == there.data
    assert "v1" in content.tags(us, REPOSITORY)


def test_a_tag_that_only_looks_like_a_listing_is_compared_like_any_other(
    tmp_path: Path, registry: Factory
) -> None:
    eu, us = registry(), registry()
    tag = f"sha256-{'a' * 64}"
    content.push(eu, REPOSITORY, tag, content.manifest("one"))
    content.push(us, REPOSITORY, tag, content.manifest("another"))

    report = between(tmp_path, eu, us, RULE).sync()

    assert (report.outcome, report.total("conflict")) == ("partial", 1)


def test_without_the_api_an_unchanged_repository_with_referrers_costs_no_more_than_its_tags(
    tmp_path: Path, registry: Factory
) -> None:
    eu, us = registry(), registry()
    subjects = [content.manifest(f"v{n}") for n in range(5)]
    for n, subject in enumerate(subjects):
        content.push(eu, REPOSITORY, f"v{n}", subject)
    attach(eu, REPOSITORY, content.artifact(subjects[0]))
    operator = between(tmp_path, eu, us, RULE)
    operator.sync()

    unchanged = operator.sync()
    attach(eu, REPOSITORY, content.artifact(subjects[1], seed="new"))
    attach(eu, REPOSITORY, content.artifact(subjects[0], seed="second"))
    gained = operator.sync()

    # The catalog, the tags, whether there is an API; five tags and a listing.
    assert unchanged.requests["eu"] == {"GET": 3, "HEAD": 6}
    assert unchanged.requests["us"] == {"GET": 1, "HEAD": 6}
    assert (gained.outcome, gained.total("done")) == ("ok", 2)
    for subject in subjects[:2]:
        found = referrers(eu, REPOSITORY, subject.digest)
        assert found
        assert referrers(us, REPOSITORY, subject.digest) == found


@pytest.mark.parametrize("us_has_api", [0, 1])
def test_with_the_api_an_unchanged_repository_costs_one_get_a_tag_more(
    tmp_path: Path,
    registry: Factory,
    api: FakeRegistry,
    other_api: FakeRegistry,
    us_has_api: int,
) -> None:
    """At the source; at the target only for what has referrers: a GET, or HEAD and GET of a tag."""
    us = other_api if us_has_api else registry()
    subjects = [content.manifest(f"v{n}") for n in range(5)]
    for n, subject in enumerate(subjects):
        content.push(api.url, REPOSITORY, f"v{n}", subject)
    content.push(api.url, REPOSITORY, None, content.artifact(subjects[0]))
    operator = between(tmp_path, api, us, RULE)
    operator.sync()

    unchanged = operator.sync()
    new = content.artifact(subjects[1], seed="new")
    content.push(api.url, REPOSITORY, None, new)
    gained = operator.sync()

    assert unchanged.requests["eu"] == {"GET": 3 + 5, "HEAD": 5}
    # Without an API: the question whether there is one, the listing's HEAD and its GET.
    there = {"GET": 1 + 1, "HEAD": 5} if us_has_api else {"GET": 1 + 1 + 1, "HEAD": 5 + 1}
    assert unchanged.requests["us"] == there
    assert (gained.outcome, gained.total("done")) == ("ok", 1)
    assert {e.action for e in operator.steps("done") if e.tag == "v1"} == {"copy", "attach"}
    assert referrers(us.url, REPOSITORY, subjects[1].digest) == {new.digest}


def test_what_is_named_after_matched_content_follows_it_and_nothing_else_does(
    tmp_path: Path, registry: Factory
) -> None:
    eu, us = registry(), registry()
    top, other = content.platforms("top"), content.manifest("unmatched")
    signature = content.artifact(top.children[0], seed="of a child")
    content.push(eu, REPOSITORY, "v1", top)
    content.push(eu, REPOSITORY, "dev", other)
    for each in (signature, content.artifact(signature, seed="countersigned")):
        attach(eu, REPOSITORY, each)
    attach(eu, REPOSITORY, content.artifact(other))
    for subject in (top, top.children[1], other):
        for suffix in (".sig", ".att", ".sbom"):
            each = typed(f"{subject.digest}{suffix}", content.OCI_CONFIG, "x/y")
            content.push(eu, REPOSITORY, fallback(subject, suffix), each)
    rule = NARROW + 'exclude_tags = ["*.sbom"]\n'
    operator = between(tmp_path, eu, us, rule)

    assert operator.sync().outcome == "ok"

    assert set(content.tags(us, REPOSITORY)) == {
        "v1",
        *(fallback(of, end) for of in (top, top.children[1]) for end in (".sig", ".att")),
        fallback(top.children[0]),
        fallback(signature),
    }
    assert operator.sync().total("done") == 0
    assert operator.verify().report.outcome == "ok"


@pytest.mark.parametrize("eu_has_api", [0, 1])
def test_a_rule_that_wants_no_referrers_gets_none(
    tmp_path: Path, registry: Factory, api: FakeRegistry, eu_has_api: int
) -> None:
    eu, us = api if eu_has_api else registry(), registry()
    subject = content.manifest()
    content.push(eu.url, REPOSITORY, "v1", subject)
    attach(eu.url, REPOSITORY, content.artifact(subject))
    operator = between(tmp_path, eu, us, NARROW + "referrers = false\n")

    assert operator.sync().outcome == "ok"

    assert content.tags(us, REPOSITORY) == ["v1"]
    assert referrers(us, REPOSITORY, subject.digest) == set()
    assert operator.verify().report.outcome == "ok"


def test_an_index_that_refers_to_what_it_holds_is_copied_with_it(
    tmp_path: Path, registry: Factory, api: FakeRegistry
) -> None:
    """Each waits for the other: the subject for what refers to it, that for what it names."""
    us, subject = registry(), content.manifest("s")
    circle = content.index(subject, subject=subject.descriptor())
    content.push(api.url, REPOSITORY, "v1", subject)
    content.push(api.url, REPOSITORY, None, circle)
    operator = between(tmp_path, api, us, RULE)

    report = operator.sync()

    assert (report.outcome, report.total("done")) == ("ok", 1)
    assert content.fetch(us, REPOSITORY, circle.digest)[0] == circle.data
    assert referrers(us, REPOSITORY, subject.digest) == {circle.digest}


def test_a_registry_that_says_content_refers_to_itself_ends_with_an_answer(
    tmp_path: Path, registry: Factory, api: FakeRegistry
) -> None:
    us, child = registry(), content.manifest("child")
    top = content.index(child)

    def all_of_it(asked: Asked) -> None:
        if "0" * 64 not in asked.path:
            asked.answer(200, content.index(top, child).data, {"Content-Type": OCI_INDEX})

    content.push(api.url, REPOSITORY, "v1", top)
    content.push(api.url, REPOSITORY, "v2", child)
    api.on("GET", f"/v2/{REPOSITORY}/referrers/.*", all_of_it)

    report = between(tmp_path, api, us, RULE).sync()

    ended = {name: report.total(name) for name in ("done", "failed")}
    assert sum(ended.values()) == 2, ended


def test_an_endless_chain_of_referrers_is_cut_off(
    tmp_path: Path, registry: Factory, api: FakeRegistry
) -> None:
    us = registry()
    links: list[Any] = [content.manifest("start")]
    for n in range(12):
        links.append(content.artifact(links[-1], seed=str(n), layers=0))
    content.push(api.url, REPOSITORY, "v1", links[0])
    for each in links[1:]:
        content.push(api.url, REPOSITORY, None, each)

    report = between(tmp_path, api, us, RULE).sync()

    assert report.outcome == "failed"
    assert "more than 8 deep" in report.errors[0].reason
    assert Counter(api.methods())["GET"] < 40
