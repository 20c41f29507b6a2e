"""What is remembered of tags, blobs, drops, plans, runs and rules, and what is forgotten."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncer import manifest, state
from syncer.state import engine

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
EU, US = "https://eu.example", "https://us.example"


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> datetime:
        return self.time

    def move(self, by: timedelta) -> datetime:
        self.time += by
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What SQLite is told, in order, by every connection of the state."""
    told: list[str] = []
    connect = engine.connect

    def overheard(path: Path, *, detect_types: int = 0) -> sqlite3.Connection:
        connection = connect(path, detect_types=detect_types)
        connection.set_trace_callback(told.append)
        return connection

    monkeypatch.setattr(engine, "connect", overheard)
    return told


@pytest.fixture
def opened(tmp_path: Path, clock: Clock, statements: list[str]) -> Iterator[state.State]:
    with state.open_state(f"sqlite:///{tmp_path}/state.db", now=clock) as it:
        yield it


def an_index(*children: manifest.Manifest, note: str = "") -> manifest.Manifest:
    body: dict[str, Any] = {
        "mediaType": manifest.OCI_INDEX,
        "manifests": [
            {"mediaType": each.media_type, "digest": each.digest, "size": each.size}
            for each in children
        ],
        "annotations": {"note": note},
    }
    return manifest.parse(json.dumps(body).encode(), manifest.OCI_INDEX)


def intend(opened: state.State, *drops: state.Drop, **options: Any) -> list[int]:
    given: dict[str, Any] = {
        "run": "run",
        "expires": opened._database.now() + 14 * DAY,
        "plan": "plan",
    } | options
    return opened.drops.intend(US, "a", drops, **given)


def test_a_state_is_fresh_until_an_operator_has_applied_a_prune(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    with state.open_state(url, now=Clock()) as first:
        assert first.fresh
        first.confirm_operator()
        first.confirm_operator()
        assert not first.fresh
    with state.open_state(url, now=Clock()) as second:
        assert not second.fresh
    (tmp_path / "state.db").write_bytes(b"x" * 5000)
    with state.open_state(url, now=Clock()) as third:
        assert third.fresh


# Tags


@settings(max_examples=100, derandomize=True, deadline=None)
@given(
    history=st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy")),
            st.integers(min_value=1, max_value=40),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_a_binding_is_as_old_as_its_latest_unbroken_stretch(
    history: list[tuple[dict[str, str], int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Oracle: walk back from the last listing for as long as the binding stood in each."""
    clock = Clock()
    path = tmp_path_factory.mktemp("age") / "state.db"
    with state.open_state(f"sqlite:///{path}", now=clock) as opened:
        listings = []
        for listing, hours in history:
            at = clock.move(timedelta(hours=hours))
            opened.tags.observe(US, "a", listing, complete=True)
            listings.append((at, listing))
        seen = opened.tags.seen(US, "a")
    for tag in "ab":
        for digest in "xy":
            stood = [at for at, listing in listings if listing.get(tag) == digest]
            record = seen.get(tag, {}).get(digest)
            assert (record is not None) == bool(stood)
            if record is None:
                continue
            assert (record.gone is None) == (listings[-1][1].get(tag) == digest)
            stretch = stood[-1]
            for (before, listing), (after, _) in reversed(list(pairwise(listings))):
                if after == stretch and listing.get(tag) == digest:
                    stretch = before
            assert record.first_seen == stretch
            assert timedelta() <= stood[-1] - record.last_seen < DAY


def test_a_part_of_a_listing_says_nothing_about_the_rest(opened: state.State) -> None:
    opened.tags.observe(US, "a", {"1": "x", "2": "y"}, complete=True)
    opened.tags.observe(US, "a", {"1": "z"}, complete=False)
    seen = opened.tags.seen(US, "a")
    assert seen["1"]["x"].gone
    assert not seen["1"]["z"].gone
    assert not seen["2"]["y"].gone


def test_a_listing_without_news_writes_nothing(
    opened: state.State, clock: Clock, statements: list[str]
) -> None:
    tags = {str(number): "x" for number in range(1000)}
    opened.tags.observe(US, "a", tags, complete=True)
    opened.tags.mark_ours(US, "a", tags, source=(EU, "a"), evidence=[("1", START)])
    statements.clear()
    clock.move(timedelta(hours=23))
    opened.tags.observe(US, "a", tags, complete=True)
    opened.tags.mark_ours(US, "a", tags, source=(EU, "a"), evidence=[("1", START)])
    assert {statement.split()[0] for statement in statements} == {"BEGIN", "SELECT", "COMMIT"}
    clock.move(timedelta(hours=1))
    opened.tags.observe(US, "a", tags, complete=True)
    assert opened.tags.seen(US, "a")["5"]["x"].last_seen == clock.time


def test_what_is_ours_stays_ours_with_its_sources_evidence(
    opened: state.State, clock: Clock
) -> None:
    opened.tags.observe(US, "a", {"1": "x", "2": "x"}, complete=True)
    evidence = START - 100 * DAY
    opened.tags.mark_ours(US, "a", {"1": "x"}, source=(EU, "b"), evidence=[("1", evidence)])
    clock.move(2 * DAY)
    opened.tags.observe(US, "a", {"1": "x", "2": "x"}, complete=True)
    seen = opened.tags.seen(US, "a")
    opened.tags.mark_ours(US, "a", {"1": "x"})
    assert opened.tags.seen(US, "a") == seen
    assert seen["1"]["x"] == state.TagRecord(
        *("1", "x", START, clock.time, None, True, EU, "b", evidence)
    )
    assert not seen["2"]["x"].ours


def test_a_tag_can_be_ours_before_it_was_ever_listed(opened: state.State) -> None:
    """The mark comes before the PUT, so that no crash between them loses it."""
    opened.tags.mark_ours(US, "a", {"1": "x"}, source=(EU, "a"))
    assert opened.tags.seen(US, "a")["1"]["x"].ours


def test_a_tag_that_we_bring_back_is_here_again_and_young(
    opened: state.State, clock: Clock
) -> None:
    opened.tags.mark_ours(US, "a", {"1": "x"})
    opened.tags.observe(US, "a", {}, complete=True)
    assert opened.tags.seen(US, "a")["1"]["x"].gone == START
    clock.move(DAY)
    opened.tags.mark_ours(US, "a", {"1": "x"})
    record = opened.tags.seen(US, "a")["1"]["x"]
    assert (record.gone, record.first_seen) == (None, clock.time)


def test_repositories_do_not_mix(opened: state.State) -> None:
    opened.tags.observe(US, "a", {"1": "x"}, complete=True)
    opened.tags.observe(EU, "a", {"1": "y"}, complete=True)
    opened.tags.observe(US, "b", {}, complete=True)
    assert list(opened.tags.seen(US, "a")["1"]) == ["x"]
    assert opened.tags.seen(US, "b") == {}


# Blobs


def test_blob_locations_come_newest_first_and_at_most_five(
    opened: state.State, clock: Clock
) -> None:
    for name in "abcdefg":
        clock.move(DAY)
        opened.blobs.remember(US, name, ["sha256:1", "sha256:1"])
    opened.blobs.remember(EU, "elsewhere", ["sha256:1"])
    opened.flush()
    assert opened.blobs.locations(US, ["sha256:1", "sha256:2"]) == {"sha256:1": tuple("gfedc")}
    opened.blobs.forget(US, "g", "sha256:1")
    opened.blobs.forget(US, "never seen", "sha256:1")
    assert opened.blobs.locations(US, ["sha256:1"])["sha256:1"] == tuple("fedcb")


def test_thousands_of_blobs_are_asked_for_at_once(opened: state.State) -> None:
    digests = [f"sha256:{number}" for number in range(2000)]
    opened.blobs.remember(US, "a", digests)
    opened.flush()
    assert opened.blobs.locations(US, digests) == dict.fromkeys(digests, ("a",))


# Drops


def test_a_drop_keeps_every_byte_in_the_order_to_push_them(opened: state.State) -> None:
    leaf = an_index(note="leaf")
    middle, other = an_index(leaf), an_index(note="other")
    top = an_index(middle, other)
    first, second = intend(
        opened,
        state.Drop("1", top, (leaf, middle, other), "because"),
        state.Drop("2", middle, (leaf,)),
    )
    assert opened.drops.manifests(first) == [leaf, middle, other, top]
    assert [each.raw for each in opened.drops.manifests(second)] == [leaf.raw, middle.raw]
    dropped = opened.drops.dropped(US, "a", "1")[0]
    assert (dropped.tag, dropped.digest, dropped.reason) == ("1", top.digest, "because")
    assert dropped.confirmed is None


def test_an_intention_is_on_disk_before_the_delete(
    opened: state.State, clock: Clock, statements: list[str]
) -> None:
    """SQLite is told to wait for the disk, in that transaction and in no other."""
    (drop,) = intend(opened, state.Drop("1", an_index()))
    opened.drops.confirm([drop])
    opened.drops.restore([drop], pin_until=clock.time, reason="undo")
    opened.drops.trash_removed([drop])
    told = [each for each in statements if each.startswith(("PRAGMA synchronous", "BEGIN IMM"))]
    full, normal = (f"PRAGMA synchronous={level}" for level in ("FULL", "NORMAL"))
    begin = "BEGIN IMMEDIATE"
    assert told[-8:] == [full, begin, normal, begin, full, begin, normal, begin]


def test_a_drop_is_found_by_place_plan_or_run(opened: state.State) -> None:
    index = an_index()
    intend(opened, state.Drop("1", index), state.Drop("2", index), plan="p1", run="r1")
    intend(opened, state.Drop("1", index), plan="p2", run="r2", how="overwritten")
    find = opened.drops.dropped
    assert [(d.tag, d.plan, d.how) for d in find()] == [
        ("1", "p2", "overwritten"),
        ("2", "p1", "dropped"),
        ("1", "p1", "dropped"),
    ]
    assert [d.plan for d in find(US, "a", "1")] == ["p2", "p1"]
    assert [d.tag for d in find(plan="p1")] == ["2", "1"]
    assert [d.tag for d in find(run="r2")] == ["1"]
    assert find(EU) == []


def test_only_what_a_policy_dropped_for_good_is_suppressed_until_an_undo(
    opened: state.State, clock: Clock
) -> None:
    kept, lost = an_index(note="kept"), an_index(note="lost")
    (drop,) = intend(opened, state.Drop("1", lost), suppress=True, policy="p")
    intend(opened, state.Drop("2", lost))
    intend(opened, state.Drop("1", kept), how="overwritten")
    assert opened.drops.suppressed(US, "a") == {("1", lost.digest)}
    assert opened.drops.suppressed(US, "b") == opened.drops.suppressed(EU, "a") == set()
    opened.drops.confirm([drop])
    assert opened.drops.suppressed(US, "a") == {("1", lost.digest)}
    until = clock.time + 14 * DAY
    opened.drops.restore([drop], pin_until=until, reason="undo")
    assert opened.drops.suppressed(US, "a") == set()
    assert opened.drops.pins(US, "a") == [state.Pin(US, "a", "1", lost.digest, until, "undo")]
    clock.move(14 * DAY)
    assert opened.drops.pins(US, "a") == []


def test_an_intention_that_came_to_nothing_is_forgotten(opened: state.State) -> None:
    (drop,) = intend(opened, state.Drop("1", an_index()), suppress=True)
    opened.drops.cancel([drop])
    assert opened.drops.dropped() == []
    assert opened.drops.suppressed(US, "a") == set()
    assert opened.drops.manifests(drop) == []


def test_a_confirmed_drop_is_gone_from_the_memory_of_tags(
    opened: state.State, clock: Clock
) -> None:
    index = an_index()
    opened.tags.observe(US, "a", {"1": index.digest, "2": index.digest}, complete=True)
    (drop,) = intend(opened, state.Drop("1", index))
    assert opened.tags.seen(US, "a")["1"][index.digest].gone is None
    clock.move(DAY)
    opened.drops.confirm([drop])
    seen = opened.tags.seen(US, "a")
    assert seen["1"][index.digest].gone == clock.time
    assert seen["2"][index.digest].gone is None
    assert opened.drops.dropped()[0].confirmed == clock.time


def test_trash_stays_known_until_it_is_removed(opened: state.State, clock: Clock) -> None:
    (drop,) = intend(opened, state.Drop("1", an_index(), trash_tag="syncer-trash-1"))
    clock.move(400 * DAY)
    opened.maintain()
    assert [d.trash_tag for d in opened.drops.trash(US, "a")] == ["syncer-trash-1"]
    assert opened.drops.trash(US, "b") == []
    opened.drops.trash_removed([drop])
    assert opened.drops.trash(US, "a") == []
    opened.maintain()
    assert opened.drops.dropped() == []


# Plans


def test_a_plan_counts_once_it_is_whole(opened: state.State, clock: Clock) -> None:
    plan = opened.plans.create(["p"], "rules", clock.time + 7 * DAY)
    opened.plans.add(plan, US, "b", drops=2, body={"tags": ["ü"] * 3})
    opened.plans.add(plan, US, "a", drops=0, body=[])
    assert opened.plans.latest() == []
    opened.plans.complete(plan, "snapshot", {"drops": 2})
    (stored,) = opened.plans.latest()
    assert stored == opened.plans.get(plan)
    assert (stored.status, stored.policies, stored.snapshot, stored.summary) == (
        "pending",
        ("p",),
        "snapshot",
        {"drops": 2},
    )
    assert list(opened.plans.parts(plan)) == [
        state.PlanPart(US, "a", 0, []),
        state.PlanPart(US, "b", 2, {"tags": ["ü"] * 3}),
    ]
    assert opened.plans.part(plan, US, "c") is None
    assert opened.plans.get("no such plan") is None


def test_a_pending_plan_expires_by_itself_and_an_applied_one_does_not(
    opened: state.State, clock: Clock
) -> None:
    plans = [opened.plans.create(["p"], "rules", clock.time + 7 * DAY) for _ in range(2)]
    for plan in plans:
        opened.plans.complete(plan, "snapshot", {})
    opened.plans.end(plans[0], "applied")
    clock.move(7 * DAY - timedelta(microseconds=1))
    assert status(opened, plans) == ["applied", "pending"]
    clock.move(timedelta(microseconds=1))
    assert status(opened, plans) == ["applied", "expired"]
    assert [plan.id for plan in opened.plans.latest(status="expired")] == plans[1:]


def status(opened: state.State, plans: list[str]) -> list[str]:
    return [plan.status if plan else "none" for plan in map(opened.plans.get, plans)]


# Runs and rules


def test_runs_come_newest_first_page_by_page_and_by_rule(opened: state.State, clock: Clock) -> None:
    ids = []
    for number in range(5):
        clock.move(timedelta(seconds=1))
        ids.append(opened.runs.begin("sync", ["odd" if number % 2 else 'ev"en', "ü"]))
        opened.runs.finish(ids[-1], "ok")
    ids.reverse()
    assert [run.id for run in opened.runs.latest(limit=2)] == ids[:2]
    assert [run.id for run in opened.runs.latest(limit=2, before=ids[1])] == ids[2:4]
    assert [run.id for run in opened.runs.latest(rule="odd")] == [ids[1], ids[3]]
    assert [run.id for run in opened.runs.latest(rule='ev"en')] == [ids[0], ids[2], ids[4]]
    assert len(opened.runs.latest(rule="ü")) == 5
    assert opened.runs.latest(rule="od") == []


def test_a_run_is_running_until_it_has_an_outcome_and_then_keeps_it(
    opened: state.State, clock: Clock
) -> None:
    assert opened.runs.last_time() is None
    run = opened.runs.begin("sync", ["rule"], "digest")
    (active,) = opened.runs.active()
    assert (active.id, active.outcome, active.rules) == (run, "running", ("rule",))
    clock.move(DAY)
    opened.runs.finish(run, "interrupted", {"seconds": 1})
    opened.runs.finish(run, "ok")  # a second signal came first
    ended = opened.runs.get(run)
    assert ended
    assert (ended.outcome, ended.finished, ended.report) == (
        "interrupted",
        clock.time,
        {"seconds": 1},
    )
    assert opened.runs.active() == []
    assert opened.runs.last_time() == clock.time
    assert opened.runs.get("no such run") is None


def test_steps_are_found_by_outcome_and_by_tag(opened: state.State) -> None:
    run = opened.runs.begin("sync")
    for number, outcome in enumerate(("done", "failed", "done", "held")):
        step = state.Step(run, "r", "copy", outcome, US, "a", str(number), "x", START)
        opened.runs.record(step)
    opened.flush()
    tags = [step.tag for step in opened.runs.steps(run, outcomes=("failed", "held"))]
    assert tags == ["1", "3"]
    assert [step.tag for step in opened.runs.steps(run, limit=2, offset=1)] == ["1", "2"]
    assert [step.outcome for step in opened.runs.steps_of(US, "a", "1")] == ["failed"]
    assert opened.runs.steps_of(US, "b", "1") == []


def test_lag_counts_from_the_start_of_the_last_run_that_was_in_step(
    opened: state.State, clock: Clock
) -> None:
    def run(outcome: str, **options: Any) -> state.RuleState:
        started = clock.move(timedelta(minutes=10))
        opened.rules.started("rule", US)
        assert opened.rules.get("rule", US).last_started == started
        clock.move(timedelta(minutes=1))
        opened.rules.finished("rule", US, started=started, outcome=outcome, **options)
        return opened.rules.get("rule", US)

    assert opened.rules.get("rule", US) == state.RuleState("rule", US)
    first = run("failed", tags_behind=3)
    assert (first.last_success_started, first.last_full_pass) == (None, None)
    assert (first.consecutive_failures, first.tags_behind) == (1, 3)
    second = run("refused")
    assert second.consecutive_failures == 2
    third = run("held")
    assert (third.consecutive_failures, third.last_outcome) == (2, "held")
    fourth = run("ok", in_step=True, full_pass=True)
    assert fourth.consecutive_failures == 0
    assert fourth.last_success_started == fourth.last_started
    assert fourth.last_full_pass == fourth.last_finished == clock.time
    fifth = run("partial", full_pass=True)
    assert fifth.last_success_started == fourth.last_started
    assert opened.rules.all() == [fifth]


def test_what_is_read_to_be_changed_is_not_changed_by_another_process_between(
    opened: state.State, tmp_path: Path
) -> None:
    """Each transaction that writes has the lock from its first read on."""
    with state.open_state(f"sqlite:///{tmp_path}/state.db", now=Clock()) as other:

        def fail(number: int) -> None:
            mine = (opened, other)[number % 2].rules
            for _ in range(50):
                mine.finished("rule", US, started=START, outcome="failed")

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(fail, range(4)))
    assert opened.rules.get("rule", US).consecutive_failures == 200


# Forgetting


def test_old_runs_go_with_their_steps_and_too_many_runs_too(
    opened: state.State, clock: Clock
) -> None:
    def one() -> str:
        clock.move(timedelta(seconds=1))
        run = opened.runs.begin("sync")
        opened.runs.record(state.Step(run, "r", "copy", "done", US, "a", "1", "x", clock.time))
        opened.runs.finish(run, "ok")
        return run

    old = one()
    still_running = opened.runs.begin("sync")
    clock.move(90 * DAY)
    young = [one() for _ in range(3)]
    opened.maintain(keep_runs=10, keep_days=90)
    assert [run.id for run in opened.runs.latest()] == [*reversed(young), still_running]
    assert opened.runs.steps(old) == []
    opened.maintain(keep_runs=2, keep_days=90)
    assert [run.id for run in opened.runs.latest()] == [*reversed(young[1:]), still_running]
    assert len(opened.runs.steps_of(US, "a", "1")) == 2


def test_undo_lasts_its_window_and_the_bytes_go_after_it(opened: state.State, clock: Clock) -> None:
    shared, mine = an_index(note="shared"), an_index(note="mine")
    (early,) = intend(opened, state.Drop("1", mine, (shared,)))
    clock.move(14 * DAY - timedelta(microseconds=1))
    (late,) = intend(opened, state.Drop("2", an_index(shared), (shared,)))
    opened.maintain(keep_runs=0, keep_days=0)
    assert opened.drops.manifests(early) == [shared, mine]
    clock.move(timedelta(microseconds=2))
    opened.maintain(keep_runs=0, keep_days=30)
    assert opened.drops.manifests(early) == []
    assert opened.drops.manifests(late)[0] == shared
    assert [drop.id for drop in opened.drops.dropped()] == [late, early]
    with closing(sqlite3.connect(opened.path)) as connection:
        assert connection.execute("SELECT count(*) FROM kept_manifest").fetchone() == (2,)
    clock.move(60 * DAY)
    opened.maintain(keep_runs=0, keep_days=30)
    assert opened.drops.dropped() == []


def test_a_suppression_lasts_as_long_as_the_tag_is_seen_anywhere(
    opened: state.State, clock: Clock
) -> None:
    index = an_index()
    (drop,) = intend(opened, state.Drop("1", index), suppress=True)
    opened.drops.confirm([drop])
    suppressed = {("1", index.digest)}
    for _ in range(5):
        clock.move(100 * DAY)
        opened.tags.observe(EU, "source/of/a", {"1": index.digest}, complete=True)
        opened.maintain(keep_days=90)
        assert opened.drops.suppressed(US, "a") == suppressed
    opened.tags.observe(EU, "source/of/a", {}, complete=True)
    opened.maintain(keep_days=90)
    assert opened.drops.suppressed(US, "a") == set()


def test_what_was_not_seen_for_long_is_forgotten(opened: state.State, clock: Clock) -> None:
    opened.tags.observe(US, "a", {"1": "x", "2": "x"}, complete=True)
    opened.blobs.remember(US, "a", ["sha256:1"])
    for number in range(25):
        opened.blobs.remember(US, f"many{number}", ["sha256:2"])
    opened.drops.pin(state.Pin(US, "a", "1", "", clock.time + DAY, "hold"))
    plan = opened.plans.create(["p"], "rules", clock.time + 7 * DAY)
    opened.plans.add(plan, US, "a", drops=1, body=1)
    opened.plans.complete(plan, "s", {})
    opened.plans.create(["abandoned"], "rules", clock.time + 700 * DAY)
    lease = opened.leases.acquire(US, "a", "x")
    assert lease
    lease.release()
    opened.rules.started("rule", US)
    opened.flush()
    clock.move(8 * DAY)
    opened.tags.observe(US, "a", {"2": "x"}, complete=False)
    opened.maintain(keep_days=90)
    assert count(opened, "tag_seen", "blob_location", "pin", "plan", "plan_part") == [
        2,
        21,
        0,
        1,
        0,
    ]
    clock.move(85 * DAY)
    opened.maintain(keep_days=90)
    assert list(opened.tags.seen(US, "a")) == ["2"]
    assert count(opened, "blob_location", "lease", "plan", "rule_state") == [0, 0, 1, 1]
    clock.move(400 * DAY)
    assert opened.maintain(keep_days=90) == 3
    assert count(opened, "tag_seen", "plan", "rule_state") == [0, 0, 0]
    assert opened.maintain(keep_days=90) == 0


def count(opened: state.State, *names: str) -> list[int]:
    with closing(sqlite3.connect(opened.path)) as connection:
        return [connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names]
