"""Plain SQL beside SQLAlchemy: one schema, one way to store a value, one queue of writers."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite

from syncer import state
from syncer.state import engine, tables, values

NOW = datetime(2026, 11, 22, 7, tzinfo=UTC)
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(1000, 1, 1), datetime(3000, 1, 1), timezones=ZONES)  # noqa: DTZ001
REPLICATION = """
import sys
from datetime import UTC, datetime
from syncer import manifest, run, state
now = datetime(2026, 11, 22, tzinfo=UTC)
bytes = manifest.parse(b'{"schemaVersion": 2, "manifests": []}', manifest.OCI_INDEX)
with state.open_state("sqlite:///" + sys.argv[1], now=lambda: now) as opened:
    opened.recover()
    id = opened.runs.begin("sync", ["rule"], "digest")
    opened.rules.started("rule", "r")
    with opened.leases.acquire("r", "a", id) as lease:
        lease.check()
        opened.leases.renew()
    assert not opened.leases.held() and opened.leases.holder("r", "a") is None
    opened.tags.observe("r", "a", {"1": "x"}, complete=True)
    opened.tags.mark_ours("r", "a", {"1": "x"}, source=("s", "b"), evidence=[("1", now)])
    assert opened.tags.seen("r", "a")["1"]["x"].ours
    opened.blobs.remember("r", "a", ["sha256:1"])
    opened.runs.record(state.Step(id, "rule", "copy", "done", "r", "a", "1", "x", now))
    opened.flush()
    assert opened.blobs.locations("r", ["sha256:1"])
    opened.blobs.forget("r", "a", "sha256:1")
    drops = opened.drops.intend("r", "a", [state.Drop("1", bytes)], run=id, expires=now)
    opened.drops.confirm(drops)
    opened.drops.cancel(drops)
    assert not opened.drops.suppressed("r", "a")
    opened.rules.finished("rule", "r", started=now, outcome="ok")
    assert opened.rules.all() == [opened.rules.get("rule", "r")]
    assert opened.runs.get(id) == opened.runs.active()[0]
    opened.runs.finish(id, "ok", {"seconds": 1})
    assert opened.fresh
    opened.confirm_operator()
print(*{"alembic", "sqlalchemy", "sqlmodel"} & set(sys.modules))
"""


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[state.State]:
    with state.open_state(f"sqlite:///{tmp_path}/state.db", now=lambda: NOW) as it:
        yield it


def statements() -> Iterator[str]:
    """Every text in the package that is SQL: what constants hold, and what stands elsewhere."""
    for found in pkgutil.iter_modules(state.__path__):
        if found.ispkg:
            continue
        module = importlib.import_module(f"syncer.state.{found.name}")
        texts = {value for value in vars(module).values() if isinstance(value, str)}
        for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(node.value)
        yield from (text for text in texts if re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE) ", text))


def test_every_plain_statement_fits_the_tables(opened: state.State) -> None:
    """The migrations make the tables and are compared with them, so this schema is theirs."""
    found = set(statements())
    with closing(sqlite3.connect(opened.path)) as connection:
        for statement in found:
            given = dict.fromkeys(re.findall(r":(\w+)", statement))
            connection.execute(f"EXPLAIN {statement}", given or [None] * statement.count("?"))
    verbs = {statement.split()[0] for statement in found}
    assert verbs == {"SELECT", "INSERT", "UPDATE", "DELETE"}


def test_a_replication_run_imports_no_sqlalchemy(opened: state.State) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", REPLICATION, str(opened.path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "\n", "")


@settings(max_examples=100, derandomize=True, deadline=None)
@given(MOMENTS, MOMENTS)
def test_a_moment_is_stored_as_sqlalchemy_stores_it_and_sorts_as_text(
    one: datetime, other: datetime
) -> None:
    dialect = sqlite.dialect()
    bind = tables.Moment().dialect_impl(dialect).bind_processor(dialect)
    assert bind
    assert values.to_text(one) == bind(one)
    assert values.to_moment(values.to_text(one).encode()) == one
    assert (values.to_text(one) < values.to_text(other)) == (one < other)


def test_a_naive_moment_is_never_stored(opened: state.State) -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001
    with pytest.raises(ValueError, match="no time zone"):
        opened.tags.mark_ours("r", "a", {"1": "x"}, evidence=[("1", naive)])
    assert opened.tags.seen("r", "a") == {}


def test_each_world_reads_what_the_other_wrote(opened: state.State) -> None:
    run = opened.runs.begin("sync", ["ü", "b"], "digest")
    opened.runs.finish(run, "ok", {"ü": [1, None, {"a": 0.5}]})
    assert opened.runs.latest() == [opened.runs.get(run)]
    lease = dict.fromkeys(("holder", "host", "slot", "what"), "x") | {"token": 7, "pid": 1}
    with opened._database.core.write() as connection:
        connection.execute(
            tables.core(tables.Lease).insert(),
            lease | {"registry": "r", "repository": "a", "since": NOW, "expires": NOW},
        )
        connection.execute(
            tables.core(tables.RuleState).insert(),
            vars(state.RuleState("rule", "r", last_full_pass=NOW, tags_behind=3)),
        )
    assert opened.rules.all() == [state.RuleState("rule", "r", last_full_pass=NOW, tags_behind=3)]
    taken = opened.leases.acquire("r", "a", "y")  # it had run out
    assert taken
    assert taken.token == 8


def test_threads_of_one_process_queue_up_whichever_way_they_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite would wait for nobody here, so a writer that does not queue up fails at once."""
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0)
    with state.open_state(f"sqlite:///{tmp_path}/state.db", now=lambda: NOW) as opened:
        # The first connection of all makes the write-ahead log, and others wait for it.
        assert not opened.tags.seen("r", "a")

        def work(number: int) -> None:
            for tag in range(50):
                if number % 2:
                    opened.drops.pin(state.Pin("r", "a", f"{number}-{tag}", "", NOW, ""))
                else:
                    opened.tags.mark_ours("r", "a", {f"{number}-{tag}": "x"})

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
        assert len(opened.tags.seen("r", "a")) == 100


def test_a_transaction_that_fails_leaves_nothing_and_its_connection_can_be_used_again(
    opened: state.State,
) -> None:
    def fail() -> None:
        with opened._database.write() as connection:
            connection.execute("INSERT INTO meta (name, value) VALUES ('name', 'value')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert opened._database.quick("SELECT count(*) FROM meta") == [(0,)]
    assert opened.runs.begin("sync")
    assert len(opened._database._idle) == 1


def test_idle_connections_are_few_and_closed_with_the_state(tmp_path: Path) -> None:
    opened = state.open_state(f"sqlite:///{tmp_path}/state.db", now=lambda: NOW)
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(opened._database.read())
    kept = list(opened._database._idle)
    assert len(kept) == engine._KEPT
    opened.close()
    for connection in kept:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")
