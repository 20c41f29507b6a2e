"""One writer at a time, whoever dies."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from syncer import errors, state
from syncer.state import leases

HOLDER = """
import sys
from datetime import UTC, datetime
from syncer import state
opened = state.open_state("sqlite:///" + sys.argv[1], now=lambda: datetime.now(UTC))
run = opened.runs.begin("sync", ["rule"])
held = opened.leases.acquire("r", "a", "run of a child")
print(run if held else "", flush=True)
sys.stdin.read()
"""


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 22, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def move(self, by: timedelta) -> None:
        self.time += by


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def one(path: Path, clock: Clock) -> Iterator[state.State]:
    with state.open_state(f"sqlite:///{path}", now=clock) as opened:
        yield opened


@pytest.fixture
def other(one: state.State, path: Path, clock: Clock) -> Iterator[state.State]:
    """A second opening of the same file: for the leases, another process."""
    with state.open_state(f"sqlite:///{path}", now=clock) as opened:
        yield opened


def test_of_many_threads_one_wins_each_repository(one: state.State, other: state.State) -> None:
    start = threading.Barrier(8)

    def race(number: int) -> list[int]:
        start.wait()
        mine = (one, other)[number % 2].leases
        return [n for n in range(50) if mine.acquire("r", f"repo{n}", "race")]

    with ThreadPoolExecutor(8) as pool:
        won = [number for numbers in pool.map(race, range(8)) for number in numbers]
    assert sorted(won) == list(range(50))


def test_of_four_processes_one_wins_each_repository(path: Path) -> None:
    code = (
        "import sys; from datetime import UTC, datetime; from syncer import state;"
        "s = state.open_state('sqlite:///' + sys.argv[1], now=lambda: datetime.now(UTC));"
        "print('ready', flush=True); sys.stdin.readline();"
        "print(*[n for n in range(100) if s.leases.acquire('r', f'repo{n}', 'race')], flush=True);"
        "sys.stdin.read()"
    )
    children = [child(code, path) for _ in range(4)]
    for each in children:
        assert read(each) == "ready"
    for each in children:
        assert each.stdin
        each.stdin.write("go\n")
        each.stdin.flush()
    won = [number for each in children for number in read(each).split()]
    for each in children:
        each.communicate()
    assert sorted(map(int, won)) == list(range(100))


def test_the_loser_is_told_who_holds_it_since_when_and_for_what(
    one: state.State, other: state.State, clock: Clock
) -> None:
    with held(one):
        clock.move(timedelta(seconds=5))
        assert other.leases.acquire("r", "a", "late") is None
        holder = other.leases.holder("r", "a")
        assert holder
        assert (holder.what, holder.since) == ("test", clock.time - timedelta(seconds=5))
        assert other.leases.held() == [holder]
    assert other.leases.holder("r", "a") is None
    assert other.leases.held() == []


def test_a_lease_is_per_registry_and_repository(one: state.State, other: state.State) -> None:
    with held(one):
        assert other.leases.acquire("r", "b", "x")
        assert other.leases.acquire("s", "a", "x")


def test_a_released_lease_is_free_at_once_and_no_longer_ours(
    one: state.State, other: state.State
) -> None:
    lease = held(one)
    lease.release()
    assert other.leases.acquire("r", "a", "x")
    with pytest.raises(errors.LeaseLostError):
        lease.check()
    lease.release()
    assert other.leases.holder("r", "a")


def test_a_living_holder_loses_it_only_when_it_runs_out(
    one: state.State, other: state.State, clock: Clock
) -> None:
    lease = held(one)
    clock.move(leases.LIFE - timedelta(microseconds=1))
    assert other.leases.acquire("r", "a", "x") is None
    lease.check()
    clock.move(timedelta(microseconds=1))
    taken = other.leases.acquire("r", "a", "x")
    assert taken
    taken.check()
    with pytest.raises(errors.LeaseLostError, match="of a at r was lost to another run"):
        lease.check()
    lease.release()
    taken.check()


def test_a_lease_taken_again_by_the_same_process_is_another_lease(
    one: state.State, clock: Clock
) -> None:
    """Two runs of one daemon: the one that stalled must notice."""
    stalled = held(one)
    clock.move(leases.LIFE)
    fresh = held(one)
    fresh.check()
    with pytest.raises(errors.LeaseLostError):
        stalled.check()


def test_a_lease_that_ran_out_untaken_is_prolonged_by_the_check(
    one: state.State, other: state.State, clock: Clock
) -> None:
    """A machine that was suspended goes on, if nobody else began meanwhile."""
    lease = held(one)
    clock.move(timedelta(hours=1))
    lease.check()
    assert other.leases.acquire("r", "a", "x") is None


def test_renewal_keeps_what_is_held_and_nothing_else(
    one: state.State, other: state.State, clock: Clock
) -> None:
    lease = held(one)
    lost = one.leases.acquire("r", "lost", "x")
    clock.move(timedelta(minutes=2))
    taken = other.leases.acquire("r", "lost", "x")
    one.leases.renew()
    lease.check()
    assert other.leases.acquire("r", "a", "x") is None
    assert lost
    assert taken
    taken.check()
    with pytest.raises(errors.LeaseLostError):
        lost.check()


def test_a_thread_renews_what_is_held(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LIFE", timedelta(seconds=0.03))
    renewed = threading.Event()
    with state.open_state(f"sqlite:///{path}", now=clock) as opened:
        original = opened.leases.renew

        def renew() -> None:
            original()
            renewed.set()

        monkeypatch.setattr(opened.leases, "renew", renew)
        lease = held(opened)
        before = opened.leases.holder("r", "a")
        clock.move(timedelta(seconds=0.02))
        renewed.clear()
        assert renewed.wait(10)
        after = opened.leases.holder("r", "a")
        assert before
        assert after
        assert after.expires > before.expires
        lease.check()


def test_a_dead_holder_is_followed_at_once_and_a_living_one_is_not(
    path: Path, one: state.State
) -> None:
    with child(HOLDER, path) as process:
        assert read(process)
        assert one.leases.acquire("r", "a", "x") is None
        assert one.leases.free_dead() == 0
        process.kill()
    taken = one.leases.acquire("r", "a", "x")
    assert taken
    taken.check()


def test_the_next_start_ends_the_runs_of_the_dead_and_frees_their_leases_only(
    path: Path, one: state.State, other: state.State
) -> None:
    living_run = other.runs.begin("sync")
    living = other.leases.acquire("r", "b", "alive")
    with child(HOLDER, path) as process:
        dead_run = read(process)
        assert one.recover() == []
        process.kill()
    assert one.recover() == [dead_run]
    assert [holder.repository for holder in one.leases.held()] == ["b"]
    assert [run.id for run in one.runs.active()] == [living_run]
    ended = one.runs.get(dead_run)
    assert ended
    assert (ended.outcome, ended.finished) == ("interrupted", one._database.now())
    assert living
    living.check()
    assert one.recover() == []


def test_closing_releases_what_is_held(path: Path, one: state.State, clock: Clock) -> None:
    with state.open_state(f"sqlite:///{path}", now=clock) as closing:
        assert closing.leases.acquire("r", "a", "x")
        assert one.leases.acquire("r", "a", "x") is None
    assert one.leases.acquire("r", "a", "x")


def test_without_a_state_to_write_a_lease_is_no_permission(one: state.State) -> None:
    """What is done to a registry then could not be recorded."""
    lease = held(one)
    one.runs.record(
        state.Step("no such run", "", "copy", "done", "r", "a", "1", "", one._database.now())
    )
    with pytest.raises(errors.StateError):
        one.flush()
    with pytest.raises(errors.StateError) as caught:
        lease.check()
    assert not isinstance(caught.value, errors.LeaseLostError)
    with pytest.raises(errors.StateError):
        one.leases.acquire("r", "b", "x")
    lease.release()


def held(opened: state.State) -> state.Lease:
    lease = opened.leases.acquire("r", "a", "test")
    assert lease
    return lease


def child(code: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def read(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()
