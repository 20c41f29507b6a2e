"""Stored plans, what moved since, and the way back; on real registries."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from syncer import errors
from tests import content
from tests.integration.test_prune import POLICY, aged, us_tags
from tests.operator import Operator
from tests.registries import Factory

KINDS = ["docker", "distribution"]


@pytest.fixture(params=KINDS)
def operator(tmp_path: Path, registry: Factory, request: pytest.FixtureRequest) -> Operator:
    return Operator(tmp_path, {"us": registry(request.param)}, POLICY)


@pytest.fixture(autouse=True)
def honest_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests move the clock; the registry's `Date` would rightly stop them."""
    monkeypatch.setattr("syncer.prune.MOST_SKEW", timedelta(days=365))


def test_apply_leaves_alone_what_was_pushed_again_since_the_plan(operator: Operator) -> None:
    us = operator.registries["us"]
    content.series(us, "prod/app", 5)
    aged(operator)
    plan = operator.prune().plan
    pushed = content.push(us, "prod/app", "v1.0.1", content.manifest("pushed again"))

    report = operator.apply(plan)

    assert us_tags(operator) == {"v1.0.1", "v1.0.3", "v1.0.4"}
    assert content.fetch(us, "prod/app", "v1.0.1")[2] == pushed
    (skipped,) = operator.steps("skipped")
    assert (skipped.tag, skipped.code) == ("v1.0.1", "MOVED")
    assert report.outcome == "ok"


def test_a_plan_is_applied_once_and_not_after_its_policies_changed(operator: Operator) -> None:
    content.series(operator.registries["us"], "prod/app", 5)
    aged(operator)
    plan = operator.prune().plan
    operator.rules = POLICY.replace("last = 2", "last = 1")
    with pytest.raises(errors.RefusedError, match="changed"):
        operator.apply(plan)
    operator.rules = POLICY
    operator.apply(plan)

    with pytest.raises(errors.RefusedError, match="applied"):
        operator.apply(plan)


def test_a_plan_expires(operator: Operator) -> None:
    content.series(operator.registries["us"], "prod/app", 5)
    aged(operator)
    plan = operator.prune().plan
    operator.ahead += timedelta(days=8)

    with pytest.raises(errors.RefusedError, match="expired"):
        operator.apply(plan)


def test_a_refused_plan_passes_with_the_exact_number_only(operator: Operator) -> None:
    operator.rules = POLICY.replace("max_delete_pct = 90", "max_delete = 1")
    content.series(operator.registries["us"], "prod/app", 5)
    aged(operator)
    plan = operator.prune().plan

    with pytest.raises(errors.RefusedError, match="drops 3 tags, not 2"):
        operator.apply(plan, allow=2)
    assert operator.apply(plan, allow=3).outcome == "ok"
    assert us_tags(operator) == {"v1.0.3", "v1.0.4"}


def test_undo_of_a_plan_brings_every_tag_back_and_the_next_prune_leaves_it(
    operator: Operator,
) -> None:
    us = operator.registries["us"]
    tags = content.series(us, "prod/app", 4)
    content.push(us, "prod/app", "v0.9.0", content.platforms())
    aged(operator)
    pruned = operator.prune(apply=True)
    assert us_tags(operator) == {"v1.0.2", "v1.0.3"}

    report = operator.undo(pruned.plan)

    assert report.outcome == "ok", report.as_dict()
    assert us_tags(operator) == {*tags, "v0.9.0"}
    for tag, each in tags.items():
        assert content.skopeo_raw(us, "prod/app", tag) == each.data
    for child in content.platforms().children:
        assert content.fetch(us, "prod/app", child.digest)[0] == child.data
    operator.ahead += timedelta(days=2)
    assert operator.prune(apply=True).drops == 0


def test_undo_does_not_replace_what_was_pushed_since(operator: Operator) -> None:
    us = operator.registries["us"]
    content.series(us, "prod/app", 3)
    aged(operator)
    operator.prune(apply=True)
    pushed = content.push(us, "prod/app", "v1.0.0", content.manifest("new"))

    report = operator.undo("us/prod/app:v1.0.0")

    assert report.outcome == "partial"
    assert content.fetch(us, "prod/app", "v1.0.0")[2] == pushed


def test_undo_of_an_overwrite_restores_what_stood_before(tmp_path: Path, registry: Factory) -> None:
    from tests.integration.test_sync import MIRROR  # noqa: PLC0415 - one rule, not its tests

    operator = Operator(tmp_path, {"eu": registry(), "us": registry()}, MIRROR)
    eu, us = operator.registries["eu"], operator.registries["us"]
    first = content.push(eu, "prod/app", "v1", content.manifest("one"))
    operator.sync()
    content.push(eu, "prod/app", "v1", content.manifest("two"))
    operator.sync()

    report = operator.undo("us/prod/app:v1")

    assert report.outcome == "ok", report.as_dict()
    assert content.fetch(us, "prod/app", "v1")[2] == first


def test_where_a_registry_collects_what_has_no_tag_a_trash_tag_keeps_it_for_its_undo_window(
    operator: Operator,
) -> None:
    operator.extra["us"] = 'auth = "anonymous"\ncollects_untagged = true'
    us = operator.registries["us"]
    tags = content.series(us, "prod/app", 3)
    aged(operator)
    operator.prune(apply=True)
    (trash,) = us_tags(operator) - set(tags)
    assert trash.startswith("syncer-trash-")
    assert content.fetch(us, "prod/app", trash)[0] == tags["v1.0.0"].data

    operator.ahead += timedelta(days=2)
    assert operator.prune(apply=True).drops == 0, "trash is invisible to rules and counts"
    assert trash in us_tags(operator)
    operator.ahead += timedelta(days=14)
    operator.prune(apply=True)

    assert us_tags(operator) == {"v1.0.1", "v1.0.2"}


def test_undo_says_what_it_cannot_find(operator: Operator) -> None:
    with pytest.raises(errors.UsageError, match="nothing was dropped"):
        operator.undo("us/prod/app:v1")
    with pytest.raises(errors.UsageError, match="no registry is named"):
        operator.undo("nowhere/prod/app:v1")


def test_why_answers_for_tags_that_stay_that_would_go_and_that_are_gone(operator: Operator) -> None:
    us = operator.registries["us"]
    tags = content.series(us, "prod/app", 4)
    aged(operator)

    stays, goes = operator.why("us/prod/app:v1.0.3"), operator.why("us/prod/app:v1.0.0")
    assert stays.decision is not None
    assert stays.decision.keep
    assert "last 2" in stays.decision.reason
    assert goes.decision is not None
    assert not goes.decision.keep
    operator.prune(apply=True)
    gone = operator.why("us/prod/app:v1.0.0")
    assert gone.digest == ""
    assert gone.drops[0].policy == "keep"
    assert gone.drops[0].digest == tags["v1.0.0"].digest


def test_replication_does_not_bring_back_what_a_policy_dropped_until_an_undo(
    tmp_path: Path, registry: Factory
) -> None:
    from tests.integration.test_sync import MIRROR  # noqa: PLC0415 - one rule, not its tests

    operator = Operator(tmp_path, {"eu": registry(), "us": registry()}, MIRROR + POLICY)
    eu = operator.registries["eu"]
    content.series(eu, "prod/app", 4)
    operator.sync()
    operator.ahead += timedelta(days=2)
    operator.prune(apply=True)
    assert us_tags(operator) == {"v1.0.2", "v1.0.3"}
    eu.forget_requests()

    report = operator.sync()

    assert us_tags(operator) == {"v1.0.2", "v1.0.3"}
    assert report.total("suppressed") == 2
    looked = [each.method for each in eu.requests() if "/manifests/v1" in each.path]
    assert looked == ["HEAD"] * 4  # a GET would count as a pull, run after run
    operator.undo("us/prod/app:v1.0.0")
    assert operator.sync().total("suppressed") == 1
    content.push(eu, "prod/app", "v1.0.1", content.manifest("a new digest"))
    assert operator.sync().total("suppressed") == 0
    assert "v1.0.1" in us_tags(operator)
