"""The status page, the metrics and the probes of a running syncerd."""

from __future__ import annotations

import base64
import hashlib
import html
import re
import signal
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from syncer import state
from syncer.state import Step
from tests import content
from tests.browser import Browser
from tests.daemon import SyncerDaemon, registries, rule, wait_for_request
from tests.registries import Factory, wait_for

HOSTILE = "<script>document.title='owned'</script>\"'&"
POLICY = """
[[retention.policy]]
name = "releases"
registry = "a"
repos = ["old/**"]
schedule = "every 1h"
apply = true
guard = { min_age = "0h" }
  [[retention.policy.rule]]
  tags = "*"
  sort = "semver"
  keep = { last = 3 }
"""


@pytest.fixture(scope="module")
def daemon(
    tmp_path_factory: pytest.TempPathFactory, shared_registries: Factory
) -> Iterator[SyncerDaemon]:
    """A daemon with a rule that is in step, one that fails, one that runs, and a plan."""
    source, target, slow = (shared_registries(name=name) for name in ("web-a", "web-b", "web-c"))
    content.series(source, "prod/app", 6)
    content.series(source, "old/app", 6)
    broken = content.series(source, "broken/app", 2)["v1.0.0"]
    source.blob_file(broken.blobs[-1].digest).write_bytes(b"damaged" * 20)
    known = registries(a=source, b=target, c=slow).replace("5s", "60s")
    rules = known + rule("in-step", ["prod/**"]) + rule("fails", ["broken/**"])
    rules += rule("runs", ["prod/app"], target='["c"]') + POLICY
    found = SyncerDaemon(tmp_path_factory.mktemp("web"), rules)
    _remember_hostile_names(found)
    slow.pause()
    with found:
        found.logged("run.finished", 3)
        wait_for_request(slow)
        yield found
        slow.resume()


def _remember_hostile_names(daemon: SyncerDaemon) -> None:
    """A run of before, whose tags and errors were made up by an attacker."""
    with state.open_state(f"sqlite:///{daemon.state}", now=lambda: datetime.now(UTC)) as opened:
        run = opened.runs.begin("sync", [HOSTILE])
        step = Step(
            run=run,
            rule=HOSTILE,
            action="copy",
            outcome="failed",
            registry=HOSTILE,
            repository=HOSTILE,
            tag=HOSTILE,
            digest="",
            at=datetime.now(UTC),
            reason=HOSTILE,
            code=HOSTILE,
        )
        opened.runs.record(step)
        rules = [{"name": HOSTILE, "reason": HOSTILE, "outcome": "failed"}]
        opened.runs.finish(run, "failed", {"rules": rules, "steps": {HOSTILE: 1}})


def _pages(daemon: SyncerDaemon) -> list[str]:
    found = set(re.findall(r'href="(/[^"]*)"', daemon.get("/")[2]))
    assert {path.split("/")[1] for path in found} == {"", "runs", "rules", "plans"}
    return sorted(found)


def test_the_page_tells_of_every_rule_how_it_fares(daemon: SyncerDaemon) -> None:
    status, headers, page = daemon.get("/")
    assert status == 200
    assert headers["content-type"] == "text/html; charset=utf-8"
    rows = {
        row[0]: row[1]
        for row in re.findall(r'<tr><td data-label="rule"><strong><a[^>]*>([^<]+)(.*?)</tr>', page)
    }
    assert set(rows) == {"in-step", "fails", "runs", "releases"}
    assert ">ok<" in rows["in-step"]
    assert ">partial<" in rows["fails"]
    assert "b/broken/app:v1.0.0" in rows["fails"]
    assert ">running<" in rows["runs"]
    assert "before the first full pass" in rows["runs"]
    assert "plans only" in rows["releases"]
    assert "in 59 min" in rows["in-step"]


def test_each_failed_step_and_its_reason_is_two_clicks_away(daemon: SyncerDaemon) -> None:
    run = daemon.log("run.finished", rule="fails")[0]["run"]
    status, _, page = daemon.get(f"/runs/{run}")
    assert status == 200
    wrong, done = page.split("What went wrong")[1].split("What was done")
    assert "b/broken/app:v1.0.0" in wrong
    assert "SIZE_MISMATCH" in wrong
    assert "b/broken/app:v1.0.1" in done
    assert f"/runs/{run}" in daemon.get("/rules/fails")[2]


def test_a_pending_plan_shows_what_goes_and_why(daemon: SyncerDaemon) -> None:
    plan = daemon.log("plan.stored")[0]["plan"]
    _, _, page = daemon.get(f"/plans/{plan}")
    assert f"syncer apply {plan}" in page
    for tag, gone in (("v1.0.0", True), ("v1.0.2", True), ("v1.0.5", False)):
        assert (f"<code>{tag}</code>" in page) == gone
    assert "3 go, 3 stay" in page


def test_nothing_an_attacker_named_becomes_markup(daemon: SyncerDaemon) -> None:
    found = 0
    for path in _pages(daemon):
        page = daemon.get(path)[2]
        assert "<script" not in page
        assert "'owned'" not in page
        found += html.escape(HOSTILE) in page
    assert found >= 2


def test_every_page_comes_whole_and_shut_in(daemon: SyncerDaemon) -> None:
    for path in _pages(daemon):
        status, headers, page = daemon.get(path)
        assert status == 200, path
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none';")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        (style,) = re.findall("<style>(.*?)</style>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert f"style-src 'sha256-{digest}'" in policy
        assert not re.search(r'(src|href)="(?!/[^/]|/")', page)


@pytest.mark.parametrize("path", ["/runs/nothing", "/plans/nothing", "/rules/nothing", "/x", "//"])
def test_what_is_not_there_is_not_found(daemon: SyncerDaemon, path: str) -> None:
    status, headers, _ = daemon.get(path)
    assert status == 404
    assert "content-security-policy" in headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_nothing_can_be_changed(daemon: SyncerDaemon, method: str) -> None:
    assert daemon.ask(method, "/")[0] == 405


def test_head_is_get_without_a_body(daemon: SyncerDaemon) -> None:
    status, headers, body = daemon.ask("HEAD", "/")
    assert (status, body) == (200, "")
    assert int(headers["content-length"]) > 1000


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:9564", 200),
        ("localhost:1", 200),
        ("LOCALHOST", 200),
        ("[::1]:9564", 200),
        ("attacker.example.com", 421),
        ("attacker.example.com:9564", 421),
        ("127.0.0.1.attacker.example.com", 421),
        ("localhost.attacker.example.com", 421),
        ("192.0.2.1", 421),
        ("", 421),
    ],
)
def test_a_name_that_was_made_to_point_here_is_turned_away(
    daemon: SyncerDaemon, host: str, status: int
) -> None:
    """DNS rebinding: the browser sends the attacker's name."""
    for path in ("/", "/metrics", "/healthz"):
        assert daemon.get(path, Host=host)[0] == status


def test_metrics_are_told_as_prometheus_reads_them(daemon: SyncerDaemon) -> None:
    status, headers, told = daemon.get("/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=")
    samples = [
        sample for family in text_string_to_metric_families(told) for sample in family.samples
    ]
    values = {(s.name, s.labels.get("rule"), s.labels.get("target")): s.value for s in samples}
    assert 0 <= values["syncer_lag_seconds", "in-step", "b"] < 600
    assert ("syncer_lag_seconds", "runs", "c") not in values
    assert values["syncer_lag_tags", "fails", "b"] == 1
    assert values["syncer_rule_running", "runs", None] == 1
    drops = [s.value for s in samples if s.name == "syncer_prune_pending_drops"]
    assert drops == [3]
    assert not any(HOSTILE in each for sample in samples for each in sample.labels.values())


def test_the_probes_follow_the_daemon(tmp_path: Path, registry: Factory, repository: str) -> None:
    source, target = registry(), registry()
    content.series(source, repository, 1)
    source.pause()
    rules = registries(a=source, b=target).replace("5s", "60s") + rule("r", [repository])
    with SyncerDaemon(tmp_path, rules) as running:
        assert running.get("/healthz")[0] == running.get("/readyz")[0] == 200
        wait_for_request(source)
        running.send(signal.SIGTERM)
        wait_for(lambda: running.get("/readyz")[0] == 503, "it to be no longer ready")
        assert running.get("/healthz")[0] == 200
        source.resume()
        assert running.wait() == 0


def test_an_address_that_is_taken_is_said_in_one_sentence(
    tmp_path: Path, daemon: SyncerDaemon
) -> None:
    second = SyncerDaemon(tmp_path)
    taken = daemon.url.removeprefix("http://")
    second.config.write_text(second.config.read_text().replace("127.0.0.1:0", taken))
    second.start()
    assert second.wait() == 2
    lines = second.log_file.read_text().splitlines()
    assert f"cannot listen on {taken}: Address already in use" in lines[-1]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_fits_its_window_and_asks_nobody_else(
    daemon: SyncerDaemon, browser: Browser, tmp_path: Path, width: int, *, dark: bool
) -> None:
    for path in _pages(daemon):
        url = f"{daemon.url}{path}"
        browser.open(url, width, dark=dark)
        assert browser.evaluate("innerWidth") == width
        beyond = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert browser.evaluate(beyond) == 0, path
        assert browser.evaluate("document.title").endswith(f"syncer on {socket.gethostname()}")
        assert [each for each in browser.requests() if "favicon" not in each] == [url]
        assert [each for each in browser.complaints() if "404" not in each] == []
        smallest = "Math.min(...[...document.querySelectorAll('td,p,a')].map(e =>"
        assert browser.evaluate(f"{smallest} parseFloat(getComputedStyle(e).fontSize)))") >= 13
    browser.open(f"{daemon.url}/", width, dark=dark)
    assert _contrast(browser) >= 4.5
    browser.picture(tmp_path / "status.png")
    assert (tmp_path / "status.png").read_bytes().startswith(b"\x89PNG")


def _contrast(browser: Browser) -> float:
    """The least contrast of a badge's text with what is behind it (WCAG 2, relative luminance)."""
    colours = browser.evaluate(
        "[...document.querySelectorAll('.badge, .alert, .note')].map(e =>"
        " [getComputedStyle(e).color, getComputedStyle(e).backgroundColor])"
    )
    assert colours
    return min(_ratio(*map(_luminance, pair)) for pair in colours)


def _luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _ratio(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)
