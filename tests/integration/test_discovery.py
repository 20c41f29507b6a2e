"""What rules find: the latest tags of a repository, names put together from captures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from syncer import cli, run
from tests import content
from tests.operator import Operator
from tests.registries import Factory

MIRROR = """
[[replicate]]
name = "mirror"
source = "eu"
target = "us"
repos = ["prod/**"]
"""


@pytest.fixture
def operator(tmp_path: Path, registry: Factory) -> Operator:
    return Operator(tmp_path, {"eu": registry(), "us": registry()}, MIRROR)


def push(operator: Operator, repository: str, *tags: str) -> None:
    for tag in tags:
        content.push(operator.registries["eu"], repository, tag, content.manifest(tag))


def test_the_latest_versions_of_each_repository_are_copied_and_the_rest_is_told(
    operator: Operator, capsys: pytest.CaptureFixture[str]
) -> None:
    operator.rules += 'tags = ["*", "stable"]\nexclude_tags = ["*-rc*"]\nlatest = { count = 2 }\n'
    push(operator, "prod/app", "v1.2.0", "v1.10.0", "v1.9.0", "v2.0.0-rc1", "nightly", "stable")
    push(operator, "prod/db", "1.0", "main")
    config = operator.directory / "rules.toml"
    config.write_text(operator.text())

    cli.run(["-c", str(config), "plan"])
    told = capsys.readouterr().out
    cli.run(["-c", str(config), "plan", "--json"])
    planned = json.loads(capsys.readouterr().out)
    report = operator.sync()
    again = operator.sync()

    us = operator.registries["us"]
    assert report.outcome == "ok", report.as_dict()
    assert content.tags(us, "prod/app") == ["stable", "v1.10.0", "v1.9.0"]
    assert content.tags(us, "prod/db") == ["1.0"]
    assert again.rules["mirror"].in_step == again.rules["mirror"].matched == 4
    assert "  latest: 3 taken, 1 older, 2 no version; what is not taken is left out" in told
    patterns = planned["rules"][0]["patterns"]
    assert patterns["latest"] == {"taken": 3, "older": 1, "no version": 2}


def test_what_is_no_longer_among_the_latest_stays_at_the_target(operator: Operator) -> None:
    operator.rules += 'latest = { count = 1, sort = "name" }\n'
    push(operator, "prod/app", "2026-01-01")
    operator.sync()
    push(operator, "prod/app", "2026-01-02")

    report = operator.sync()

    assert report.outcome == "ok"
    assert content.tags(operator.registries["us"], "prod/app") == ["2026-01-01", "2026-01-02"]
    with operator.environment() as environment:
        _, (comparison,) = run.preview(environment)
    assert comparison.plan.extraneous == ()


def test_signatures_are_not_counted_and_follow_what_is_taken(operator: Operator) -> None:
    eu, us = operator.registries["eu"], operator.registries["us"]
    operator.rules += 'latest = { count = 1, sort = "name" }\n'
    for tag in ("a", "b"):
        digest = content.push(eu, "prod/app", tag, content.manifest(tag))
        content.push(eu, "prod/app", f"sha256-{digest[7:]}.sig", content.artifact(seed=tag))

    report = operator.sync()

    assert report.outcome == "ok", report.as_dict()
    signed = content.manifest("b").digest
    assert content.tags(us, "prod/app") == ["b", f"sha256-{signed[7:]}.sig"]


def test_names_at_the_target_are_put_together_from_captures(operator: Operator) -> None:
    pattern = "re:prod/(?P<team>[^/]+)/(?P<app>.+)"
    operator.rules = MIRROR.replace('["prod/**"]', f"['{pattern}']")
    operator.rules += 'rename = "{team}-mirror/{app}"\n'
    push(operator, "prod/red/web/front", "v1")
    push(operator, "prod/alone", "v1")

    report = operator.sync()

    assert report.outcome == "ok", report.as_dict()
    assert report.rules["mirror"].repositories == 1
    assert content.tags(operator.registries["us"], "red-mirror/web/front") == ["v1"]


def test_captures_that_make_one_name_of_two_copy_neither(operator: Operator) -> None:
    operator.rules = MIRROR.replace('["prod/**"]', "['re:prod/(?P<app>[^/]+)/.*']")
    operator.rules += 'rename = "all/{app}"\n'
    push(operator, "prod/web/a", "v1")
    push(operator, "prod/web/b", "v1")

    report = operator.sync()

    assert report.outcome == "refused"
    assert "would both land on us/all/web" in report.errors[0].reason
    assert content.tags(operator.registries["us"], "all/web") == []


def test_a_capture_that_is_empty_is_no_name(operator: Operator) -> None:
    operator.rules = MIRROR.replace('["prod/**"]', "['re:prod/(?P<app>[a-z]*)[0-9]*']")
    operator.rules += 'rename = "mirror/{app}"\n'
    push(operator, "prod/web1", "v1")
    push(operator, "prod/2", "v1")

    report = operator.sync()

    assert report.outcome == "refused"
    assert "rename makes 'mirror/', which is no repository name" in report.errors[0].reason
    assert content.tags(operator.registries["us"], "mirror/web") == ["v1"]
