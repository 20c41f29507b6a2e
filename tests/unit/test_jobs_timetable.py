"""When rules run: what was missed, what is tried again, and clocks that change."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.schedule import Trigger
from jobs.timetable import Timetable, retry
from syncer.rules import schedule, windows
from syncer.state import RuleState

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
UTC_ZONE = ZoneInfo("UTC")
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def table(text: str, zone: str = "UTC", jitter: timedelta = timedelta()) -> Timetable:
    return Timetable(schedule.parse(text, jitter), ZoneInfo(zone))


def record(started: datetime | None, outcome: str = "ok", **fields: Any) -> RuleState:
    finished = started + MINUTE if started else None
    values = {"last_started": started, "last_finished": finished, "last_outcome": outcome}
    return RuleState("rule", "registry", **{**values, **fields})


def first(text: str, *records: RuleState, running: bool = False) -> datetime:
    return table(text).first(records, NOW, running=running)


def test_an_interval_that_never_ran_begins_now() -> None:
    assert first("every 1h", record(None)) == NOW


def test_a_cron_line_that_never_ran_has_missed_nothing() -> None:
    assert first("0 3 * * *", record(None)) == NOW + 15 * HOUR


def test_a_time_that_passed_while_the_daemon_was_off_is_made_up_for_now() -> None:
    assert first("0 3 * * *", record(NOW - 10 * DAY)) == NOW
    assert first("every 1h", record(NOW - 2 * HOUR)) == NOW


def test_a_time_that_was_kept_is_not_repeated() -> None:
    assert first("0 3 * * *", record(NOW - 9 * HOUR)) == NOW + 15 * HOUR
    assert first("every 1h", record(NOW - 20 * MINUTE)) == NOW + 40 * MINUTE


def test_a_run_that_was_cut_off_is_taken_up_at_once() -> None:
    killed = record(NOW - 20 * MINUTE, last_finished=NOW - DAY)
    assert first("every 1h", killed) == NOW
    assert first("every 1h", record(NOW - 20 * MINUTE, "interrupted")) == NOW


def test_a_run_under_way_here_is_not_taken_for_one_that_was_cut_off() -> None:
    under_way = record(NOW - 20 * MINUTE, last_finished=NOW - DAY)
    assert first("every 1h", under_way, running=True) == NOW + 40 * MINUTE


def test_a_target_that_was_added_makes_an_interval_begin_now() -> None:
    assert first("every 1h", record(NOW - MINUTE), record(None)) == NOW


def test_the_target_that_ran_the_longest_ago_counts() -> None:
    assert first("every 1h", record(NOW - MINUTE), record(NOW - 2 * HOUR)) == NOW


def test_a_clock_that_was_set_back_costs_at_most_one_interval() -> None:
    assert first("every 1h", record(NOW + 365 * DAY)) == NOW + HOUR
    assert first("0 3 * * *", record(NOW + 365 * DAY)) == NOW + 15 * HOUR


def test_a_failure_is_tried_again_before_the_schedule_says() -> None:
    failed = record(NOW - 2 * MINUTE, "failed", consecutive_failures=3)
    assert first("0 3 * * *", failed) == NOW - MINUTE + 4 * MINUTE
    assert first("every 4m", failed) == NOW + 2 * MINUTE  # the schedule is sooner


@pytest.mark.parametrize("outcome", ["ok", "partial", "refused", "empty", "interrupted"])
def test_what_would_find_the_same_again_waits_for_its_schedule(outcome: str) -> None:
    assert retry(record(NOW, outcome, consecutive_failures=3)) is None


def test_what_others_hold_is_asked_for_again_in_ten_minutes() -> None:
    held = record(NOW - 2 * MINUTE, "held")
    assert first("0 3 * * *", held) == NOW - MINUTE + 10 * MINUTE
    assert first("every 5m", held) == NOW + 3 * MINUTE


@given(st.integers(0, 10_000))
def test_waits_double_up_to_an_hour(failures: int) -> None:
    waits = [
        found - NOW
        for count in (failures, failures + 1)
        if (found := retry(record(NOW, "failed", last_finished=NOW, consecutive_failures=count)))
    ]
    assert waits[0] <= waits[1] <= 2 * waits[0]
    assert MINUTE <= waits[0] <= waits[1] <= HOUR
    assert waits[1] == HOUR or failures < 7


moments = st.datetimes(
    datetime(2020, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    datetime(2035, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
texts = st.sampled_from(
    ["every 10s", "every 7m", "every 3d", "*/5 * * * *", "30 2 * * sun", "@daily"]
)
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])


@given(texts, zones, moments, moments)
def test_the_next_time_is_the_first_after_now_however_many_were_missed(
    text: str, zone: str, base: datetime, now: datetime
) -> None:
    times = table(text, zone)
    found = times.after(base, now)
    assert found > now
    every = times.schedule.every
    if every:
        assert found - every <= now
        assert (found - base) % every == timedelta()
    else:
        assert times.after(base, found - timedelta(microseconds=1)) == found


@pytest.mark.parametrize(
    ("text", "day", "hours"),
    [
        ("30 2 * * *", date(2026, 3, 29), [1.0]),  # 02:30 is skipped: at 03:00, once
        ("30 2 * * *", date(2026, 10, 25), [0.5]),  # 02:30 comes twice: the first time
        ("0 * * * *", date(2026, 10, 25), [float(hour) for hour in range(-2, 23)]),
        ("0 3 * * 7", date(2026, 3, 29), [1.0]),  # 7 is Sunday, as 0
    ],
)
def test_cron_lines_follow_the_clocks_of_their_zone(
    text: str, day: date, hours: list[float]
) -> None:
    """Every time of one local day in Berlin, in hours of UTC."""
    zone = ZoneInfo("Europe/Berlin")
    trigger = Trigger(table(text, "Europe/Berlin"), windows.hours([], zone), NOW)
    moment = datetime(day.year, day.month, day.day, tzinfo=zone) - timedelta(seconds=1)
    found = []
    while (moment := trigger.get_next_fire_time(None, moment)).astimezone(zone).date() == day:
        found.append((moment - datetime(day.year, day.month, day.day, tzinfo=UTC)) / HOUR)
    assert found == hours


@given(st.integers(1, 59), moments)
def test_jitter_is_added_and_does_not_shift_the_times_after_it(minutes: int, now: datetime) -> None:
    times = table("every 1h", jitter=minutes * MINUTE)
    trigger = Trigger(times, windows.hours([], UTC_ZONE), now)
    for count in range(1, 20):
        due = now + count * HOUR
        found = trigger.get_next_fire_time(None, due - timedelta(microseconds=1))
        assert due <= found <= due + minutes * MINUTE


@given(st.integers(0, 59), moments)
def test_a_time_outside_the_hours_is_put_off_to_their_beginning(jitter: int, now: datetime) -> None:
    hours = windows.hours([[windows.parse("22:00-06:00")]], UTC_ZONE)
    trigger = Trigger(table("every 1h", jitter=jitter * MINUTE), hours, now)
    found = trigger.get_next_fire_time(None, now)
    assert hours.is_open(found)
    due = now + HOUR
    late = hours.opening(due)
    assert late <= found <= max(late, hours.opening(due + jitter * MINUTE))
