"""`syncer verify` where things get in its way, and as people type it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from syncer import cli, events
from tests import content
from tests.damage import REPOSITORY, RULE, fill, lose_blob, lose_manifest, wrong
from tests.ends import OnDisk
from tests.fake_registry import Asked, FakeRegistry
from tests.operator import Operator, between
from tests.registries import Factory


@pytest.fixture
def operator(tmp_path: Path, registry: Factory) -> Operator:
    return Operator(tmp_path, {"eu": registry(), "us": registry()}, RULE)


def test_what_cannot_be_looked_at_is_not_called_missing(tmp_path: Path, registry: Factory) -> None:
    multi = content.platforms("m")
    layer = multi.children[0].blobs[1]
    with FakeRegistry() as us:
        operator = between(tmp_path, registry(), us, RULE)
        fill(operator, multi=multi)
        us.on("HEAD", f".*{layer.digest}", lambda asked: asked.fail(403, "DENIED"))
        us.asked.clear()

        report = operator.verify(repair=True).report

        assert (report.outcome, report.total("failed"), report.total("wrong")) == ("partial", 1, 0)
        assert "403" in report.errors[0].reason
        assert set(us.methods()) == {"GET", "HEAD"}


def test_a_repository_that_another_run_writes_to_is_not_repaired(operator: Operator) -> None:
    us = operator.registries["us"]
    multi = content.platforms("m")
    fill(operator, multi=multi)
    lose_manifest(us, multi.children[0].digest)
    with operator.environment() as other:
        lease = other.state.leases.acquire(us.url, REPOSITORY, "another run")
        assert lease is not None
        with lease:
            report = operator.verify(repair=True).report

    assert (report.outcome, report.total("held")) == ("partial", 1)
    assert "PUT" not in report.requests["us"]


def test_a_stopped_verify_is_interrupted_and_repairs_nothing(operator: Operator) -> None:
    us = operator.registries["us"]
    multi = content.platforms("m", ("linux/amd64", "linux/arm64", "linux/s390x"))
    fill(operator, multi=multi)
    for child in multi.children:
        lose_manifest(us, child.digest)

    class Stop(list[events.Event]):
        def append(self, event: events.Event) -> None:
            if isinstance(event, events.RequestDone) and event.status == 404:
                operator.stop.set()

    operator.seen = Stop()
    report = operator.verify(repair=True).report

    assert report.outcome == "interrupted"
    assert "PUT" not in report.requests["us"]


def test_several_targets_are_each_compared_with_the_source(
    tmp_path: Path, registry: Factory
) -> None:
    rules = RULE.replace('"us"', '["us", "dr"]')
    operator = Operator(tmp_path, {name: registry() for name in ("eu", "us", "dr")}, rules)
    multi = content.platforms("m")
    fill(operator, multi=multi)
    lose_manifest(operator.registries["us"], multi.children[0].digest)
    lose_blob(operator.registries["dr"], multi.children[1].blobs[1].digest)

    assert wrong(operator.verify()) == {
        ("us/prod/app:multi", "MANIFEST_MISSING"),
        ("dr/prod/app:multi", "BLOB_MISSING"),
    }
    assert operator.verify(repair=True).report.outcome == "ok"


def test_the_command_lists_what_is_wrong_then_says_that_it_is_repaired(
    operator: Operator, capsys: pytest.CaptureFixture[str]
) -> None:
    us = operator.registries["us"]
    multi = content.platforms("m")
    fill(operator, multi=multi, v1=content.manifest("v1"))
    lose_manifest(us, multi.children[0].digest)
    file = operator.directory / "rules.toml"
    file.write_text(operator.text())

    def syncer(*words: str) -> tuple[int, str]:
        code = cli.run(["-c", str(file), "verify", *words])
        return code, capsys.readouterr().out

    code, found = syncer("mirror")
    as_json = syncer("--json")
    repaired = syncer("--repair")
    whole = syncer()

    assert code == 3
    assert "us/prod/app:multi" in found
    assert "MANIFEST_MISSING" in found
    assert "syncer verify --repair mirror" in found
    assert as_json[0] == 3
    told = json.loads(as_json[1])
    assert told["outcome"] == "partial"
    assert told["checked"] == {"tags": 2, "manifests": 4, "blobs": 9, "referrers": 0}
    assert [each["code"] for each in told["errors"]] == ["MANIFEST_MISSING"]
    assert repaired[0] == 0
    assert "1 missing, all repaired" in repaired[1]
    assert whole[0] == 0
    assert "nothing is missing" in whole[1]


def test_a_trimmed_index_is_compared_with_what_the_rule_keeps_of_it(
    tmp_path: Path, registry: Factory
) -> None:
    us = registry()
    operator = between(tmp_path, registry(), us, RULE + 'platforms = ["linux/amd64"]\n')
    multi = content.platforms("m", ("linux/amd64", "linux/arm64"))
    fill(operator, multi=multi)
    assert operator.verify().report.outcome == "ok"
    lose_manifest(us, multi.children[0].digest)
    lose_blob(us, multi.children[0].blobs[1].digest)

    found = operator.verify(repair=True)

    assert (found.report.outcome, found.report.total("done")) == ("ok", 2)
    assert operator.verify().report.outcome == "ok"


def test_a_layout_that_lost_files_is_repaired_from_its_registry(
    tmp_path: Path, registry: Factory
) -> None:
    us = OnDisk(tmp_path / "usb")
    operator = between(tmp_path, registry(), us, RULE)
    multi = content.platforms("m")
    fill(operator, multi=multi, v1=content.manifest("v1"))
    lost = (multi.children[0].digest, multi.children[1].blobs[1].digest)
    for digest in lost:
        (us.path / "blobs" / digest.replace(":", "/")).unlink()

    found = operator.verify()
    repaired = operator.verify(repair=True)

    assert sorted(each.code for each in found.report.errors) == ["BLOB_MISSING", "MANIFEST_MISSING"]
    assert repaired.report.outcome == "ok"
    for digest in lost:
        assert us.blob(REPOSITORY, digest)
    assert operator.verify().report.outcome == "ok"


def test_bytes_that_were_broken_on_the_way_are_read_once_more(
    tmp_path: Path, registry: Factory
) -> None:
    multi = content.platforms("m")
    child = multi.children[0]

    def broken(asked: Asked) -> None:
        asked.answer(200, child.data[:-2] + b"!\n", {"Content-Type": child.media_type})

    with FakeRegistry() as us:
        operator = between(tmp_path, registry(), us, RULE)
        fill(operator, multi=multi)
        us.on("GET", f".*{child.digest}", broken, times=1)

        assert operator.verify().report.outcome == "ok"
        us.on("GET", f".*{child.digest}", broken, times=2)
        assert wrong(operator.verify()) == {("us/prod/app:multi", "MANIFEST_WRONG")}
