"""The scheduler around the runs: who waits for whom, and what a run cannot break."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from jobs import once, schedule
from jobs.live import Live
from jobs.once import Once
from jobs.schedule import Schedule
from syncer import errors, rules, state, stores
from syncer.report import Report, RuleReport
from tests.registries import wait_for

KEY = "https://b.example.com"
HEAD = f"""
schema = 1
[registry.a]
url = "https://a.example.com"
[registry.b]
url = "{KEY}"
"""


def rule(name: str, keys: str = 'schedule = "every 1h"') -> str:
    return f'[[replicate]]\nname = "{name}"\nsource = "a"\ntarget = ["b"]\nrepos = ["{name}"]\n{keys}\n'


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[state.State]:
    with state.open_state(f"sqlite:///{tmp_path}/state.db", now=now) as found:
        yield found


def now() -> datetime:
    return datetime.now(UTC)


@contextmanager
def scheduling(
    opened: state.State, text: str, run: Callable[[str], None]
) -> Iterator[tuple[Schedule, Live]]:
    live = Live(rules.loads(HEAD + text), now)
    made = Schedule(live, opened, run)
    made.start()
    try:
        yield made, live
    finally:
        made.stop()


def test_no_rule_waits_for_another(opened: state.State) -> None:
    blocked, passed = threading.Event(), threading.Event()
    names = [f"r{number}" for number in range(40)]

    def run(name: str) -> None:
        if name == names[-1]:
            passed.set()
        else:
            blocked.wait(20)

    with scheduling(opened, "".join(map(rule, names)), run):
        assert passed.wait(20)
        blocked.set()


def test_no_rule_overlaps_itself(opened: state.State) -> None:
    """What comes due while it runs is left out."""
    begun: list[str] = []
    free = threading.Event()

    def run(name: str) -> None:
        begun.append(name)
        free.wait(20)

    with scheduling(opened, rule("r"), run) as (made, _):
        wait_for(lambda: begun == ["r"], "the first run")
        job = made._scheduler.get_job("rule:r")
        job.modify(next_run_time=now())
        wait_for(lambda: made.next_runs()["r"] > now(), "the scheduler to look")
        assert begun == ["r"]
        free.set()


def test_a_failure_comes_again_before_its_schedule_and_success_ends_that(
    opened: state.State,
) -> None:
    outcomes = ["failed", "ok"]

    def run(name: str) -> None:
        opened.rules.finished(name, KEY, started=now(), outcome=outcomes.pop(0))

    with scheduling(opened, rule("r"), run) as (made, _):
        wait_for(lambda: len(outcomes) == 1, "the first run")
        soon = timedelta(seconds=61)
        wait_for(lambda: made.next_runs()["r"] < now() + soon, "the second try")
        made._scheduler.get_job("rule:r").modify(next_run_time=now())
        wait_for(lambda: not outcomes, "the second run")
        wait_for(lambda: made.next_runs()["r"] > now() + soon, "the schedule's own time")


def test_a_failure_does_not_come_again_outside_its_hours(opened: state.State) -> None:
    """Its next run is when they begin: in so many hours, by a clock that is read once."""
    begin = now() + timedelta(hours=2)
    window = f"{begin:%H}:00-{(begin + timedelta(hours=1)):%H}:00"
    opened.rules.finished("r", KEY, started=now(), outcome="failed")
    keys = f'schedule = "every 30m"\nwindow = ["{window}"]'
    with scheduling(opened, rule("r", keys), lambda _: None) as (made, _):
        expected = begin.replace(minute=0, second=0, microsecond=0)
        assert made.next_runs() == {"r": expected}


def test_other_rules_are_taken_up_and_those_that_are_gone_run_no_more(
    opened: state.State,
) -> None:
    for name in ("stays", "goes", "comes", "changes"):
        opened.rules.finished(name, KEY, started=now(), outcome="ok")
    before = rule("stays") + rule("goes") + rule("changes")
    with scheduling(opened, before, lambda _: None) as (made, live):
        first = made.next_runs()
        assert set(first) == {"stays", "goes", "changes"}
        after = rule("stays") + rule("comes") + rule("changes", 'schedule = "every 5h"')
        live.adopt(rules.loads(HEAD + after + rule("by-hand", "")))
        made.plan()
        second = made.next_runs()
        assert set(second) == {"stays", "comes", "changes"}
        assert second["stays"] == first["stays"]
        assert second["changes"] == first["changes"] + timedelta(hours=4)


def test_it_turns_while_runs_are_busy_and_not_when_its_thread_is_gone(
    opened: state.State,
) -> None:
    begun, free = threading.Event(), threading.Event()

    def run(_: str) -> None:
        begun.set()
        free.wait(20)

    with scheduling(opened, rule("r"), run) as (made, _):
        assert begun.wait(20)
        assert made.turning()
        free.set()
    assert not made.turning()


def test_what_is_due_and_not_taken_up_is_not_turning(
    opened: state.State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "_PATIENCE", 0.2)
    with scheduling(opened, rule("r"), lambda _: None) as (made, live):
        assert made.turning()
        live.now = lambda: now() + timedelta(days=1)
        wait_for(lambda: not made.turning(), "it to notice")
        live.now = now
        assert made.turning()


def test_times_are_found_anew_when_the_clock_was_set(
    opened: state.State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a rule whose next time was found with a wrong clock would wait for that time."""
    opened.rules.finished("r", KEY, started=now(), outcome="ok")
    with scheduling(opened, rule("r"), lambda _: None) as (made, _):
        made._scheduler.get_job("rule:r").modify(next_run_time=now() + timedelta(days=4000))
        assert made.turning()
        assert made.next_runs()["r"] > now() + timedelta(days=3000)
        real = schedule._offset()
        monkeypatch.setattr(schedule, "_offset", lambda: real + 3600)
        assert made.turning()
        assert made.next_runs()["r"] < now() + timedelta(hours=2)


class Recorder:
    """What is told after a run."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, bool]] = []

    def __call__(self, name: str, fared: RuleReport, report: Report | None) -> None:
        self.told.append((name, fared.outcome, report is not None))


def runs(
    opened: state.State, monkeypatch: pytest.MonkeyPatch, job: Callable[..., Any], *ended: Any
) -> Once:
    monkeypatch.setattr(once, "replicate", job)
    live = Live(rules.loads(HEAD + rule("r")), now)
    return Once(live, opened, stores.Registries(), ended=ended)


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (errors.StateError("the disk is full"), "run.failed"),
        (errors.CredentialError("no such file"), "run.failed"),
        (ZeroDivisionError("a defect"), "run.crashed"),
    ],
)
def test_what_a_run_raises_is_logged_recorded_and_told_and_goes_no_further(
    opened: state.State, monkeypatch: pytest.MonkeyPatch, error: Exception, event: str
) -> None:
    def job(*_: object) -> Report:
        raise error

    ended = Recorder()
    with structlog.testing.capture_logs() as told:
        runs(opened, monkeypatch, job, ended)("r")
    assert [line["event"] for line in told] == ["run.started", event]
    assert str(error) in told[1]["error"]
    record = opened.rules.get("r", KEY)
    assert (record.last_outcome, record.consecutive_failures) == ("failed", 1)
    assert ended.told == [("r", "failed", False)]


def test_what_a_listener_raises_goes_no_further(
    opened: state.State, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    with structlog.testing.capture_logs() as told:
        runs(opened, monkeypatch, lambda *_: Report("", "sync", {"r": True}), broken)("r")
    assert told[-1]["event"] == "run.crashed"


def test_a_run_ends_at_its_deadline(opened: state.State, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[bool] = []

    def job(environment: Any, name: str) -> Report:
        stopped.append(environment.stop.wait(20))
        return Report("", "sync", {name: True})

    once_ = runs(opened, monkeypatch, job)
    live = Live(rules.loads(HEAD + rule("r", 'schedule = "every 1h"\ndeadline = "1s"')), now)
    monkeypatch.setattr(once_, "_live", live)
    once_("r")
    assert stopped == [True]
    assert not live.stopping


def test_a_run_that_begins_while_the_daemon_stops_is_stopped_too(
    opened: state.State, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = Live(rules.loads(HEAD + rule("r")), now)
    live.stop()
    with live.run("r") as current:
        assert current.stop.is_set()
