"""`syncer verify`: what is missing at a target is found, told by its tag, and brought back."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests import content
from tests.client import OCI_INDEX, Client
from tests.damage import REPOSITORY, RULE, fill, lose_blob, lose_manifest, requests, wrong
from tests.fake_registry import FakeRegistry
from tests.operator import Operator, between
from tests.registries import Factory, distributions
from tests.zoo import attach, referrers


@pytest.fixture
def operator(tmp_path: Path, registry: Factory) -> Operator:
    return Operator(tmp_path, {"eu": registry(), "us": registry()}, RULE)


def test_a_whole_target_is_found_whole_and_each_digest_is_asked_for_once(
    operator: Operator,
) -> None:
    multi = content.platforms("m", ("linux/amd64", "linux/arm64"))
    shared = content.blob("shared")
    plain = {f"v{n}": content.manifest(f"v{n}", layers=(shared,)) for n in range(3)}
    fill(operator, multi=multi, nested=content.index(multi, content.manifest("n")), **plain)
    us = operator.registries["us"]
    us.forget_requests()

    verified = operator.verify()

    assert verified.report.outcome == "ok"
    # The two indexes, the three children, three plain ones.
    assert verified.checked.manifests == 2 + 3 + 3
    assert verified.checked.blobs == 3 * 3 + 3 + 1
    # The catalog, the tags, whether there is a referrers API.
    assert requests(verified, "eu") == {"GET": 3, "HEAD": 5}
    # The tags; a GET for a manifest, a HEAD for a blob.
    assert requests(verified, "us") == {"GET": 1 + 8, "HEAD": 5 + 13}
    asked = Counter(request.path for request in us.requests())
    assert max(asked.values()) == 1


@distributions
def test_a_child_and_a_blob_removed_from_the_disk_are_found_and_brought_back_alone(
    tmp_path: Path, registry: Factory, kind: str
) -> None:
    operator = Operator(tmp_path, {"eu": registry(), "us": registry(kind)}, RULE)
    us = operator.registries["us"]
    multi = content.platforms("m", ("linux/amd64", "linux/arm64", "linux/s390x"))
    fill(operator, multi=multi, v1=content.manifest("v1"))
    child, layer = multi.children[1], multi.children[0].blobs[1]
    lose_manifest(us, child.digest)
    lose_blob(us, layer.digest)
    us.restart()

    found = operator.verify()

    assert (found.report.outcome, found.report.exit_code) == ("partial", 3)
    assert wrong(found) == {
        ("us/prod/app:multi", "MANIFEST_MISSING"),
        ("us/prod/app:multi", "BLOB_MISSING"),
    }
    reasons = " ".join(each.reason for each in found.report.errors)
    assert child.digest in reasons
    assert f"blob {layer.digest} of manifest {multi.children[0].digest} is missing" in reasons
    assert not operator.sync().total("done")  # to a sync all is in step

    us.forget_requests()
    repaired = operator.verify(repair=True)

    assert repaired.report.outcome == "ok"
    assert {each.action for each in operator.steps("done")[-2:]} == {"repair"}
    assert repaired.report.total("done") == 2
    assert us.methods() == {"GET": 1 + 5, "HEAD": 2 + 12, "POST": 1, "PUT": 2}
    # The child and the blob, beside the catalog, the tags and the referrers API.
    assert requests(repaired, "eu") == {"GET": 3 + 2, "HEAD": 2}
    assert content.fetch(us, REPOSITORY, child.digest)[0] == child.data
    with Client(us) as client:
        assert client.blob(REPOSITORY, layer.digest) == layer.data
    assert operator.verify().report.outcome == "ok"


def test_a_missing_nested_index_comes_back_with_all_below_it_in_order(operator: Operator) -> None:
    us = operator.registries["us"]
    inner = content.platforms("inner")
    middle = content.index(inner, content.manifest("beside"))
    fill(operator, deep=content.index(middle), other=inner)
    for each in (middle, inner, *inner.children):
        lose_manifest(us, each.digest)
    for child in inner.children:
        lose_blob(us, child.blobs[0].digest)

    # 2.8.2 refuses an index whose children are missing, so the order is proven by its answer.
    assert operator.verify(repair=True).report.outcome == "ok"

    assert operator.verify().report.outcome == "ok"
    assert content.fetch(us, REPOSITORY, middle.digest)[0] == middle.data


def test_a_tag_that_is_gone_is_brought_and_one_that_differs_is_left_to_sync(
    operator: Operator,
) -> None:
    eu, us = operator.registries["eu"], operator.registries["us"]
    fill(operator, v1=content.manifest("v1"), v2=content.manifest("v2"))
    shutil.rmtree(us.data / f"docker/registry/v2/repositories/{REPOSITORY}/_manifests/tags/v1")
    moved = content.push(eu, REPOSITORY, "v2", content.manifest("later"))

    found = operator.verify()
    repaired = operator.verify(repair=True)

    assert wrong(found) == {
        ("us/prod/app:v1", "TAG_MISSING"),
        ("us/prod/app:v2", "TAG_DIFFERS"),
    }
    assert wrong(repaired) == {("us/prod/app:v2", "TAG_DIFFERS")}
    assert repaired.report.outcome == "partial"
    assert "syncer sync mirror" in repaired.report.errors[0].reason
    assert content.fetch(us, REPOSITORY, "v1") == content.fetch(eu, REPOSITORY, "v1")
    assert content.fetch(us, REPOSITORY, "v2")[2] != moved
    operator.sync()
    assert operator.verify().report.outcome == "ok"


def test_a_tag_whose_manifest_lost_its_bytes_counts_as_missing_and_comes_back(
    operator: Operator,
) -> None:
    us = operator.registries["us"]
    one = content.manifest("v1")
    fill(operator, v1=one, v2=content.manifest("v2"))
    lose_blob(us, one.digest)

    assert wrong(operator.verify()) == {("us/prod/app:v1", "TAG_MISSING")}
    assert operator.verify(repair=True).report.outcome == "ok"
    assert content.skopeo_raw(us, REPOSITORY, "v1") == one.data


def test_a_manifest_with_other_bytes_is_found_and_not_said_to_be_repaired(
    operator: Operator,
) -> None:
    us = operator.registries["us"]
    multi = content.platforms("m")
    fill(operator, multi=multi)
    child = multi.children[0]
    lose_blob(us, child.blobs[1].digest)
    us.blob_file(child.digest).write_bytes(child.data.replace(b"100", b"101"))

    found = operator.verify(repair=True)

    assert found.report.outcome == "partial"
    assert wrong(found) == {("us/prod/app:multi", "MANIFEST_WRONG")}
    assert "must be removed from its storage" in found.report.errors[0].reason
    # What it should name was still looked at, by what the source says, and brought.
    assert found.report.blobs["copied"] == 1


def test_what_the_source_has_lost_too_fails_with_a_sentence_and_its_parent_is_not_put(
    operator: Operator,
) -> None:
    eu, us = operator.registries["eu"], operator.registries["us"]
    multi = content.platforms("m")
    fill(operator, multi=multi, v1=content.manifest("v1"))
    child = multi.children[0]
    lose_manifest(us, child.digest)
    for each in (eu, us):
        lose_blob(each, child.blobs[1].digest)

    report = operator.verify(repair=True).report

    assert report.outcome == "partial"
    assert report.total("failed") == 2
    reasons = sorted(each.reason for each in report.errors)
    assert "404" in reasons[0]
    assert f"is not put while {child.blobs[1].digest} is missing" in reasons[1]
    with Client(us) as client:
        assert not client.has(REPOSITORY, child.digest)


def test_a_referrer_dropped_from_the_targets_index_is_listed_again_beside_its_own(
    operator: Operator,
) -> None:
    eu, us = operator.registries["eu"], operator.registries["us"]
    subject = content.manifest("signed")
    signatures = [content.artifact(subject, seed=f"s{n}") for n in range(3)]
    fill(operator, v1=subject)
    for each in signatures:
        attach(eu, REPOSITORY, each)
    operator.sync()
    theirs = content.artifact(subject, seed="theirs")
    content.push(us, REPOSITORY, None, theirs)
    entries = [each.descriptor() for each in (theirs, signatures[2])]
    body = content.index().body | {"manifests": entries}
    with Client(us) as client:
        tag = subject.digest.replace(":", "-")
        client.push_manifest(REPOSITORY, tag, OCI_INDEX, json.dumps(body).encode())
    lose_manifest(us, signatures[0].digest)
    lose_blob(us, signatures[0].blobs[1].digest)

    found = operator.verify()
    repaired = operator.verify(repair=True)

    assert Counter(each.code for each in found.report.errors) == {
        "REFERRER_MISSING": 2,
        "BLOB_MISSING": 1,
    }
    assert repaired.report.outcome == "ok", [each.reason for each in repaired.report.errors]
    assert referrers(us, REPOSITORY, subject.digest) == {
        theirs.digest,
        *(each.digest for each in signatures),
    }
    assert operator.verify().report.outcome == "ok"


def test_referrers_of_every_child_are_compared_where_the_source_has_the_api(
    tmp_path: Path, registry: Factory
) -> None:
    us, multi = registry(), content.platforms("m")
    of_child = content.artifact(multi.children[1], seed="child")
    of_referrer = content.artifact(of_child, seed="countersigned")
    with FakeRegistry() as eu:
        operator = between(tmp_path, eu, us, RULE)
        content.push(eu.url, REPOSITORY, "multi", multi)
        operator.sync()
        for each in (of_child, of_referrer):
            content.push(eu.url, REPOSITORY, None, each)

        found = operator.verify()
        repaired = operator.verify(repair=True)
        again = operator.verify()

    # Their blobs: a layer each, and the empty config they share.
    assert Counter(each.code for each in found.report.errors) == {
        "REFERRER_MISSING": 2,
        "BLOB_MISSING": 3,
    }
    assert repaired.report.outcome == "ok"
    assert referrers(us, REPOSITORY, multi.children[1].digest) == {of_child.digest}
    assert referrers(us, REPOSITORY, of_child.digest) == {of_referrer.digest}
    assert again.report.outcome == "ok"
    # Beside the catalog, the tags and the API: one for each of five manifests.
    assert requests(again, "eu")["GET"] == 3 + 5


def test_a_target_with_the_api_that_forgot_a_referrer_is_given_it_once_more(
    tmp_path: Path,
) -> None:
    subject = content.manifest("signed")
    signature = content.artifact(subject, seed="s")
    with FakeRegistry() as eu, FakeRegistry() as us:
        us.notes_subjects = True
        operator = between(tmp_path, eu, us, RULE)
        content.push(eu.url, REPOSITORY, "v1", subject)
        content.push(eu.url, REPOSITORY, None, signature)
        operator.sync()
        del us.holds(REPOSITORY).manifests[signature.digest]

        found = operator.verify()
        repaired = operator.verify(repair=True)

        assert wrong(found) == {("us/prod/app:v1", "REFERRER_MISSING")}
        assert repaired.report.outcome == "ok"
        assert requests(repaired, "us")["PUT"] == 1
        assert operator.verify().report.outcome == "ok"


def test_a_referrer_that_names_its_own_subject_is_walked_once(tmp_path: Path) -> None:
    subject = content.manifest("s")
    circle = content.index(subject, subject=subject.descriptor())
    with FakeRegistry() as eu, FakeRegistry() as us:
        us.notes_subjects = True
        operator = between(tmp_path, eu, us, RULE)
        content.push(eu.url, REPOSITORY, "v1", subject)
        content.push(eu.url, REPOSITORY, "circle", circle)
        operator.sync()

        verified = operator.verify()

    assert verified.report.outcome == "ok"
    assert verified.checked.manifests == 2


def test_a_signature_of_a_child_that_no_rule_matches_is_missed_by_no_verify(
    tmp_path: Path, registry: Factory
) -> None:
    """A sync does not read an index in step, so it cannot know that the tag belongs to it."""
    operator = between(tmp_path, registry(), registry(), RULE + 'tags = ["v*"]\n')
    eu, us = operator.registries["eu"], operator.registries["us"]
    multi = content.platforms("m")
    fill(operator, v1=multi)
    tag = multi.children[0].digest.replace(":", "-") + ".sig"
    content.push(eu, REPOSITORY, tag, content.manifest("cosign"))
    content.push(eu, REPOSITORY, "sha256-" + "0" * 64 + ".sig", content.manifest("another's"))

    assert wrong(operator.verify()) == {(f"us/prod/app:{tag}", "TAG_MISSING")}
    assert operator.verify(repair=True).report.outcome == "ok"
    assert content.tags(us, REPOSITORY) == [tag, "v1"]
    assert operator.verify().report.outcome == "ok"


def test_a_listing_that_a_target_with_the_api_holds_as_a_copy_is_repaired_too(
    tmp_path: Path, registry: Factory
) -> None:
    subject = content.manifest("signed")
    with FakeRegistry() as us:
        us.notes_subjects = True
        operator = between(tmp_path, registry(), us, RULE)
        fill(operator, v1=subject)
        for seed in ("first", "second"):
            attach(operator.registries["eu"], REPOSITORY, content.artifact(subject, seed=seed))
            assert operator.verify(repair=True).report.outcome == "ok"

        assert operator.verify().report.outcome == "ok"
        assert operator.sync().total("done") == 0
