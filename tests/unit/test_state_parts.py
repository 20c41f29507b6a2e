"""The parts of the state that need no database."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite

from syncer import errors
from syncer.state import engine, files, ids, tables
from syncer.state.presence import Presence

NOW = datetime(2026, 11, 22, 7, 0, tzinfo=UTC)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(
    st.integers(min_value=0, max_value=10**12),
    st.integers(min_value=0, max_value=10**12),
)
def test_ids_sort_by_time(first: int, second: int) -> None:
    start = datetime(2020, 1, 1, tzinfo=UTC)
    early, late = sorted((first, second))
    if early == late:
        return
    assert ids.new(start + timedelta(milliseconds=early)) < ids.new(
        start + timedelta(milliseconds=late)
    )


def test_ids_of_one_moment_differ() -> None:
    assert len({ids.new(NOW) for _ in range(20)}) > 10


@pytest.mark.parametrize(
    "url",
    ["", "sqlite://", "sqlite:///", "sqlite:///:memory:", "postgresql:///x", "/var/lib/state.db"],
)
def test_a_url_that_names_no_file_is_refused_with_one_that_would_do(url: str) -> None:
    with pytest.raises(errors.StateError, match=r"write sqlite:////var/lib/syncer/state\.db"):
        files.locate(url)


def test_four_slashes_are_an_absolute_path_and_three_a_relative_one() -> None:
    assert files.locate("sqlite:////var/lib/s.db") == Path("/var/lib/s.db")
    assert files.locate("sqlite:///s.db") == Path.cwd() / "s.db"


def test_a_moment_is_stored_in_utc_and_comes_back_aware() -> None:
    moment, dialect = tables.Moment(), sqlite.dialect()
    local = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    stored = moment.process_bind_param(local, dialect)
    assert stored == datetime(2026, 1, 1, 10, tzinfo=UTC)
    assert stored.utcoffset() == timedelta()
    naive = datetime(2026, 1, 1, 10)  # noqa: DTZ001  (what SQLite hands back)
    assert moment.process_result_value(naive, dialect) == local


def test_a_naive_moment_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        tables.Moment().process_bind_param(datetime(2026, 1, 1), sqlite.dialect())  # noqa: DTZ001


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (sqlite3.SQLITE_FULL, "no space left for the state"),
        (sqlite3.SQLITE_READONLY, "cannot be written"),
        (sqlite3.SQLITE_CANTOPEN, "cannot be opened"),
        (sqlite3.SQLITE_BUSY, "locked for 30 seconds"),
        (sqlite3.SQLITE_IOERR_WRITE, "fails or is full"),
        (sqlite3.SQLITE_CORRUPT, "is damaged"),
        (sqlite3.SQLITE_NOTADB, "is damaged"),
        (sqlite3.SQLITE_ERROR, "cannot be used: it said no"),
    ],
)
def test_every_error_of_sqlite_becomes_one_sentence(tmp_path: Path, code: int, words: str) -> None:
    path = tmp_path / "state.db"
    error = sqlite3.OperationalError("it said no")
    error.sqlite_errorcode = code
    with pytest.raises(errors.StateError, match=words) as caught, engine.translated(path):
        raise error
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY])
def test_only_damage_makes_the_next_start_look_through_the_file(tmp_path: Path, code: int) -> None:
    path = tmp_path / "state.db"
    error = sqlite3.OperationalError("x")
    error.sqlite_errorcode = code
    engine.explain(error, path)
    assert not engine.suspect(path).exists()
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    engine.explain(error, path)
    assert engine.suspect(path).exists()


def test_a_slot_is_alive_while_its_process_is_and_dead_after(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    mine = Presence(lock)
    code = (
        "import sys, pathlib; from syncer.state.presence import Presence;"
        "print(Presence(pathlib.Path(sys.argv[1])).slot, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout
        slot = child.stdout.readline().strip()
        assert not mine.is_dead(slot)
        child.kill()
    assert mine.is_dead(slot)
    assert not mine.is_dead(mine.slot)
    mine.close()


def test_a_slot_of_another_lock_file_cannot_be_called_dead(tmp_path: Path) -> None:
    """Somebody removed the lock file of a living process: its lease must not be taken over."""
    old = Presence(tmp_path / "lock")
    (tmp_path / "lock").rename(tmp_path / "elsewhere")
    new = Presence(tmp_path / "lock")
    assert not new.is_dead(old.slot)
    old.close()
    new.close()


def test_only_the_first_is_alone(tmp_path: Path) -> None:
    first, second = Presence(tmp_path / "lock"), Presence(tmp_path / "lock")
    assert first.enter()
    first.share()
    assert not second.enter()
    first.close()
    assert second.enter()
    second.close()
