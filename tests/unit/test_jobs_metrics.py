"""What Prometheus is told, and that the alert rules and the dashboard ask for nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from jobs.live import Live
from jobs.metrics import Metrics
from jobs.standing import Standing
from syncer import events, rules, state
from syncer.report import Report, RuleReport

DOCS = Path(__file__).parents[2] / "docs" / "monitoring"
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
RULES = """
schema = 1
[registry.a]
url = "https://a.example.com"
[registry.b]
url = "https://b.example.com"
[[replicate]]
name = "mirror"
source = "a"
target = ["b"]
repos = ["x"]
schedule = "every 1h"
[[retention.policy]]
name = "prune"
registry = "b"
repos = ["x"]
[[retention.policy.rule]]
tags = "*"
keep = { last = 3 }
"""
_WORDS = frozenset(
    [
        "absent",
        "and",
        "by",
        "changes",
        "increase",
        "instance",
        "max",
        "min",
        "on",
        "or",
        "rate",
        "sum",
        "time",
        "unless",
        "vector",
        "le",
        "histogram_quantile",
    ]
)

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Daemon:
    """What a daemon's metrics are made of."""

    def __init__(self, opened: state.State) -> None:
        self.state = opened
        self.now = NOW
        self.live = Live(rules.loads(RULES), lambda: self.now)
        self.metrics = Metrics()
        self.next_runs = {"mirror": NOW + timedelta(hours=1)}
        standing = Standing(self.live, opened, lambda: self.next_runs)
        self.metrics.registry.register(standing)

    def samples(self) -> Samples:
        """Every sample as a scrape gives it."""
        told = generate_latest(self.metrics.registry).decode()
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(told)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        """One sample; None where there is none."""
        return self.samples().get((name, frozenset(labels.items())))

    def finished(self, outcome: str, ago: timedelta, **fields: Any) -> None:
        """Records a run of `mirror` that began so long ago."""
        self.state.rules.finished(
            "mirror", "https://b.example.com", started=NOW - ago, outcome=outcome, **fields
        )


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with state.open_state(f"sqlite:///{tmp_path}/state.db", now=lambda: NOW) as opened:
        made = Daemon(opened)
        yield made


def test_lag_counts_from_the_start_of_the_last_run_in_step_and_grows(daemon: Daemon) -> None:
    daemon.finished("ok", timedelta(minutes=30), in_step=True, full_pass=True)
    assert daemon.value("syncer_lag_seconds", rule="mirror", target="b") == 1800
    daemon.finished("failed", timedelta(minutes=1), tags_behind=7)
    daemon.now = NOW + timedelta(hours=1)
    assert daemon.value("syncer_lag_seconds", rule="mirror", target="b") == 5400
    assert daemon.value("syncer_lag_tags", rule="mirror", target="b") == 7


def test_there_is_no_lag_before_the_first_full_pass(daemon: Daemon) -> None:
    assert daemon.value("syncer_lag_seconds", rule="mirror", target="b") is None
    for in_step in (False, True):
        daemon.finished("interrupted", timedelta(days=3), in_step=in_step, full_pass=False)
        assert daemon.value("syncer_lag_seconds", rule="mirror", target="b") is None


def test_the_last_outcome_is_one_among_all(daemon: Daemon) -> None:
    daemon.finished("refused", timedelta(minutes=1))
    found = {
        dict(labels)["outcome"]: value
        for (name, labels), value in daemon.samples().items()
        if name == "syncer_rule_last_outcome"
    }
    assert found.pop("refused") == 1
    assert set(found.values()) == {0}
    failures = daemon.value("syncer_rule_consecutive_failures", rule="mirror", target="b")
    assert failures == 1


def test_rules_that_are_gone_from_the_file_are_gone_from_the_gauges(daemon: Daemon) -> None:
    daemon.finished("ok", timedelta(minutes=1))
    daemon.live.ended("mirror", RuleReport("mirror"), None)
    daemon.live.adopt(rules.loads("schema = 1\n"))
    daemon.next_runs = {}
    gauges = [labels for (_, labels) in daemon.samples() if ("rule", "mirror") in labels]
    assert gauges == []


def test_what_runs_and_what_it_has_not_placed_is_told(daemon: Daemon) -> None:
    with daemon.live.run("mirror") as current:
        current(events.StepsPlanned("mirror", "b", "x", 2, 0, 1000))
        current(events.BlobDone("b", "x", "sha256:0", 400, "copied"))
        assert daemon.value("syncer_rule_running", rule="mirror") == 1
        assert daemon.value("syncer_pending_bytes", rule="mirror") == 600
    assert daemon.value("syncer_rule_running", rule="mirror") == 0
    assert daemon.value("syncer_pending_bytes", rule="mirror") == 0


def test_what_the_pending_plan_would_drop_is_told(daemon: Daemon) -> None:
    assert daemon.value("syncer_prune_pending_drops", policy="prune") == 0
    plans = daemon.state.plans
    plans.complete(plans.create(["prune"], "", NOW + timedelta(days=1)), "", {"drops": 12})
    assert daemon.value("syncer_prune_pending_drops", policy="prune") == 12


def test_a_wrong_file_is_told(daemon: Daemon) -> None:
    assert daemon.value("syncer_rules_file_valid") == 1
    daemon.live.problem = "rules.toml:1 nonsense"
    assert daemon.value("syncer_rules_file_valid") == 0


def test_events_are_counted_by_words_and_names_alone(daemon: Daemon) -> None:
    """No label holds a repository, tag, digest or sentence."""
    for event in EVENTS:
        daemon.metrics.observe(event)
    assert daemon.value("syncer_requests_total", registry="a", method="GET", status="429") == 1
    assert daemon.value("syncer_request_retries_total", registry="a") == 2
    assert daemon.value("syncer_rate_limit_waits_total", registry="a") == 1
    assert daemon.value("syncer_rate_limit_wait_seconds_total", registry="a") == 3
    assert daemon.value("syncer_circuit_open", registry="a") == 1
    assert daemon.value("syncer_blob_bytes_total", registry="a", direction="read") == 5
    assert daemon.value("syncer_blobs_total", registry="b", how="mounted") == 1
    dropped = {"rule": "prune", "action": "drop", "outcome": "done"}
    assert daemon.value("syncer_steps_total", **dropped) == 1
    names = {"mirror", "prune", "a", "b", "GET", "429", "read", "mounted", "drop", "done"}
    known = names | {"ok", "empty", "held", "partial", "failed", "refused", "interrupted"}
    for name, labels in daemon.samples():
        if name != "syncer_build_info":
            assert {value for label, value in labels if label != "le"} <= known, name


EVENTS = (
    events.RequestDone("a", "GET", 429, 0.2),
    events.Retried("a", "GET", "slow down", 3.0, 429),
    events.Retried("a", "GET", "broke off", 1.0),
    events.CircuitChanged("a", opened=True, reason="it fails"),
    events.BytesMoved("a", "read", 5),
    events.BlobDone("b", "secret/repo", "sha256:0", 5, "mounted"),
    events.StepDone("prune", "drop", "done", "b", "secret/repo", "v1", "sha256:0"),
    events.StepsPlanned("mirror", "b", "secret/repo", 1, 0),
    events.Noticed("mirror", "b/secret/repo", "WARNING", "a sentence"),
)


def test_runs_are_counted_with_their_duration(daemon: Daemon) -> None:
    report = Report("id", "sync", {"mirror": True})
    report.seconds = 4.0
    daemon.metrics.ended("mirror", report.rules["mirror"], report)
    assert daemon.value("syncer_runs_total", rule="mirror", outcome="ok") == 1
    assert daemon.value("syncer_run_duration_seconds_sum", rule="mirror") == 4


def test_the_process_itself_is_told(daemon: Daemon) -> None:
    assert (daemon.value("process_resident_memory_bytes") or 0) > 10_000_000


def _told(daemon: Daemon) -> dict[str, set[str]]:
    """Every series that a busy daemon tells, with the names of its labels."""
    for event in EVENTS:
        daemon.metrics.observe(event)
    daemon.metrics.noticed(delivered=False)
    daemon.finished("ok", timedelta(minutes=1), in_step=True, full_pass=True)
    for name in ("mirror", "prune"):
        report = Report("id", "sync", {name: True})
        daemon.metrics.ended(name, report.rules[name], report)
        daemon.live.ended(name, report.rules[name], None)
    return {name: {label for label, _ in labels} for name, labels in daemon.samples()}


def _asked(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Each series that an expression asks for, with the labels it selects by."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    for name, selector in re.findall(r"([a-z_]+[a-z])(?:\{([^}]*)\})?", _without_groups(bare)):
        if name not in _WORDS:
            yield name, set(re.findall(r"(\w+)\s*[=!]", selector))


def _without_groups(expression: str) -> str:
    """An expression without ranges, and without the labels after `by` and `on`."""
    return re.sub(r"\[[^\]]*\]|\b(by|on) \([^)]*\)", "", expression)


def _expressions() -> list[tuple[str, str]]:
    alerts = json.loads((DOCS / "alerts.json").read_text())
    dashboard = json.loads((DOCS / "dashboard.json").read_text())
    return [
        *((rule["alert"], rule["expr"]) for group in alerts["groups"] for rule in group["rules"]),
        *(
            (panel["title"], target["expr"])
            for panel in dashboard["panels"]
            for target in panel["targets"]
        ),
    ]


def test_alerts_and_panels_ask_for_what_is_told(daemon: Daemon) -> None:
    told = _told(daemon)
    for title, expression in _expressions():
        asked = list(_asked(expression))
        assert asked, title
        for name, labels in asked:
            assert name in told, f"{title}: no {name}"
            assert labels <= told[name] | {"instance"}, f"{title}: {name} has {told[name]}"


def test_every_metric_is_shown_somewhere(daemon: Daemon) -> None:
    """But for those that a person looks up."""
    asked = {name for _, expression in _expressions() for name, _ in _asked(expression)}
    told = {name for name in _told(daemon) if name.startswith("syncer_")}
    looked_up = {
        "syncer_rules_loaded_timestamp_seconds",
        "syncer_rule_last_run_timestamp_seconds",
        "syncer_request_duration_seconds_sum",
        "syncer_request_duration_seconds_count",
    }
    assert told - asked == looked_up


def test_alerts_say_what_is_wrong_and_what_to_do() -> None:
    alerts = json.loads((DOCS / "alerts.json").read_text())
    found = [rule for group in alerts["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in found}) == len(found) >= 10
    for rule in found:
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"\d+[mh]", rule["for"])
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["expr"].count("(") == rule["expr"].count(")")
