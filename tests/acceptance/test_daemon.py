"""The life of syncerd: start, signals, reload, catching up; a process seen from outside."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

from syncer import state
from tests import content
from tests.daemon import SyncerDaemon, registries, rule, wait_for_request
from tests.registries import Factory, wait_for


def test_ready_is_told_once_the_first_schedule_is_set_and_it_then_runs(
    tmp_path: Path, make_registry: Factory, repository: str
) -> None:
    source, target = make_registry(name="a"), make_registry(name="b")
    content.series(source, repository, 3)
    rules = registries(a=source, b=target) + rule("mirror", [repository])
    with SyncerDaemon(tmp_path, rules) as daemon:
        assert daemon.log("daemon.ready", rules=1)
        (done,) = daemon.logged("run.finished", outcome="ok")
        assert done["rule"] == "mirror"
        assert content.tags(target, repository) == content.tags(source, repository)
        copies = daemon.log("step.done", action="copy", run=done["run"], rule="mirror")
        assert len(copies) == 3


def test_a_wrong_file_ends_the_start_with_78_and_every_problem(tmp_path: Path) -> None:
    daemon = SyncerDaemon(tmp_path, "[registry.a]\nulr = 1\n[registry.b]\nurl = 2\n")
    daemon.start()
    assert daemon.wait() == 78
    told = daemon.log_file.read_text()
    assert "unknown key" in told
    assert "registry.b.url" in told
    assert "READY=1" not in daemon.messages
    assert not daemon.state.exists()


def test_a_missing_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    daemon = SyncerDaemon(tmp_path)
    daemon.config.unlink()
    daemon.start()
    assert daemon.wait() == 78
    assert str(daemon.config) in daemon.log_file.read_text()


def test_sigterm_ends_an_idle_daemon_with_0(tmp_path: Path) -> None:
    with SyncerDaemon(tmp_path) as daemon:
        daemon.send(signal.SIGTERM)
        assert daemon.wait() == 0
        wait_for(lambda: daemon.count("STOPPING=1") == 1, "STOPPING")


def test_a_drain_breaks_off_what_is_not_done_in_time_and_records_it(
    tmp_path: Path, registry: Factory, repository: str
) -> None:
    source, target = registry(), registry()
    content.series(source, repository, 3)
    rules = registries(a=source, b=target) + rule("mirror", [repository])
    source.pause()
    daemon = SyncerDaemon(tmp_path, rules.replace("5s", "60s"), daemon='drain = "1s"')
    with daemon:
        wait_for_request(source)
        daemon.send(signal.SIGTERM)
        assert daemon.wait() == 0
        assert daemon.log("daemon.breaking_off", running=["mirror"])
    with state.open_state(f"sqlite:///{daemon.state}", now=_now) as opened:
        assert [run.outcome for run in opened.runs.latest()] == ["interrupted"]


def test_a_second_signal_ends_it_at_once_and_that_is_recorded(
    tmp_path: Path, registry: Factory, repository: str
) -> None:
    source, target = registry(), registry()
    content.series(source, repository, 3)
    source.pause()
    rules = registries(a=source, b=target) + rule("mirror", [repository])
    with SyncerDaemon(tmp_path, rules.replace("5s", "60s")) as daemon:
        wait_for_request(source)
        daemon.send(signal.SIGTERM)
        daemon.until("STOPPING=1")
        daemon.send(signal.SIGINT)
        assert daemon.wait(5) == 130
    with state.open_state(f"sqlite:///{daemon.state}", now=_now) as opened:
        assert [run.outcome for run in opened.runs.latest()] == ["interrupted"]


def test_a_wrong_file_on_reload_keeps_the_rules_before_and_says_so(tmp_path: Path) -> None:
    with SyncerDaemon(tmp_path) as daemon:
        daemon.write("[registry.a]\nulr = 1\n")
        daemon.send(signal.SIGHUP)
        daemon.until("READY=1", 2)
        (rejected,) = daemon.log("rules.rejected")
        assert "unknown key" in rejected["problems"][0]
        reloading = [message for message in daemon.messages if "RELOADING=1" in message]
        assert len(reloading) == 1
        assert "MONOTONIC_USEC=" in reloading[0]
        wrong = "STATUS=idle; the rules file is wrong, the rules before it stay in force; "
        assert daemon.messages[-2].startswith(wrong)
        daemon.write("")
        daemon.send(signal.SIGHUP)
        daemon.until("READY=1", 3)
        assert daemon.messages[-2] == f"STATUS=idle; {daemon.url}/"


def test_a_reload_leaves_what_runs_alone_and_runs_what_is_new(
    tmp_path: Path, registry: Factory, repository: str
) -> None:
    source, target = registry(), registry()
    content.series(source, repository, 3)
    known = registries(a=source, b=target).replace("5s", "60s")
    source.pause()
    with SyncerDaemon(tmp_path, known + rule("old", [repository])) as daemon:
        wait_for_request(source)
        daemon.write(known + rule("new", [repository], rename='"copy/{repo}"'))
        daemon.send(signal.SIGHUP)
        daemon.logged("run.started", rule="new")
        source.resume()
        daemon.logged("run.finished", rule="old", outcome="ok")
        daemon.logged("run.finished", rule="new", outcome="ok")
    assert content.tags(target, repository) == content.tags(target, f"copy/{repository}")


def test_a_missed_time_is_made_up_for_once_and_one_that_was_kept_is_not(
    tmp_path: Path, make_registry: Factory, repository: str
) -> None:
    source, target = make_registry(name="a"), make_registry(name="b")
    content.series(source, repository, 1)
    yearly = '"0 0 1 1 *"'
    rules = registries(a=source, b=target)
    rules += rule("missed", [repository], schedule=yearly)
    rules += rule("kept", [repository], schedule=yearly)
    rules += rule("new", [repository], schedule=yearly)
    daemon = SyncerDaemon(tmp_path, rules)
    with state.open_state(f"sqlite:///{daemon.state}", now=_now) as opened:
        for name, ago in (("missed", timedelta(days=800)), ("kept", timedelta(seconds=1))):
            opened.rules.finished(name, target.url, started=_now() - ago, outcome="ok")
    with daemon:
        daemon.logged("run.finished", rule="missed", outcome="ok")
        daemon.send(signal.SIGTERM)
        assert daemon.wait() == 0
        assert {line["rule"] for line in daemon.log("run.started")} == {"missed"}
    with daemon:
        daemon.send(signal.SIGTERM)
        assert daemon.wait() == 0
        assert not daemon.log("run.started")


def test_a_second_daemon_on_the_same_state_is_refused(tmp_path: Path) -> None:
    with SyncerDaemon(tmp_path) as first:
        second = SyncerDaemon(tmp_path / "second")
        second.config.write_text(first.config.read_text())
        second.start()
        assert second.wait() == 75
        assert f"another syncerd (process {first.pid})" in second.log_file.read_text()


def test_the_watchdog_hears_of_a_daemon_whose_every_thread_is_busy(
    tmp_path: Path, registry: Factory
) -> None:
    source, target = registry(), registry()
    source.pause()
    rules = registries(a=source, b=target).replace("5s", "60s")
    rules += "".join(rule(f"rule-{number}", ["x"]) for number in range(140))
    environment = {"WATCHDOG_USEC": "400000"}
    with SyncerDaemon(tmp_path, rules, environment=environment) as daemon:
        daemon.logged("run.started", 128)  # jobs.schedule.MOST_RUNS
        daemon.until("WATCHDOG=1", daemon.count("WATCHDOG=1") + 5)


def test_a_watchdog_of_another_process_is_left_alone(tmp_path: Path) -> None:
    environment = {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}
    with SyncerDaemon(tmp_path, environment=environment) as daemon:
        daemon.send(signal.SIGHUP)
        daemon.until("READY=1", 2)


def _now() -> datetime:
    return datetime.now(UTC)
