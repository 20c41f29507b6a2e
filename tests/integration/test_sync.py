"""Replication between real registries: what arrives, what it costs, what is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import content
from tests.operator import Operator
from tests.registries import Factory

MIRROR = """
[[replicate]]
name = "mirror"
source = "eu"
target = "us"
repos = ["prod/**"]
tags = ["*"]
mutable = []
"""


@pytest.fixture
def operator(tmp_path: Path, registry: Factory) -> Operator:
    return Operator(tmp_path, {"eu": registry(), "us": registry()}, MIRROR)


def test_a_first_sync_brings_every_tag_byte_for_byte_within_the_request_budget(
    operator: Operator,
) -> None:
    eu, us = operator.registries["eu"], operator.registries["us"]
    tags = content.series(eu, "prod/app", 20)

    report = operator.sync()

    assert report.outcome == "ok", report.as_dict()
    for tag in tags:
        assert content.fetch(eu, "prod/app", tag) == content.fetch(us, "prod/app", tag)
    requests = sum(sum(each.values()) for each in report.requests.values())
    # A manifest each side, an own layer and a config each GET + POST + PUT; three shared layers
    # once; the catalog and two listings.
    assert requests <= 20 * 8 + 3 * 3 + 3 + 2
    assert report.blobs["copied"] == 43


def test_a_sync_of_what_is_in_step_asks_one_head_a_side_and_writes_nothing(
    operator: Operator,
) -> None:
    content.series(operator.registries["eu"], "prod/app", 10)
    operator.sync()

    report = operator.sync()

    assert report.outcome == "ok"
    assert report.rules["mirror"].in_step == 10
    # Catalog, listing, and whether there is a referrers API.
    assert report.requests["eu"] == {"GET": 3, "HEAD": 10}
    assert report.requests["us"] == {"GET": 1, "HEAD": 10}


def test_indexes_arrive_with_all_their_children(operator: Operator) -> None:
    eu, us = operator.registries["eu"], operator.registries["us"]
    wanted = {
        "multi": content.platforms(),
        "nested": content.index(content.platforms()),
        "attested": content.attested(),
        "docker": content.manifest("d", docker=True),
    }
    for tag, each in wanted.items():
        content.push(eu, "prod/app", tag, each)

    report = operator.sync()

    assert report.outcome == "ok", report.as_dict()
    for tag, each in wanted.items():
        assert content.skopeo_raw(us, "prod/app", tag) == each.data
        for child in each.children:
            assert content.fetch(us, "prod/app", child.digest)[0] == child.data


def test_a_tag_that_somebody_else_wrote_at_the_target_is_a_conflict_and_left_alone(
    operator: Operator,
) -> None:
    eu, us = operator.registries["eu"], operator.registries["us"]
    content.push(eu, "prod/app", "v1", content.manifest("source"))
    theirs = content.push(us, "prod/app", "v1", content.manifest("theirs"))

    report = operator.sync()

    assert report.outcome == "partial"
    assert report.exit_code == 3
    assert content.fetch(us, "prod/app", "v1")[2] == theirs
    (conflict,) = operator.steps("conflict")
    assert (conflict.tag, conflict.previous) == ("v1", theirs)


def test_a_tag_we_wrote_follows_its_source_and_what_it_named_is_kept(operator: Operator) -> None:
    eu, us = operator.registries["eu"], operator.registries["us"]
    first = content.push(eu, "prod/app", "v1", content.manifest("one"))
    operator.sync()
    second = content.push(eu, "prod/app", "v1", content.manifest("two"))

    report = operator.sync()

    assert report.outcome == "ok", report.as_dict()
    assert content.fetch(us, "prod/app", "v1")[2] == second
    (moved,) = [step for step in operator.steps("done") if step.action == "overwrite"]
    assert moved.previous == first


def test_a_plan_writes_to_no_registry(operator: Operator) -> None:
    eu, us = operator.registries["eu"], operator.registries["us"]
    content.series(eu, "prod/app", 3)
    eu.forget_requests()
    us.forget_requests()

    report = operator.preview()

    assert report.rules["mirror"].planned == 3
    assert set(eu.methods()) | set(us.methods()) <= {"GET", "HEAD"}
    assert us.probe("/v2/prod/app/tags/list") == 404


def test_a_rule_that_matches_nothing_says_so(operator: Operator) -> None:
    content.series(operator.registries["eu"], "other/app", 1)

    report = operator.sync()

    assert report.outcome == "empty"
    assert report.exit_code == 1


def test_blobs_cross_once_and_are_mounted_into_other_repositories(operator: Operator) -> None:
    eu, us = operator.registries["eu"], operator.registries["us"]
    for name in ("prod/a", "prod/b", "prod/c"):
        content.push(eu, name, "v1", content.manifest("same"))

    report = operator.sync()

    assert report.outcome == "ok", report.as_dict()
    assert report.blobs["copied"] == len(list(content.manifest("same").blobs))
    assert report.blobs["mounted"] == 2 * report.blobs["copied"]
    for name in ("prod/a", "prod/b", "prod/c"):
        assert content.skopeo_raw(us, name, "v1") == content.manifest("same").data


def test_several_targets_read_the_source_once(tmp_path: Path, registry: Factory) -> None:
    rules = MIRROR.replace('target = "us"', 'target = ["us", "dr"]')
    operator = Operator(tmp_path, {"eu": registry(), "us": registry(), "dr": registry()}, rules)
    content.series(operator.registries["eu"], "prod/app", 4)

    report = operator.sync()

    assert report.outcome == "ok", report.as_dict()
    # The catalog, a listing, whether there is a referrers API, manifests, blobs.
    assert report.requests["eu"]["GET"] == 3 + 4 + 11
    for name in ("us", "dr"):
        assert len(content.tags(operator.registries[name], "prod/app")) == 4


def test_a_dead_target_does_not_stop_the_other(tmp_path: Path, registry: Factory) -> None:
    rules = MIRROR.replace('target = "us"', 'target = ["us", "dr"]')
    operator = Operator(tmp_path, {"eu": registry(), "us": registry(), "dr": registry()}, rules)
    content.series(operator.registries["eu"], "prod/app", 2)
    operator.registries["dr"].kill()

    report = operator.sync()

    assert report.outcome == "partial", report.as_dict()
    assert len(content.tags(operator.registries["us"], "prod/app")) == 2


def test_two_sources_on_one_name_copy_neither(tmp_path: Path, registry: Factory) -> None:
    rules = MIRROR + MIRROR.replace('"mirror"', '"second"').replace('"eu"', '"asia"')
    operator = Operator(tmp_path, {"eu": registry(), "us": registry(), "asia": registry()}, rules)
    for name in ("eu", "asia"):
        content.push(operator.registries[name], "prod/app", "v1", content.manifest(name))

    report = operator.sync()

    assert report.outcome == "refused"
    assert report.exit_code == 5
    assert operator.registries["us"].probe("/v2/prod/app/tags/list") == 404


def test_what_another_rule_brought_from_another_source_is_not_ours_to_replace(
    tmp_path: Path, registry: Factory
) -> None:
    """Run one at a time, as the daemon does, two rules must not overwrite each other for ever."""
    rules = MIRROR + MIRROR.replace('"mirror"', '"second"').replace('"eu"', '"asia"')
    operator = Operator(tmp_path, {"eu": registry(), "us": registry(), "asia": registry()}, rules)
    first = content.push(operator.registries["eu"], "prod/app", "v1", content.manifest("eu"))
    content.push(operator.registries["asia"], "prod/app", "v1", content.manifest("asia"))

    assert operator.sync("mirror").outcome == "ok"
    report = operator.sync("second")

    assert report.outcome == "partial"
    assert content.fetch(operator.registries["us"], "prod/app", "v1")[2] == first


def test_a_read_only_target_fails_with_a_sentence(tmp_path: Path, registry: Factory) -> None:
    operator = Operator(tmp_path, {"eu": registry(), "us": registry(readonly=True)}, MIRROR)
    content.series(operator.registries["eu"], "prod/app", 1)

    report = operator.sync()

    assert report.outcome == "failed"
    assert report.errors
    assert "405" in report.errors[0].reason


def test_a_blob_that_is_gone_at_the_source_fails_its_tag_and_no_other(operator: Operator) -> None:
    eu, us = operator.registries["eu"], operator.registries["us"]
    tags = content.series(eu, "prod/app", 3)
    broken = tags["v1.0.1"] if "v1.0.1" in tags else list(tags.values())[1]
    own = list(broken.blobs)[-1]
    eu.blob_file(own.digest).unlink()
    eu.restart()

    report = operator.sync()

    assert report.outcome == "partial", report.as_dict()
    assert len(content.tags(us, "prod/app")) == 2
