"""Tags that never move: free after their first copy, looked at again in time, missed at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from syncer import cli
from syncer.report import Report
from tests import content
from tests.client import delete
from tests.operator import Operator
from tests.registries import Factory
from tests.zoo import attach, referrers

RULE = """
[[replicate]]
name = "mirror"
source = "eu"
target = "us"
repos = ["prod/app"]
mutable = ["latest"]
immutable = ["*"]
"""
TWO = RULE.replace('"us"', '["us", "dr"]')
POLICY = """
[[retention.policy]]
name = "all"
registry = "us"
repos = ["prod/**"]
  [[retention.policy.rule]]
  tags = "*"
  keep = { last = 100 }
"""
APP = "prod/app"
DAY = timedelta(days=1)


@pytest.fixture
def make(tmp_path: Path, registry: Factory) -> Callable[..., Operator]:
    def operator(rules: str = RULE, *names: str) -> Operator:
        return Operator(tmp_path, {name: registry() for name in names or ("eu", "us")}, rules)

    return operator


@pytest.fixture
def operator(make: Callable[..., Operator]) -> Operator:
    """One tag, copied an hour ago."""
    made = make()
    content.push(made.registries["eu"], APP, "v1", content.manifest("one"))
    assert made.sync().outcome == "ok"
    made.ahead += timedelta(hours=1)
    return made


def heads(report: Report, *names: str) -> list[int]:
    """How many HEADs each registry got."""
    return [report.requests[name]["HEAD"] for name in names or ("eu", "us")]


def test_after_the_first_copy_they_cost_the_listings_until_they_are_looked_at_again(
    make: Callable[..., Operator],
) -> None:
    operator = make(RULE.replace('"*"', '"v*"'))
    eu, us = operator.registries["eu"], operator.registries["us"]
    content.series(eu, APP, 20)
    for tag in ("latest", "dev"):
        content.push(eu, APP, tag, content.manifest(tag))
    found: list[tuple[int, Report]] = []

    for after in (timedelta(), DAY, 5 * DAY, timedelta(hours=23), timedelta(hours=1), DAY):
        operator.ahead += after
        eu.forget_requests()
        us.forget_requests()
        report = operator.sync()
        assert report.outcome == "ok", report.as_dict()
        # What the registries say they were asked is what the report says.
        assert eu.methods() == report.requests["eu"]
        assert us.methods() == report.requests["us"]
        found.append((report.rules["mirror"].remembered, report))

    assert [count for count, _ in found] == [0, 20, 20, 20, 0, 20]
    assert all(report.rules["mirror"].in_step == 22 for _, report in found[1:])
    for count, report in found[1:]:
        # The tags, and whether there is a referrers API.
        assert report.requests["eu"] == {"GET": 2, "HEAD": 22 - count}
        assert report.requests["us"] == {"GET": 1, "HEAD": 22 - count}


def test_one_that_moved_at_the_source_follows_when_it_is_looked_at_again(
    operator: Operator,
) -> None:
    eu, us = operator.registries["eu"], operator.registries["us"]
    moved = content.push(eu, APP, "v1", content.manifest("two"))

    assert operator.sync().rules["mirror"].remembered == 1
    assert content.fetch(us, APP, "v1")[2] != moved

    operator.ahead += 7 * DAY
    assert operator.sync().total("done") == 1
    assert content.fetch(us, APP, "v1")[2] == moved
    # What it was before is known to be gone when somebody has looked; then it is free again.
    assert [heads(operator.sync()) for _ in range(3)] == [[1, 1], [0, 0], [0, 0]]


def test_one_that_somebody_else_overwrote_is_a_conflict_from_the_next_look_on(
    operator: Operator,
) -> None:
    theirs = content.push(operator.registries["us"], APP, "v1", content.manifest("theirs"))

    assert operator.sync().outcome == "ok"
    operator.ahead += 7 * DAY
    for _ in range(2):
        report = operator.sync()
        assert (report.outcome, report.total("conflict")) == ("partial", 1)
        assert report.rules["mirror"].remembered == 0
    assert content.fetch(operator.registries["us"], APP, "v1")[2] == theirs


def test_one_that_is_gone_at_the_target_comes_back_at_once(operator: Operator) -> None:
    us, wanted = operator.registries["us"], content.manifest("one")
    assert delete(us, APP, wanted.digest) == 202

    report = operator.sync()

    assert (report.outcome, report.total("done")) == ("ok", 1)
    assert content.fetch(us, APP, "v1")[0] == wanted.data


def test_one_that_is_gone_at_the_source_is_left_alone(operator: Operator) -> None:
    eu, us = operator.registries["eu"], operator.registries["us"]
    content.push(eu, APP, "v2", content.manifest("two"))
    assert delete(eu, APP, content.manifest("one").digest) == 202

    report = operator.sync()

    assert (report.outcome, report.total("done"), report.rules["mirror"].matched) == ("ok", 1, 1)
    assert content.tags(us, APP) == ["v1", "v2"]
    assert heads(report) == [0, 3]  # the blobs of v2, which is new


def test_a_signature_made_later_is_brought_and_so_is_the_next_one(operator: Operator) -> None:
    """Under one tag, which every pattern matches: it grows, so it is looked at each time."""
    eu, us, subject = operator.registries["eu"], operator.registries["us"], content.manifest("one")
    for seed in ("first", "second"):
        signature = content.artifact(subject, seed=seed)
        attach(eu, APP, signature)

        report = operator.sync()

        assert report.outcome == "ok", report.as_dict()
        assert report.rules["mirror"].remembered == 1
        assert signature.digest in referrers(us, APP, subject.digest)
    assert heads(operator.sync()) == [1, 1]


def test_a_signature_that_no_pattern_matches_is_found_by_the_remembered_digest(
    make: Callable[..., Operator],
) -> None:
    operator = make(RULE + 'tags = ["v*"]\n')
    eu, us, subject = operator.registries["eu"], operator.registries["us"], content.manifest("one")
    content.push(eu, APP, "v1", subject)
    operator.sync()
    signature = f"{subject.digest.replace(':', '-')}.sig"
    content.push(eu, APP, signature, content.artifact(seed="signature"))
    content.push(eu, APP, f"sha256-{'0' * 64}.sig", content.artifact(seed="of something else"))

    report = operator.sync()

    assert (report.outcome, report.rules["mirror"].remembered) == ("ok", 1)
    assert content.tags(us, APP) == sorted((signature, "v1"))


def test_one_that_a_single_target_lacks_is_looked_at(make: Callable[..., Operator]) -> None:
    operator = make(TWO, "eu", "us", "dr")
    eu, dr = operator.registries["eu"], operator.registries["dr"]
    for tag in ("v1", "v2"):
        content.push(eu, APP, tag, content.manifest(tag))
    operator.sync()
    assert heads(operator.sync(), "eu", "us", "dr") == [0, 0, 0]
    delete(dr, APP, content.manifest("v1").digest)

    report = operator.sync()

    assert (report.outcome, report.total("done")) == ("ok", 1)
    assert report.rules["mirror"].remembered == 1
    assert heads(report, "eu", "us") == [1, 1]
    assert content.tags(dr, APP) == ["v1", "v2"]


def test_a_target_that_cannot_be_listed_is_never_taken_as_in_step(
    make: Callable[..., Operator],
) -> None:
    operator = make(TWO, "eu", "us", "dr")
    content.push(operator.registries["eu"], APP, "v1", content.manifest())
    operator.sync()
    operator.registries["dr"].stop()

    report = operator.sync()

    assert report.outcome == "partial"
    assert [(event.registry, event.action) for event in report.errors] == [("dr", "list")]
    assert report.rules["mirror"].in_step == 1  # at the other


@pytest.mark.parametrize("before", [RULE, RULE.replace("immutable", "# immutable")])
def test_a_copy_that_failed_is_not_taken_for_one_that_was_made(
    make: Callable[..., Operator], before: str
) -> None:
    """It was noted as ours before it was begun, and the target lists the tag: for another digest.

    Nor is it when nobody called it immutable at that time.
    """
    operator = make(before + 'overwrite = "always"\n')
    eu, us, wanted = operator.registries["eu"], operator.registries["us"], content.manifest("one")
    content.push(eu, APP, "v1", wanted)
    content.push(us, APP, "v1", content.manifest("theirs"))
    blob = eu.blob_file(wanted.blobs[-1].digest)
    data = blob.read_bytes()
    blob.unlink()
    eu.restart()

    assert operator.sync().outcome == "failed"
    operator.rules = RULE + 'overwrite = "always"\n'
    assert operator.sync().outcome == "failed"
    blob.write_bytes(data)
    eu.restart()

    report = operator.sync()
    assert (report.outcome, report.total("done")) == ("ok", 1)
    assert content.fetch(us, APP, "v1")[0] == wanted.data


def test_what_an_undo_brought_back_is_looked_at(operator: Operator) -> None:
    eu, us, before = operator.registries["eu"], operator.registries["us"], content.manifest("one")
    content.push(eu, APP, "v1", content.manifest("two"))
    operator.ahead += 7 * DAY
    operator.sync()
    operator.sync()
    assert operator.sync().rules["mirror"].remembered == 1
    assert operator.undo(f"us/{APP}:v1").outcome == "ok"
    assert content.fetch(us, APP, "v1")[0] == before.data

    report = operator.sync()

    assert report.rules["mirror"].remembered == 0
    assert [step.action for step in operator.steps("done")][-1] == "overwrite"


def test_a_prune_that_looks_at_the_target_does_not_put_off_the_look_at_the_source(
    operator: Operator,
) -> None:
    operator.rules += POLICY
    operator.ahead += 5 * DAY
    assert operator.prune().report.outcome == "ok"
    operator.ahead += 3 * DAY

    assert heads(operator.sync()) == [1, 1]


def test_another_rules_look_at_the_source_does_not_put_off_the_look_at_the_target(
    make: Callable[..., Operator],
) -> None:
    other = RULE.replace('"us"', '"dr"').replace('"mirror"', '"other"')
    operator = make(RULE + other.replace("immutable", "# immutable"), "eu", "us", "dr")
    content.push(operator.registries["eu"], APP, "v1", content.manifest())
    operator.sync("mirror")
    operator.ahead += 8 * DAY
    operator.sync("other")

    assert heads(operator.sync("mirror")) == [1, 1]


def test_mutable_is_stronger(make: Callable[..., Operator]) -> None:
    operator = make()
    content.push(operator.registries["eu"], APP, "latest", content.manifest("one"))
    operator.sync()
    content.push(operator.registries["eu"], APP, "latest", content.manifest("two"))

    assert operator.sync().total("done") == 1


def test_trimmed_tags_are_looked_at_each_time(operator: Operator) -> None:
    operator.rules += 'platforms = ["linux/amd64"]\n'

    report = operator.sync()

    assert (heads(report), report.rules["mirror"].remembered) == ([1, 1], 0)


def test_another_rule_relies_on_what_it_brought_itself_and_on_nothing_else(
    make: Callable[..., Operator],
) -> None:
    """The same digest from another source is no proof that this source has it."""
    rules = RULE + RULE.replace('"mirror"', '"second"').replace('"eu"', '"asia"')
    operator = make(rules, "eu", "us", "asia")
    for name in ("eu", "asia"):
        content.push(operator.registries[name], APP, "v1", content.manifest())
    operator.sync("mirror")

    assert heads(operator.sync("second"), "asia", "us") == [1, 1]


def test_verify_looks_at_everything_and_so_puts_off_the_next_look(operator: Operator) -> None:
    operator.ahead += 6 * DAY
    us, theirs = operator.registries["us"], content.manifest("theirs")
    verified = operator.verify()
    assert verified.report.outcome == "ok"
    assert heads(verified.report)[0] == 1
    operator.ahead += 3 * DAY
    assert heads(operator.sync()) == [0, 0]
    content.push(us, APP, "v1", theirs)

    assert operator.verify().report.total("wrong") == 1
    assert operator.sync().outcome == "partial"


def test_a_plan_takes_them_as_in_step_and_everything_says_how_many(
    operator: Operator, capsys: pytest.CaptureFixture[str]
) -> None:
    eu = operator.registries["eu"]
    eu.forget_requests()
    operator.ahead = timedelta()  # the command line has the host's clock
    config = operator.directory / "rules.toml"
    config.write_text(operator.text())

    assert cli.run(["-c", str(config), "plan"]) == 0
    planned = capsys.readouterr().out
    assert cli.run(["-c", str(config), "sync", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert cli.run(["-c", str(config), "sync"]) == 0
    idle = capsys.readouterr().out
    content.push(eu, APP, "v2", content.manifest("two"))
    assert cli.run(["-c", str(config), "sync"]) == 0
    synced = capsys.readouterr().out

    assert "  immutable * matches 1\n" in planned
    assert "  immutable: 1 taken as in step, last looked at within 7 d\n" in planned
    (rule,) = told["rules"]
    assert (rule["matched"], rule["in_step"], rule["remembered"]) == (1, 1, 1)
    assert "1 tag in step (1 of them immutable, last looked at within 7 d), nothing to do" in idle
    assert "immutable 1 tag taken as in step, last looked at within 7 d\n" in synced
    assert "HEAD" not in eu.methods()
