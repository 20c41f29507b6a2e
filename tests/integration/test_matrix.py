"""Everything registries hold, from every kind to every kind, compared by clients that are not ours."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import content
from tests.client import OCI_MANIFEST, Client
from tests.content import Content
from tests.ends import End, Hosted, OnDisk
from tests.fake_registry import FakeRegistry
from tests.operator import between
from tests.registries import KINDS, Factory
from tests.zoo import Zoo, cache, zoo

RULE = """
[[replicate]]
name = "zoo"
source = "eu"
target = "us"
repos = ["zoo"]
rename = "from/{kind}/{{repo}}"
"""
LAYOUT = "layout"
FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
ENDS = sorted([*KINDS, LAYOUT])
Ends = Callable[[str], End]


@pytest.fixture(scope="session")
def animals() -> Zoo:
    return zoo()


@pytest.fixture(scope="session")
def source(
    shared_registries: Factory, tmp_path_factory: pytest.TempPathFactory, animals: Zoo
) -> Iterator[Ends]:
    """The source of a kind, filled once."""
    with ExitStack() as clients:

        @functools.cache
        def filled(kind: str) -> End:
            end: End = OnDisk(tmp_path_factory.mktemp("zoo"))
            if kind != LAYOUT:
                registry = shared_registries(kind, name="zoo")
                end = Hosted(registry, clients.enter_context(Client(registry)))
            end.fill("zoo", animals)
            return end

        yield filled


@pytest.fixture
def target(make_registry: Factory, tmp_path: Path) -> Iterator[Ends]:
    with ExitStack() as clients:

        def empty(kind: str) -> End:
            if kind == LAYOUT:
                return OnDisk(tmp_path / "layout")
            registry = make_registry(kind, name="zoo-target")
            return Hosted(registry, clients.enter_context(Client(registry)))

        yield empty


@pytest.mark.parametrize("to", ENDS)
@pytest.mark.parametrize("kind", ENDS)
def test_every_tag_child_and_referrer_arrives_byte_for_byte(
    tmp_path: Path, source: Ends, target: Ends, animals: Zoo, kind: str, to: str
) -> None:
    us, eu = target(to), source(kind)
    operator = between(tmp_path, eu, us, RULE.format(kind=kind))

    report = operator.sync()

    assert [event.reason for event in (*report.errors, *report.skipped)] == []
    assert report.outcome == "ok"
    compare(animals, eu, us, f"from/{kind}/zoo")
    if kind == LAYOUT:  # once for each target is enough: a process for each tag
        for tag, each in animals.tags.items():
            assert us.skopeo(f"from/{kind}/zoo", tag) in (each.data, None), tag
    again = operator.sync()
    assert (again.outcome, again.total("done")) == ("ok", 0)
    assert operator.verify().report.outcome == "ok"


def compare(animals: Zoo, eu: End, us: End, there: str) -> None:
    everything = animals.everything()
    fallback = {each.replace(":", "-") for each in everything}
    assert us.tags(there) - fallback == set(animals.tags)
    for tag, each in animals.tags.items():
        assert us.manifest(there, tag) == eu.manifest("zoo", tag) == each.data, tag
    for digest, each in everything.items():
        assert us.manifest(there, digest) == each.data
        assert us.referrers(there, digest) == eu.referrers("zoo", digest)
        for blob in each.blobs:
            assert us.blob(there, blob.digest) == blob.data


ONE = RULE.replace('rename = "from/{kind}/{{repo}}"', "mutable = []")


@pytest.mark.parametrize(("to", "outcome"), [("docker", "ok"), ("distribution", "partial")])
def test_an_index_that_lists_blobs_is_copied_where_the_target_takes_it(
    tmp_path: Path, make_registry: Factory, registry: Factory, to: str, outcome: str
) -> None:
    """Buildkit's cache. Distribution 3 refuses it, as it knows no such child: that tag alone."""
    eu, us = registry(), registry(to)
    whole = cache("cache")
    content.push(eu, "zoo", "cache", whole)
    content.push(eu, "zoo", "v1", content.manifest())
    operator = between(tmp_path, eu, us, ONE)

    report = operator.sync()

    assert report.outcome == outcome
    assert content.tags(us, "zoo") == (["cache", "v1"] if outcome == "ok" else ["v1"])
    assert ["MANIFEST_BLOB_UNKNOWN"] * report.total("failed") == [e.code for e in report.errors]
    if outcome == "ok":
        assert content.skopeo_raw(us, "zoo", "cache") == whole.data
        us.blob_file(whole.blobs[0].digest).unlink()
        assert [e.code for e in operator.verify().report.errors] == ["BLOB_MISSING"]
        assert operator.verify(repair=True).report.outcome == "ok"


@pytest.mark.parametrize("foreign", [False, True])
def test_layers_that_may_not_be_distributed_are_copied_only_where_the_rule_says_so(
    tmp_path: Path, registry: Factory, *, foreign: bool
) -> None:
    allow = {"validation": {"manifests": {"urls": {"allow": ["^https://"]}}}}
    eu, us = registry(extra=allow), registry(extra=allow)
    layer = content.blob("windows", 70, FOREIGN)
    whole = content.manifest("w", layers=(content.blob("plain"), layer))
    body = whole.body
    body["layers"][1]["urls"] = ["https://elsewhere.example/layer"]
    content.push(eu, "zoo", "windows", replace(whole, data=json.dumps(body).encode()))
    operator = between(tmp_path, eu, us, f"{ONE}foreign = {str(foreign).lower()}\n")

    report = operator.sync()

    assert report.outcome == "ok", [event.reason for event in report.errors]
    assert content.fetch(us, "zoo", "windows") == content.fetch(eu, "zoo", "windows")
    assert (us.probe(f"/v2/zoo/blobs/{layer.digest}") == 200) is foreign
    assert operator.verify().report.outcome == "ok"


def test_a_target_that_takes_no_foreign_layers_fails_that_tag_alone(
    tmp_path: Path, registry: Factory
) -> None:
    allow = {"validation": {"manifests": {"urls": {"allow": ["^https://"]}}}}
    eu, us = registry(extra=allow), registry()
    whole = content.manifest("w", layers=(content.blob("windows", 70, FOREIGN),))
    body = whole.body
    body["layers"][0]["urls"] = ["https://elsewhere.example/layer"]
    content.push(eu, "zoo", "windows", replace(whole, data=json.dumps(body).encode()))
    content.push(eu, "zoo", "v1", content.manifest())

    report = between(tmp_path, eu, us, ONE).sync()

    assert (report.outcome, report.total("failed")) == ("partial", 1)
    assert content.tags(us, "zoo") == ["v1"]


@pytest.mark.parametrize(("unsupported", "outcome"), [("skip", "ok"), ("fail", "partial")])
def test_schema_1_is_said_once_and_fails_only_where_the_rule_says_so(
    tmp_path: Path, registry: Factory, unsupported: str, outcome: str
) -> None:
    """As a tag, and as a child of an index; no registry of today takes it, so a small one serves it."""
    old = Content(b'{"schemaVersion": 1}', "application/vnd.docker.distribution.manifest.v1+json")
    us = registry()
    with FakeRegistry() as eu:
        for tag, each in {
            "old": old,
            "mixed": content.index(old),
            "v1": content.manifest(),
        }.items():
            content.push(eu.url, "zoo", tag, each)
        operator = between(tmp_path, eu, us, f'{ONE}unsupported = "{unsupported}"\n')

        reports = [operator.sync(), operator.sync()]

    ended = "skipped" if unsupported == "skip" else "failed"
    for report in reports:
        assert (report.outcome, report.total(ended)) == (outcome, 2)
        told = report.skipped if unsupported == "skip" else report.errors
        assert {event.tag: event.code for event in told} == dict.fromkeys(
            ("old", "mixed"), "UNSUPPORTED_CONTENT"
        )
    assert content.tags(us, "zoo") == ["v1"]


def test_sha512_keeps_its_digests_where_the_target_can_hold_it(
    tmp_path: Path, registry: Factory
) -> None:
    eu, us = OnDisk(tmp_path / "eu"), OnDisk(tmp_path / "us")
    config, layer = b'{"architecture": "amd64", "os": "linux"}', b"layer"
    data = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": _sha512(eu, config, content.OCI_CONFIG),
            "layers": [_sha512(eu, layer, content.OCI_LAYER)],
        }
    ).encode()
    row = _sha512(eu, data, OCI_MANIFEST)
    eu.write_index([{**row, "annotations": {"org.opencontainers.image.ref.name": "zoo:v1"}}])
    operator = between(tmp_path, eu, us, ONE)

    assert operator.sync().outcome == "ok"
    assert us.digests("zoo") == {"v1": row["digest"]}
    assert us.manifest("zoo", "v1") == data
    assert us.blob("zoo", row["digest"]) == data
    assert operator.verify().report.outcome == "ok"

    other = tmp_path / "other"
    other.mkdir()
    hosted = between(other, eu, registry(), ONE)
    for _ in range(2):  # said each time, and nothing left behind to be a conflict later
        report = hosted.sync()
        assert (report.outcome, report.total("skipped")) == ("ok", 1)
        assert "DIGEST_INVALID" in report.skipped[0].reason
    assert hosted.registries["us"].probe("/v2/zoo/manifests/v1") == 404


def _sha512(end: OnDisk, data: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": end.write(data, "sha512"), "size": len(data)}


@pytest.mark.parametrize(("times", "outcome"), [(1, "ok"), (99, "partial")])
def test_a_right_digest_that_a_registry_calls_wrong_is_put_once_more(
    tmp_path: Path, registry: Factory, times: int, outcome: str
) -> None:
    """Distribution 2.8 says so of an index one of whose children is being put at that moment."""
    eu = registry()
    content.push(eu, "zoo", "nested", content.index(content.platforms()))
    content.push(eu, "zoo", "v1", content.manifest())
    with FakeRegistry() as us:
        us.on("PUT", ".*/manifests/nested", lambda asked: asked.fail(400, "DIGEST_INVALID"), times)

        report = between(tmp_path, eu, us, ONE).sync()

    assert report.outcome == outcome
    assert [event.code for event in report.errors] == ["DIGEST_INVALID"] * (outcome == "partial")
    assert report.retries == (1 if outcome == "ok" else 3)
