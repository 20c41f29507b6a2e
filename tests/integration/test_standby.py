"""A standby that keeps less than its primary is told of, and registries without a catalog work."""

from __future__ import annotations

from pathlib import Path

from syncer import run
from tests import content
from tests.operator import Operator
from tests.registries import Factory

RULES = """
[retention.guard]
min_age = "0h"
[[replicate]]
name = "mirror"
source = "eu"
target = "us"
repos = ["prod/**"]
[[retention.policy]]
name = "primary"
registry = "eu"
repos = ["prod/**"]
  [[retention.policy.rule]]
  tags = "*"
  sort = "semver"
  keep = { last = 3 }
[[retention.policy]]
name = "standby"
registry = "us"
repos = ["prod/**"]
  [[retention.policy.rule]]
  tags = "*"
  sort = "semver"
  keep = { last = KEEP }
"""


def test_check_warns_of_a_standby_that_drops_what_its_primary_keeps(
    tmp_path: Path, registry: Factory
) -> None:
    operator = Operator(tmp_path, {"eu": registry(), "us": registry()}, RULES.replace("KEEP", "1"))
    content.series(operator.registries["eu"], "prod/app", 4)
    operator.sync()

    with operator.environment() as environment:
        (warning,) = run.standby_warnings(environment)

    assert "policy standby would drop 2 tags of us/prod/app" in warning
    operator.rules = RULES.replace("KEEP", "9")
    with operator.environment() as environment:
        assert not run.standby_warnings(environment)


def test_a_registry_without_a_catalog_is_copied_by_the_repositories_its_table_lists(
    tmp_path: Path, registry: Factory
) -> None:
    eu = registry()
    operator = Operator(tmp_path, {"eu": eu, "us": registry()}, RULES.replace("KEEP", "9"))
    operator.extra["eu"] = 'auth = "anonymous"\nrepos = ["prod/app"]'
    content.series(eu, "prod/app", 2)
    content.series(eu, "prod/other", 1)

    report = operator.sync()

    assert report.outcome == "ok", report.as_dict()
    assert not [each for each in eu.requests() if "_catalog" in each.path]
    assert operator.registries["us"].probe("/v2/prod/other/tags/list") == 404
