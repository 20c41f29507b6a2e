"""Retention on real registries: what goes is what the plan said, and nothing else."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests import client, content
from tests.operator import Operator
from tests.registries import Factory

POLICY = """
[retention.guard]
min_age = "24h"
max_delete_pct = 90
[[retention.policy]]
name = "keep"
registry = "us"
repos = ["prod/**"]
protect = ["stable"]
apply = true
  [[retention.policy.rule]]
  tags = "v*"
  sort = "semver"
  keep = { last = 2 }
"""
KINDS = ["docker", "distribution"]


@pytest.fixture(params=KINDS)
def operator(tmp_path: Path, registry: Factory, request: pytest.FixtureRequest) -> Operator:
    return Operator(tmp_path, {"us": registry(request.param)}, POLICY)


def aged(operator: Operator) -> None:
    """Lets the state see what is there, then moves the clock past the minimum age."""
    operator.prune()
    operator.ahead += timedelta(days=2)


def us_tags(operator: Operator) -> set[str]:
    return set(content.tags(operator.registries["us"], "prod/app"))


@pytest.fixture(autouse=True)
def honest_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests move the clock; the registry's `Date` would rightly stop them."""
    monkeypatch.setattr("syncer.prune.MOST_SKEW", timedelta(days=365))


def test_a_plan_shows_what_would_go_and_touches_nothing(operator: Operator) -> None:
    us = operator.registries["us"]
    tags = content.series(us, "prod/app", 5)
    aged(operator)
    us.forget_requests()

    pruned = operator.prune()

    assert pruned.drops == 3
    assert pruned.plan
    assert set(us.methods()) <= {"GET", "HEAD"}
    assert us_tags(operator) == set(tags)


def test_an_apply_drops_what_was_planned_and_every_tag_that_stays_still_works(
    operator: Operator,
) -> None:
    us = operator.registries["us"]
    tags = content.series(us, "prod/app", 5)
    content.push(us, "prod/app", "stable", tags["v1.0.0"])
    content.push(us, "prod/app", "other", content.platforms())
    aged(operator)

    pruned = operator.prune(apply=True)

    assert pruned.report.outcome == "ok", pruned.report.as_dict()
    assert us_tags(operator) == {"v1.0.3", "v1.0.4", "stable", "other"}
    for tag in us_tags(operator):
        assert content.skopeo_raw(us, "prod/app", tag)
    for child in content.platforms().children:
        assert content.fetch(us, "prod/app", child.digest)[0] == child.data
    # A digest under a protected tag outlives the tag that goes.
    assert content.fetch(us, "prod/app", "stable")[0] == tags["v1.0.0"].data


def test_nothing_young_goes_whatever_the_rules_say(operator: Operator) -> None:
    content.series(operator.registries["us"], "prod/app", 5)

    pruned = operator.prune(apply=True)

    assert pruned.drops == 0
    assert len(us_tags(operator)) == 5


def test_a_guard_refuses_the_repository_whole(operator: Operator) -> None:
    operator.rules = POLICY.replace("max_delete_pct = 90", "max_delete = 2")
    content.series(operator.registries["us"], "prod/app", 5)
    aged(operator)

    pruned = operator.prune(apply=True)

    assert pruned.report.outcome == "refused"
    assert pruned.report.exit_code == 5
    assert len(us_tags(operator)) == 5
    assert operator.prune(apply=True, allow=3).report.outcome == "ok"
    assert len(us_tags(operator)) == 2


def test_a_child_of_an_index_that_stays_is_never_deleted_with_its_own_tag(
    operator: Operator,
) -> None:
    us = operator.registries["us"]
    index = content.platforms()
    content.push(us, "prod/app", "index", index)
    content.series(us, "prod/app", 2)
    child = index.children[0]
    content.push(us, "prod/app", "v0.0.1", child)
    aged(operator)

    pruned = operator.prune(apply=True)

    assert pruned.report.outcome == "ok", pruned.report.as_dict()
    assert "v0.0.1" not in us_tags(operator)
    assert content.fetch(us, "prod/app", child.digest)[0] == child.data


def test_a_tagged_referrer_of_what_stays_loses_its_tag_and_not_its_content(
    operator: Operator,
) -> None:
    us = operator.registries["us"]
    content.series(us, "prod/app", 2)
    subject = content.manifest("subject")
    content.push(us, "prod/app", "kept", subject)
    signature = content.artifact(subject)
    content.push(us, "prod/app", "v0.0.1", signature)
    aged(operator)

    pruned = operator.prune(apply=True)

    assert pruned.report.outcome == "ok", pruned.report.as_dict()
    assert "v0.0.1" not in us_tags(operator)
    assert content.fetch(us, "prod/app", signature.digest)[0] == signature.data


def test_two_tags_on_one_digest_of_which_one_stays_lose_only_the_other(operator: Operator) -> None:
    us = operator.registries["us"]
    tags = content.series(us, "prod/app", 3)
    content.push(us, "prod/app", "release", tags["v1.0.0"])
    aged(operator)

    operator.prune(apply=True)

    assert us_tags(operator) == {"v1.0.1", "v1.0.2", "release"}
    assert content.fetch(us, "prod/app", "release")[0] == tags["v1.0.0"].data


def test_a_second_apply_finds_nothing_to_do(operator: Operator) -> None:
    content.series(operator.registries["us"], "prod/app", 4)
    aged(operator)
    operator.prune(apply=True)

    pruned = operator.prune(apply=True)

    assert pruned.drops == 0
    assert pruned.report.outcome == "ok"


def test_a_repository_that_cannot_be_listed_loses_nothing(operator: Operator) -> None:
    us = operator.registries["us"]
    content.series(us, "prod/app", 4)
    aged(operator)
    us.kill()

    pruned = operator.prune(apply=True)

    assert pruned.report.outcome == "failed"
    us.start()
    assert len(us_tags(operator)) == 4


def test_a_registry_that_refuses_deletes_is_reported_once_and_keeps_everything(
    tmp_path: Path, registry: Factory
) -> None:
    operator = Operator(tmp_path, {"us": registry(delete=False)}, POLICY)
    content.series(operator.registries["us"], "prod/app", 4)
    aged(operator)

    pruned = operator.prune(apply=True)

    assert pruned.report.exit_code == 5
    assert len(us_tags(operator)) == 4


def test_a_clock_that_differs_from_the_registrys_prunes_nothing(
    tmp_path: Path, registry: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = Operator(tmp_path, {"us": registry()}, POLICY)
    content.series(operator.registries["us"], "prod/app", 4)
    aged(operator)
    monkeypatch.setattr("syncer.prune.MOST_SKEW", timedelta(seconds=-1))

    pruned = operator.prune(apply=True)

    assert pruned.drops == 0
    assert len(us_tags(operator)) == 4


DR = """
[[replicate]]
name = "mirror"
source = "eu"
target = "us"
repos = ["prod/**"]
"""


@pytest.fixture
def mirrored(tmp_path: Path, registry: Factory) -> Operator:
    return Operator(tmp_path, {"eu": registry(), "us": registry()}, DR + POLICY)


def test_an_empty_source_prunes_nothing_from_its_mirror(mirrored: Operator) -> None:
    eu = mirrored.registries["eu"]
    tags = content.series(eu, "prod/app", 5)
    mirrored.sync()
    for each in tags.values():
        client.delete(eu, "prod/app", each.digest)
    mirrored.sync()
    mirrored.ahead += timedelta(days=2)

    pruned = mirrored.prune(apply=True)

    assert pruned.report.exit_code == 5
    assert us_tags(mirrored) == set(tags)
    assert "listed no tags" in pruned.report.errors[0].reason


def test_a_digest_goes_only_when_it_is_whole_at_every_registry_that_must_have_it(
    mirrored: Operator,
) -> None:
    mirrored.rules = DR + POLICY.replace('registry = "us"', 'registry = "eu"').replace(
        "apply = true", 'apply = true\nrequire_mirrored = ["us"]'
    )
    eu, us = mirrored.registries["eu"], mirrored.registries["us"]
    tags = content.series(eu, "prod/app", 4)
    mirrored.sync()
    client.delete(us, "prod/app", tags["v1.0.0"].digest)
    mirrored.ahead += timedelta(days=2)

    mirrored.prune(apply=True)

    assert set(content.tags(eu, "prod/app")) == {"v1.0.0", "v1.0.2", "v1.0.3"}


def test_the_last_two_at_a_mirror_are_the_last_two_at_its_source_however_it_was_filled(
    mirrored: Operator,
) -> None:
    """The mirror is filled at the end, newest first; the state has watched the source all along."""
    eu = mirrored.registries["eu"]
    policy = POLICY.replace('sort = "semver"', 'sort = "age"').replace('tags = "v*"', 'tags = "b*"')
    watching = DR.replace('repos = ["prod/**"]', 'repos = ["prod/**"]\ntags = ["none"]')
    for tag in ("b-apple", "b-zebra", "b-mango"):
        content.push(eu, "prod/app", tag, content.manifest(tag))
        mirrored.rules = watching + policy
        mirrored.sync()
        mirrored.ahead += timedelta(hours=1)
    for tags in ('["b-mango"]', '["b-zebra"]', '["*"]'):
        mirrored.rules = DR.replace('repos = ["prod/**"]', f'repos = ["prod/**"]\ntags = {tags}')
        mirrored.rules += policy
        mirrored.sync()
        mirrored.ahead += timedelta(hours=1)
    mirrored.ahead += timedelta(days=2)

    mirrored.prune(apply=True)

    assert us_tags(mirrored) == {"b-zebra", "b-mango"}


def test_tags_whose_order_at_the_source_nobody_saw_all_stay(mirrored: Operator) -> None:
    mirrored.rules = DR + POLICY.replace('sort = "semver"', 'sort = "age"')
    content.series(mirrored.registries["eu"], "prod/app", 5)
    mirrored.sync()
    mirrored.ahead += timedelta(days=2)

    assert mirrored.prune(apply=True).drops == 0
