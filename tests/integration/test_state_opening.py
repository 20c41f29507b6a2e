"""Opening the state: whose it is, what is in it, and many at once."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from syncer import errors, state
from syncer.state import core, engine, migrate, opening, tables

NOBODY = 65534
SECOND = """
from alembic import op
import sqlalchemy as sa
revision = "0002"
down_revision = "0001"
def upgrade():
    with op.batch_alter_table("run", recreate="always") as run:  # steps refer to it
        run.add_column(sa.Column("note", sa.String(), server_default=""))
    op.create_table("more", sa.Column("id", sa.Integer(), primary_key=True))
"""
KILLER = """
import os, pathlib, signal, sys
from datetime import UTC, datetime
import sqlalchemy
from syncer import state
from syncer.state import migrate
path, head, scripts, fatal = sys.argv[1:]
migrate.HEAD, migrate._SCRIPTS, seen = head, pathlib.Path(scripts), 0
@sqlalchemy.event.listens_for(sqlalchemy.Engine, "after_cursor_execute")
def die(connection, cursor, statement, *rest):
    global seen
    seen += statement.lstrip().startswith(("CREATE", "ALTER", "DROP", "INSERT", "UPDATE"))
    if seen == int(fatal):
        os.kill(os.getpid(), signal.SIGKILL)
state.open_state("sqlite:///" + path, now=lambda: datetime.now(UTC)).close()
"""


def now() -> datetime:
    return datetime.now(UTC)


def open_at(path: Path) -> state.State:
    return state.open_state(f"sqlite:///{path}", now=now)


def schema(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master") if sql}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "state.db"


@pytest.fixture
def later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A syncer whose schema is one version ahead; its migration scripts."""
    scripts = tmp_path / "migrations"
    shutil.copytree(migrate._SCRIPTS, scripts)
    (scripts / "versions" / "v0002_second.py").write_text(SECOND)
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "_SCRIPTS", scripts)
        patch.setattr(migrate, "HEAD", "0002")
        yield scripts


def test_what_it_makes_is_for_its_user_alone(path: Path) -> None:
    with open_at(path) as opened:
        opened.runs.begin("sync")
        modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert len(modes) == 4
    assert set(modes.values()) == {0o600}


def test_the_tables_and_the_migrations_agree(path: Path) -> None:
    open_at(path).close()
    database = core.connect(path)
    with database.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []
    database.dispose()


def test_the_big_tables_have_one_index_and_no_row_numbers(path: Path) -> None:
    """Alembic does not compare this."""
    open_at(path).close()
    made = {sql.split()[2] for sql in schema(path) if "WITHOUT ROWID" in sql}
    assert made == {"tag_seen", "blob_location"}
    assert made == {
        table.name
        for table in tables.metadata.tables.values()
        if not table.dialect_options["sqlite"]["with_rowid"]
    }


def test_head_is_the_last_of_migrations_that_sort_as_text() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrate._SCRIPTS))
    scripts = ScriptDirectory.from_config(config)
    order = [script.revision for script in scripts.walk_revisions()]
    assert order == sorted(order, reverse=True)
    assert scripts.get_current_head() == migrate.HEAD
    assert all(re.fullmatch(r"\d{4}", revision) for revision in order)


def test_a_second_start_does_not_import_alembic(path: Path) -> None:
    open_at(path).close()
    code = (
        "import sys; from datetime import UTC, datetime; from syncer import state;"
        "state.open_state('sqlite:///' + sys.argv[1], now=lambda: datetime.now(UTC)).close();"
        "print('alembic' in sys.modules)"
    )
    assert run(code, str(path)).stdout == "False\n"


def test_four_first_starts_at_once_are_safe(path: Path) -> None:
    path.parent.mkdir()
    code = (
        "import sys; from datetime import UTC, datetime; from syncer import state;"
        "sys.stdin.readline();"
        "s = state.open_state('sqlite:///' + sys.argv[1], now=lambda: datetime.now(UTC));"
        "s.runs.finish(s.runs.begin('sync'), 'ok'); s.close()"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE)
        for _ in range(4)
    ]
    for child in children:
        assert child.stdin
        child.stdin.write(b"go\n")
        child.stdin.close()
    assert [child.wait(60) for child in children] == [0, 0, 0, 0]
    with open_at(path) as opened:
        assert [run.outcome for run in opened.runs.latest()] == ["ok"] * 4


@pytest.mark.parametrize("fatal", [1, 2, 12, 26])
def test_a_kill_while_it_is_made_leaves_nothing_or_all(path: Path, fatal: int) -> None:
    killed = run(KILLER, str(path), migrate.HEAD, str(migrate._SCRIPTS), str(fatal))
    assert killed.returncode == -signal.SIGKILL
    assert migrate.version(path) in ("", migrate.HEAD)
    with open_at(path) as opened:
        assert opened.fresh
        assert opened.runs.latest() == []


@pytest.mark.parametrize("fatal", [1, 2, 3, 4, 8])
def test_a_kill_while_it_migrates_leaves_the_old_or_the_new(
    path: Path, later: Path, fatal: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrate, "HEAD", "0001")
        with open_at(path) as opened:
            run_id = opened.runs.begin("sync")
            opened.runs.record(step(run_id))
            opened.runs.finish(run_id, "ok")
    before = schema(path)
    killed = run(KILLER, str(path), "0002", str(later), str(fatal))
    assert killed.returncode == -signal.SIGKILL
    assert schema(path) == before
    with open_at(path) as opened:
        assert "CREATE TABLE more" in " ".join(schema(path))
        assert len(opened.runs.steps(run_id)) == 1


def test_migrating_keeps_the_rows_and_a_backup_of_what_was(path: Path, later: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrate, "HEAD", "0001")
        with open_at(path) as opened:
            run_id = opened.runs.begin("sync")
            opened.runs.record(step(run_id))
            opened.runs.finish(run_id, "ok")
    with open_at(path) as opened:
        assert len(opened.runs.steps(run_id)) == 1
        assert opened.notices == (f"the state {path} was migrated; as it was: {path}.backup-0001",)
    backup = path.with_name("state.db.backup-0001")
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert migrate.version(path) == "0002"
    with closing(sqlite3.connect(backup)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("0001",)
        assert connection.execute("SELECT count(*) FROM step").fetchone() == (1,)


def test_nothing_is_migrated_under_an_older_syncer_that_runs(
    path: Path, later: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "_PATIENCE", 0.1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrate, "HEAD", "0001")
        older = open_at(path)
    with older, pytest.raises(errors.StateError, match="an older syncer has it open: stop that"):
        open_at(path)
    assert migrate.version(path) == "0001"
    open_at(path).close()
    assert migrate.version(path) == "0002"


def test_a_newer_state_is_refused_and_left_alone(path: Path) -> None:
    open_at(path).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0999'")
    with pytest.raises(errors.NewerStateError, match=r"schema 0999 and this syncer knows 0001"):
        open_at(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("0999",)


def test_a_database_of_something_else_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mine (x)")
    before = path.read_bytes()
    with pytest.raises(errors.StateError, match="not one of syncer's"):
        open_at(path)
    assert path.read_bytes() == before


def test_a_damaged_file_is_set_aside_and_said_so(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database at all" * 100)
    with open_at(path) as opened:
        assert opened.fresh
        (notice,) = opened.notices
    (aside,) = path.parent.glob("state.db.damaged-*")
    assert str(aside) in notice
    assert aside.read_bytes().startswith(b"this is no database")


def test_damage_met_while_running_is_found_by_the_next_start(path: Path) -> None:
    """Pages in the middle are not read at every start: the error leaves a mark to look."""
    with open_at(path) as opened:
        tags = {f"t{number}": f"sha256:{number:064}" for number in range(2000)}
        opened.tags.observe("r", "a", tags, complete=True)
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(size // 2)
        file.write(b"\xff" * (size // 2))
    with open_at(path) as opened, pytest.raises(errors.StateError, match="damaged"):
        opened.tags.seen("r", "a")
    with open_at(path) as opened:
        assert len(opened.notices) == 1
        assert opened.tags.seen("r", "a") == {}
    with open_at(path) as opened:
        assert opened.notices == ()


def test_a_damaged_file_stays_where_it_is_while_another_process_has_it_open(path: Path) -> None:
    code = (
        "import sys; from datetime import UTC, datetime; from syncer import state;"
        "s = state.open_state('sqlite:///' + sys.argv[1], now=lambda: datetime.now(UTC));"
        "print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout
        assert child.stdout.readline() == "open\n"
        with path.open("r+b") as file:
            file.write(b"not a database any more")
        with pytest.raises(errors.StateError, match="stop every syncer that uses it"):
            open_at(path)
        assert path.read_bytes().startswith(b"not a database")
        child.kill()
    with open_at(path) as opened:
        assert len(opened.notices) == 1


def test_a_full_or_locked_file_is_never_set_aside(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_at(path).close()
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.1)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode=DELETE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(errors.StateError, match=r"kept the state .* locked"):
            open_at(path)
    assert not list(path.parent.glob("*.damaged-*"))
    with open_at(path) as opened:
        assert opened.notices == ()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_is_refused_another_users_state_with_the_line_to_type(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_at(path).close()
    os.chown(path, NOBODY, NOBODY)
    monkeypatch.setattr(sys, "argv", ["syncer", "status", "--json"])
    with pytest.raises(errors.ForeignStateError, match=r"sudo -u nobody syncer status --json$"):
        open_at(path)
    assert not path.with_name("state.db-wal").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_makes_no_state_in_another_users_directory(path: Path) -> None:
    path.parent.mkdir()
    os.chown(path.parent, NOBODY, NOBODY)
    with pytest.raises(errors.ForeignStateError, match="belongs to nobody"):
        open_at(path)
    with pytest.raises(errors.ForeignStateError, match="belongs to nobody"):
        open_at(path.parent / "deeper" / "state.db")
    assert list(path.parent.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_state_behind_a_closed_directory_belongs_to_the_directorys_owner() -> None:
    """As an ordinary user who runs `syncer status` beside the service."""
    code = (
        "import os, sys, tempfile, pathlib; from syncer import errors; from syncer.state import files;"
        "top = pathlib.Path(tempfile.mkdtemp()); top.chmod(0o755); (top / 'lib').mkdir(mode=0o700);"
        f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "for place in (top / 'lib' / 'state.db', top / 'state.db'):\n"
        "    try: files.prepare(place)\n"
        "    except errors.ForeignStateError as error: print(error)\n"
    )
    printed = run(code).stdout.splitlines()
    assert len(printed) == 2
    assert all("belongs to root; type: sudo -u root" in line for line in printed)


def test_a_path_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(errors.StateError, match="cannot be made: "):
        open_at(tmp_path / "file" / "state.db")


def step(run_id: str) -> state.Step:
    return state.Step(run_id, "rule", "copy", "done", "r", "a", "1", "sha256:1", now())


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
