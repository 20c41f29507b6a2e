"""Batches, and a disk that is full."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from syncer import errors, events, state
from syncer.state import engine, writer

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[state.State]:
    with state.open_state(f"sqlite:///{tmp_path}/state.db", now=lambda: NOW) as it:
        yield it


def step(run: str, tag: str = "1", reason: str = "") -> state.Step:
    return state.Step(run, "rule", "copy", "done", "r", "a", tag, "sha256:1", NOW, reason=reason)


def test_steps_of_all_threads_are_stored_before_the_run_ends(opened: state.State) -> None:
    run = opened.runs.begin("sync")

    def work(worker: int) -> None:
        for number in range(300):
            opened.runs.record(step(run, f"{worker}-{number}"))

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    opened.runs.finish(run, "ok", {"steps": 2400})
    tags = [each.tag for each in opened.runs.steps(run, limit=5000)]
    assert len(tags) == len(set(tags)) == 2400
    for worker in range(8):  # each thread's own order is kept
        mine = [tag for tag in tags if tag.startswith(f"{worker}-")]
        assert mine == [f"{worker}-{number}" for number in range(300)]


def test_rows_are_stored_without_a_flush(opened: state.State) -> None:
    run = opened.runs.begin("sync")
    opened.runs.record(step(run))
    rows = opened._writer
    with rows._changed:
        assert rows._changed.wait_for(lambda: rows._stored == 1, 10)
    assert len(opened.runs.steps(run)) == 1


def test_rows_are_stored_in_few_transactions(
    opened: state.State, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = opened.runs.begin("sync")
    told: list[str] = []
    adapt(opened, monkeypatch, lambda connection: connection.set_trace_callback(told.append))
    for number in range(10 * writer.BATCH):
        opened.runs.record(step(run, str(number)))
    opened.flush()
    assert 1 <= told.count("COMMIT") <= 25


def test_closing_stores_what_is_left(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    with state.open_state(url, now=lambda: NOW) as first:
        run = first.runs.begin("sync")
        first.runs.record(step(run))
    with state.open_state(url, now=lambda: NOW) as second:
        assert len(second.runs.steps(run)) == 1


def test_a_listener_records_the_steps_of_its_run(opened: state.State) -> None:
    run = opened.runs.begin("sync")
    tell = opened.runs.listen(run, {"eu": "https://eu.example"}.__getitem__)
    tell(events.RequestDone("eu", "GET", 200, 0.1))
    tell(events.StepDone("rule", "copy", "failed", "eu", "a", "1", "d", "p", "why", "DENIED", 7))
    opened.flush()
    assert opened.runs.steps(run) == [
        state.Step(
            *(run, "rule", "copy", "failed", "https://eu.example", "a", "1", "d", NOW),
            previous="p",
            reason="why",
            code="DENIED",
            size=7,
        )
    ]


def adapt(
    opened: state.State,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[sqlite3.Connection], object],
) -> None:
    """Changes every connection of the state from here on."""
    connect = engine.connect

    def changed(path: Path, *, detect_types: int = 0) -> sqlite3.Connection:
        connection = connect(path, detect_types=detect_types)
        change(connection)
        return connection

    monkeypatch.setattr(engine, "connect", changed)
    opened._database.close()


def test_a_full_disk_is_one_sentence_to_every_caller_and_nobody_waits(
    opened: state.State, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = opened.runs.begin("sync")
    # SQLite takes it as "no more pages than now".
    adapt(opened, monkeypatch, lambda each: each.execute("PRAGMA max_page_count=1"))
    tell = opened.runs.listen(run, str)

    def work() -> None:
        for _ in range(2 * writer._BACKLOG):
            opened.runs.record(step(run, reason="x" * 1000))

    caught: list[errors.StateError] = []

    def worker() -> None:
        try:
            work()
        except errors.StateError as error:
            caught.append(error)

    threads = [threading.Thread(target=worker) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    sentence = f"no space left for the state {opened.path}: free some on that disk and run again"
    assert [str(error) for error in caught] == [sentence] * 4
    with pytest.raises(errors.StateError, match="no space left"):
        opened.runs.finish(run, "ok")
    tell(events.StepDone("rule", "copy", "done", "r", "a", "1", "d"))  # observers never raise
    opened.blobs.remember("r", "a", ["sha256:1"])


def test_a_row_that_cannot_be_stored_leaves_nobody_waiting(
    opened: state.State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even a mistake of ours in the writing thread ends every wait."""
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    opened._writer.record(object())
    with pytest.raises(errors.StateError, match="the thread that writes the state ended"):
        opened.flush()


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="only root can mount")
def test_a_really_full_disk(tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("this root may not mount")
    try:
        opened = state.open_state(f"sqlite:///{place}/state.db", now=lambda: NOW)
        run = opened.runs.begin("sync")
        with pytest.raises(errors.StateError, match=r"no space left|fails or is full"):
            write_on(opened, run)
        with pytest.raises(errors.StateError):
            opened.leases.acquire("r", "a", "x")
        opened.close()
        with pytest.raises(errors.StateError):
            fill(place)
    finally:
        subprocess.run(["umount", str(place)], check=True)


def write_on(opened: state.State, run: str) -> None:
    for _ in range(2000):
        opened.runs.record(step(run, reason="x" * 1000))
        opened.flush()


def fill(place: Path) -> None:
    """A state that cannot even be begun."""
    (place / "state.db").unlink()
    (place / "rest").write_bytes(b"")
    with (place / "rest").open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass
    state.open_state(f"sqlite:///{place}/new/state.db", now=lambda: NOW)
