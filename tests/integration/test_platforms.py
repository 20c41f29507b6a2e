"""Rules with `platforms`: what arrives, what it is called, what it costs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from syncer import cli, manifest, platforms, reference, run
from syncer.layout import Layout
from tests import content
from tests.client import Client
from tests.clients import descriptor, parsed, source
from tests.content import Content
from tests.operator import Operator
from tests.registries import Factory

MIRROR = """
[[replicate]]
name = "mirror"
source = "eu"
target = "us"
repos = ["prod/**"]
mutable = []
"""
TRIMMED = MIRROR + 'platforms = ["linux/amd64", "linux/arm64/v8"]\n'
THREE = ("linux/amd64", "linux/arm64", "linux/s390x")


@pytest.fixture
def operator(tmp_path: Path, registry: Factory) -> Operator:
    return Operator(tmp_path, {"eu": registry(), "us": registry()}, TRIMMED)


def trimmed(whole: Content) -> bytes:
    """The bytes that the target should have: the rows of two platforms, all else as it was."""
    wanted = ["linux/amd64", "linux/arm64"]
    return platforms.trim(manifest.parse(whole.data, whole.media_type), wanted).raw


def test_an_index_arrives_with_the_rows_of_its_platforms_and_no_others(operator: Operator) -> None:
    eu, us = operator.registries["eu"], operator.registries["us"]
    whole = content.attested(names=THREE)
    content.push(eu, "prod/app", "v1", whole)

    report = operator.sync()

    assert report.outcome == "ok", report.as_dict()
    assert report.rules["mirror"].trimmed == 1
    raw = content.skopeo_raw(us, "prod/app", "v1")
    assert raw == trimmed(whole)
    kept = [row["digest"] for row in json.loads(raw)["manifests"]]
    with Client(us) as client:
        for child in whole.children:
            assert client.has("prod/app", child.digest) == (child.digest in kept)
    assert len(kept) == 4  # two platforms and their attestations
    (copied,) = operator.steps("done")
    assert copied.reason == (
        f"trimmed to linux/amd64, linux/arm64/v8: {whole.digest} -> {copied.digest}"
    )


def test_in_step_costs_one_get_of_each_index_that_the_process_has_not_seen(
    operator: Operator,
) -> None:
    eu = operator.registries["eu"]
    for tag in ("v1", "latest", "stable"):
        content.push(eu, "prod/app", tag, content.platforms(names=THREE))
    content.push(eu, "prod/app", "v2", content.platforms("v2", names=THREE))
    plain = content.manifest("plain")
    content.push(eu, "prod/app", "plain", plain)
    listing = reference.fallback_tag(plain.digest)
    content.push(eu, "prod/app", listing, content.index(content.artifact(plain)))
    operator.sync()

    with operator.environment() as environment:
        first, second = (run.sync(environment) for _ in range(2))

    for report in (first, second):
        assert report.outcome == "ok"
        assert report.rules["mirror"].in_step == 6
        assert report.rules["mirror"].trimmed == 4
        assert report.requests["us"] == {"GET": 1, "HEAD": 6}
    # The catalog, a listing, whether there is a referrers API; then two indexes under four tags.
    assert first.requests["eu"] == {"GET": 3 + 2, "HEAD": 6}
    assert second.requests["eu"] == {"GET": 2, "HEAD": 6}


def test_a_manifest_is_copied_as_it_is_and_an_index_without_the_platforms_is_skipped(
    operator: Operator,
) -> None:
    eu, us = operator.registries["eu"], operator.registries["us"]
    plain = content.manifest("z", platform="linux/s390x")
    content.push(eu, "prod/app", "plain", plain)
    nested = content.index(content.platforms("n", names=THREE))
    content.push(eu, "prod/app", "nested", nested)
    content.push(eu, "prod/app", "other", content.platforms("o", names=("linux/s390x",)))

    for _ in range(2):
        report = operator.sync()
        assert report.outcome == "ok", report.as_dict()
        assert report.total("skipped") == 1
        (skipped,) = report.skipped
        assert (skipped.tag, skipped.code) == ("other", "NO_PLATFORM")
        assert "is for linux/s390x, none of which is linux/amd64" in skipped.reason

    assert content.tags(us, "prod/app") == ["nested", "plain"]
    assert content.fetch(us, "prod/app", "plain")[0] == plain.data
    assert content.fetch(us, "prod/app", "nested")[0] == nested.data


def test_a_plan_says_what_is_trimmed_to_what_and_writes_nothing(operator: Operator) -> None:
    eu, us = operator.registries["eu"], operator.registries["us"]
    whole = content.platforms(names=THREE)
    content.push(eu, "prod/app", "v1", whole)

    with operator.environment() as environment:
        report, (comparison,) = run.preview(environment)

    assert report.rules["mirror"].trimmed == 1
    assert comparison.plan.trimmed == {"v1": whole.digest}
    (step,) = comparison.plan.steps
    assert step.reason.endswith(f"{whole.digest} -> {manifest.digest_of(trimmed(whole))}")
    assert us.probe("/v2/prod/app/tags/list") == 404


def test_people_are_told_by_plan_sync_and_ls(
    operator: Operator, capsys: pytest.CaptureFixture[str]
) -> None:
    eu = operator.registries["eu"]
    content.push(eu, "prod/app", "v1", whole := content.platforms(names=THREE))
    content.push(eu, "prod/app", "other", content.platforms("o", names=("linux/s390x",)))
    config = operator.directory / "rules.toml"
    config.write_text(operator.text())

    def told(*words: str) -> str:
        assert cli.run(["-c", str(config), *words]) == 0
        return capsys.readouterr().out

    planned, synced, again = told("plan"), told("sync"), told("plan")
    listed = told("ls", "--json", "eu/prod/app")

    short = [digest[:19] for digest in (whole.digest, manifest.digest_of(trimmed(whole)))]
    assert (
        f"us/prod/app:v1: trimmed to linux/amd64, linux/arm64/v8: {short[0]} -> {short[1]}"
        in planned
    )
    assert "mirror: 1 repository, 2 tags, 1 of them trimmed" in planned
    assert "1 skipped, NO_PLATFORM: sha256:" in planned
    assert "trimmed   1 tag: other digests than at the source" in synced
    assert "mirror: 1 repository, 2 tags, 1 of them trimmed" in again
    assert "us/prod/app:v1: trimmed to" not in again
    tags = {row["tag"]: row["targets"] for row in json.loads(listed)["tags"]}
    assert tags == {"v1": {"us/prod/app": "in step"}, "other": {}}


def test_a_rule_that_gets_platforms_replaces_what_it_copied_whole_and_back(
    operator: Operator,
) -> None:
    eu, us = operator.registries["eu"], operator.registries["us"]
    whole = content.platforms(names=THREE)
    content.push(eu, "prod/app", "v1", whole)

    for rules, expected in ((MIRROR, whole.data), (TRIMMED, trimmed(whole)), (MIRROR, whole.data)):
        operator.rules = rules
        assert operator.sync().outcome == "ok"
        assert content.fetch(us, "prod/app", "v1")[0] == expected


def test_a_moved_tag_follows_with_a_trimmed_index(operator: Operator) -> None:
    eu, us = operator.registries["eu"], operator.registries["us"]
    content.push(eu, "prod/app", "v1", content.platforms("one", names=THREE))
    operator.sync()
    content.push(eu, "prod/app", "v1", moved := content.platforms("two", names=THREE))

    report = operator.sync()

    assert report.outcome == "ok", report.as_dict()
    assert content.fetch(us, "prod/app", "v1")[0] == trimmed(moved)


def test_the_state_knows_the_source_by_its_own_digests(operator: Operator) -> None:
    """What is trimmed for one rule is whole for others, and for the source's own retention."""
    eu, us = operator.registries["eu"], operator.registries["us"]
    digest = content.push(eu, "prod/app", "v1", content.platforms(names=THREE))
    operator.sync()
    operator.sync()

    with operator.environment() as environment:
        seen = environment.state.tags.seen
        assert set(seen(eu.url, "prod/app")["v1"]) == {digest}
        (record,) = seen(us.url, "prod/app")["v1"].values()
    assert record.digest != digest
    assert record.ours
    assert record.source_first_seen is not None


def test_verify_finds_and_repairs_a_trimmed_index(operator: Operator) -> None:
    eu, us = operator.registries["eu"], operator.registries["us"]
    whole = content.platforms(names=THREE)
    content.push(eu, "prod/app", "v1", whole)
    operator.sync()
    us.blob_file(whole.children[0].blobs[0].digest).unlink()
    us.restart()

    with operator.environment() as environment:
        found, repaired, after = (
            run.verify(environment, repair=repair) for repair in (False, True, False)
        )

    assert found.report.total("wrong") == 1
    assert repaired.report.outcome == "ok", repaired.report.as_dict()
    assert after.report.outcome == "ok"
    assert after.report.total("wrong") == 0


def test_what_refers_to_children_comes_and_what_refers_to_the_whole_stays(
    tmp_path: Path, registry: Factory
) -> None:
    """A layout is a source with the referrers API; the target lists them under fallback tags."""
    us, usb = registry(), Layout(tmp_path / "usb")
    layout = f'[registry.usb]\nurl = "{usb.key}"\n'
    operator = Operator(tmp_path, {"us": us}, layout + TRIMMED.replace('"eu"', '"usb"'))
    whole = content.platforms(names=THREE)
    referrers = {
        each.digest: content.artifact(each, seed=each.digest)
        for each in (*whole.children[1:], whole)
    }
    for tag, made in (("v1", whole), *(("", each) for each in referrers.values())):
        for part in made.everything():
            for blob in part.blobs:
                usb.put_blob("prod/app", descriptor(blob.data), source(blob.data))
            name = tag if tag and part is made else part.digest
            usb.put_manifest("prod/app", name, parsed(part))

    report = operator.sync()

    assert report.outcome == "ok", report.as_dict()
    kept = whole.children[1]
    listing = reference.fallback_tag(kept.digest)
    assert content.tags(us, "prod/app") == [listing, "v1"]
    rows = json.loads(content.fetch(us, "prod/app", listing)[0])["manifests"]
    assert [row["digest"] for row in rows] == [referrers[kept.digest].digest]
