"""Schedules: what crontab(5) means, and what happens when the clocks change."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncer.rules import cron, durations, schedule

BERLIN = ZoneInfo("Europe/Berlin")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")  # its clocks change by half an hour
UTC_ZONE = ZoneInfo("UTC")
MINUTE = timedelta(minutes=1)
# 2024: 31 March 02:00 -> 03:00 (01:00 UTC), 27 October 03:00 -> 02:00 (01:00 UTC).
SPRING = datetime(2024, 3, 31, 1, tzinfo=UTC)
AUTUMN = datetime(2024, 10, 27, 1, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def times(line: str, start: datetime, count: int, zone: ZoneInfo = UTC_ZONE) -> list[str]:
    """The first `count` times after `start`, as clocks in `zone` show them."""
    found = []
    for _ in range(count):
        start = schedule.parse(line).next_after(start, zone)
        assert start.tzinfo is UTC
        found.append(start.astimezone(zone).strftime("%m-%d %H:%M %z"))
    return found


@pytest.mark.parametrize(
    ("line", "first"),
    [
        ("* * * * *", "2024-05-15 10:08"),
        ("*/15 * * * *", "2024-05-15 10:15"),
        ("30 3 * * *", "2024-05-16 03:30"),
        ("0 0 * * 0", "2024-05-19 00:00"),
        ("0 0 * * 7", "2024-05-19 00:00"),
        ("0 0 * * sun", "2024-05-19 00:00"),
        ("0 0 * * MON-fri", "2024-05-16 00:00"),
        ("0 0 * * fri-sun", "2024-05-17 00:00"),
        ("0 0 1 jan,Jul *", "2024-07-01 00:00"),
        ("5,10-20/5 9-17 * * *", "2024-05-15 10:10"),
        ("0 0 29 2 *", "2028-02-29 00:00"),
        ("@hourly", "2024-05-15 11:00"),
        ("@daily", "2024-05-16 00:00"),
        ("@weekly", "2024-05-19 00:00"),
        ("@monthly", "2024-06-01 00:00"),
        ("@yearly", "2025-01-01 00:00"),
    ],
)
def test_a_cron_line_fires_when_crontab_5_says(line: str, first: str) -> None:
    """15 May 2024 was a Wednesday."""
    assert schedule.parse(line).next_after(at("2024-05-15 10:07:30"), UTC_ZONE) == at(first)


def test_either_day_field_suffices_when_both_are_restricted() -> None:
    """The 13th, and every Friday."""
    assert times("0 0 13 * fri", at("2024-05-01 00:00"), 4) == [
        "05-03 00:00 +0000",
        "05-10 00:00 +0000",
        "05-13 00:00 +0000",
        "05-17 00:00 +0000",
    ]


def test_a_day_field_that_begins_with_a_star_restricts_the_other() -> None:
    """crontab(5) calls `*/2` unrestricted: odd days that are Fridays."""
    assert times("0 0 */2 * fri", at("2024-05-01 00:00"), 3) == [
        "05-03 00:00 +0000",
        "05-17 00:00 +0000",
        "05-31 00:00 +0000",
    ]


def test_a_leap_day_on_a_sunday_is_found_across_a_century_without_a_leap_year() -> None:
    """After 29 February 2088 the next one on a Sunday is in 2128; `*` makes the two an and."""
    line = schedule.parse("0 0 29 2 */7")
    assert line.next_after(at("2088-02-29 00:00"), UTC_ZONE) == at("2128-02-29 00:00")


def test_a_time_that_the_clocks_skip_fires_at_the_first_instant_after_the_gap() -> None:
    """Once: 02:15 and 02:45 are made up for together."""
    assert times("15,45 2 * * *", SPRING - timedelta(days=1), 4, BERLIN) == [
        "03-30 02:15 +0100",
        "03-30 02:45 +0100",
        "03-31 03:00 +0200",
        "04-01 02:15 +0200",
    ]


def test_a_time_after_the_gap_fires_beside_one_that_was_skipped() -> None:
    assert times("30 2,3 * * *", SPRING - timedelta(hours=12), 3, BERLIN) == [
        "03-31 03:00 +0200",
        "03-31 03:30 +0200",
        "04-01 02:30 +0200",
    ]


def test_a_time_that_the_clocks_show_twice_fires_the_first_time() -> None:
    assert times("30 2 * * *", AUTUMN - timedelta(hours=12), 2, BERLIN) == [
        "10-27 02:30 +0200",
        "10-28 02:30 +0100",
    ]


@pytest.mark.parametrize("change", [SPRING, AUTUMN])
def test_a_schedule_of_minutes_keeps_firing_through_both_changes(change: datetime) -> None:
    moment = change - timedelta(hours=3)
    line = schedule.parse("*/10 * * * *")
    fired = []
    for _ in range(36):
        moment = line.next_after(moment, BERLIN)
        fired.append(moment)
    steps = {after - before for before, after in itertools.pairwise(fired)}
    assert steps == {timedelta(minutes=10)}


def test_an_hourly_schedule_fires_once_in_each_real_hour() -> None:
    assert times("30 * * * *", AUTUMN - timedelta(hours=2), 4, BERLIN) == [
        "10-27 01:30 +0200",
        "10-27 02:30 +0200",
        "10-27 02:30 +0100",
        "10-27 03:30 +0100",
    ]
    assert times("30 * * * *", SPRING - timedelta(hours=1), 2, BERLIN) == [
        "03-31 01:30 +0100",
        "03-31 03:30 +0200",
    ]


def test_a_day_that_begins_in_a_gap_begins_after_it() -> None:
    """In Cairo the night to 26 April 2024 went from 23:59 to 01:00."""
    cairo = ZoneInfo("Africa/Cairo")
    assert times("@daily", at("2024-04-25 12:00"), 2, cairo) == [
        "04-26 01:00 +0300",
        "04-27 00:00 +0300",
    ]


def test_an_interval_counts_from_the_moment_whatever_the_clocks_do() -> None:
    every = schedule.parse("every 2h")
    moment = (SPRING - timedelta(minutes=30)).astimezone(BERLIN)
    assert every.next_after(moment, BERLIN) == SPRING + timedelta(minutes=90)
    assert every.next_after(moment, BERLIN).tzinfo is UTC


FIELDS = (range(60), range(24), range(1, 32), range(1, 13), range(8))


@st.composite
def fields(draw: st.DrawFn, numbers: range) -> str:
    """One field of a cron line."""
    low = draw(st.sampled_from(numbers))
    high = draw(st.integers(low, numbers[-1]))
    most = max(1, high - low)
    single = st.sampled_from(numbers).map(str)
    spans = st.sampled_from([f"{low}-{high}", f"{low}-{high}/{draw(st.integers(1, most))}"])
    lists = st.lists(st.one_of(single, spans), min_size=1, max_size=3).map(",".join)
    step = draw(st.integers(1, numbers[-1] - numbers[0]))
    return draw(st.one_of(st.just("*"), st.just("*"), st.just(f"*/{step}"), lists))


def naive(text: str, numbers: range) -> set[int]:
    """The numbers of a field, read as slowly as can be."""
    found = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        low, _, high = span.replace("*", f"{numbers[0]}-{numbers[-1]}").partition("-")
        for number in range(int(low), int(high or low) + 1):
            if (number - int(low)) % int(step or 1) == 0:
                found.add(number)
    return found


def fits(line: str, wall: datetime) -> bool:
    """Whether a cron line fits the time on a clock."""
    texts = line.split()
    minutes, hours, days, months, weekdays = map(naive, texts, FIELDS)
    day = wall.day in days
    weekday = bool(weekdays & {wall.isoweekday() % 7, wall.isoweekday()})
    either = not texts[2].startswith("*") and not texts[4].startswith("*")
    return (
        wall.minute in minutes
        and wall.hour in hours
        and wall.month in months
        and (day or weekday if either else day and weekday)
    )


def oracle(line: str, start: datetime, minutes: int, zone: ZoneInfo) -> Iterator[datetime]:
    """Every time within `minutes` after `start`, minute by minute."""
    every_hour = naive(line.split()[1], range(24)) == set(range(24))
    before = (start + MINUTE).replace(second=0) - MINUTE
    for _ in range(minutes):
        wall_before = before.astimezone(zone).replace(tzinfo=None)
        now = before + MINUTE
        local = now.astimezone(zone)
        wall = local.replace(tzinfo=None)
        shown = [wall] if every_hour or not local.fold else []
        if not every_hour:
            while (wall_before := wall_before + MINUTE) < wall:
                shown.append(wall_before)
        if any(fits(line, each.replace(fold=0)) for each in shown):
            yield now
        before = now


lines = st.tuples(*map(fields, FIELDS)).map(" ".join)
# Day fields that fit any day: what is compared is a few hours, and most lines would be silent.
daily_lines = st.tuples(fields(FIELDS[0]), fields(FIELDS[1])).map(
    lambda two: " ".join([*two, "* * *"])
)


def next_time(line: str, start: datetime) -> datetime | None:
    """The time after `start` within three days, if there is one."""
    try:
        found = schedule.parse(line).next_after(start, UTC_ZONE)
    except ValueError:  # refused, as it never fires
        return None
    return found if found <= start + timedelta(days=3) else None


@settings(max_examples=100, deadline=None, derandomize=True)
@given(line=st.one_of(lines, daily_lines), seconds=st.integers(0, 4 * 366 * 86400))
def test_the_next_time_is_what_a_minute_by_minute_search_finds(line: str, seconds: int) -> None:
    start = at("2024-01-01") + timedelta(seconds=seconds)
    assert next_time(line, start) == next(oracle(line, start, 3 * 24 * 60, UTC_ZONE), None)


CHANGES = [
    (BERLIN, SPRING),
    (BERLIN, AUTUMN),
    (LORD_HOWE, at("2024-04-06 15:00")),  # 7 April 02:00 -> 01:30
    (LORD_HOWE, at("2024-10-05 15:30")),  # 6 October 02:00 -> 02:30
]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    line=daily_lines,
    change=st.sampled_from(CHANGES),
    before=st.integers(0, 300),
)
def test_around_a_change_of_the_clocks_the_same_search_finds_every_time(
    line: str, change: tuple[ZoneInfo, datetime], before: int
) -> None:
    zone, moment = change
    start = moment - before * MINUTE
    expected = list(itertools.islice(oracle(line, start, 600, zone), 40))
    found: list[datetime] = []
    while len(found) < len(expected):
        found.append(schedule.parse(line).next_after(found[-1] if found else start, zone))
    assert found == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "0 fields"),
        ("10m", "'every 10m'"),
        ("* * * *", "4 fields"),
        ("0 * * * * *", "6 fields"),
        ("@reboot", "not one of @daily"),
        ("60 * * * *", "minute must be from 0 to 59, not 60"),
        ("* 24 * * *", "hour must be from 0 to 23, not 24"),
        ("* * 0 * *", "day-of-month must be from 1 to 31, not 0"),
        ("* * * 13 *", "month must be from 1 to 12, not 13"),
        ("* * * * 8", "day-of-week must be from 0 to 7, not 8"),
        ("* * * * funday", "'funday' in its day-of-week field is not a number or name"),
        ("x * * * *", "'x' in its minute field is not a number"),
        ("-1 * * * *", "'-1' in its minute field is not a number"),
        ("1- * * * *", "'1-' in its minute field is not a number"),
        ("1,,2 * * * *", "'' in its minute field is not a number"),
        ("٣ * * * *", "is not a number"),
        ("0 0 L * *", "'L' in its day-of-month field is not a number"),
        ("* 22-2 * * *", "runs backwards"),
        ("5/10 * * * *", "steps through a single number"),
        ("*/0 * * * *", "must be from 1 to 59"),
        ("*/90 * * * *", "must be from 1 to 59"),
        ("*/ * * * *", "must be from 1 to 59"),
        ("1-5/5 * * * *", "must be from 1 to 4"),
        ("0 0 31 2 *", "never fires"),
        ("0 0 30 2 *", "never fires"),
        ("0 0 31 4,6,9,11 *", "never fires"),
        ("every 9s", "too often"),
        ("every", "no duration"),
        ("every 10", "no duration"),
        ("every -10m", "no duration"),
        ("every 2 months", "no fixed length"),
    ],
)
def test_what_is_no_schedule_is_refused_in_one_sentence(text: str, says: str) -> None:
    with pytest.raises(ValueError) as refused:
        schedule.parse(text)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_day_31_and_a_weekday_always_come() -> None:
    """Both restricted: the weekday alone suffices, also in February."""
    assert times("0 0 31 2 mon", at("2024-02-01 00:00"), 1) == ["02-05 00:00 +0000"]


def test_jitter_belongs_to_the_schedule_and_is_less_than_its_interval() -> None:
    assert schedule.parse("every 10m", timedelta(minutes=1)).jitter == timedelta(minutes=1)
    with pytest.raises(ValueError, match="shorter than the jitter"):
        schedule.parse("every 10m", timedelta(minutes=10))


@pytest.mark.parametrize("text", ["every 10m", "*/5 * * * *", "@daily"])
def test_a_schedule_prints_as_it_was_written(text: str) -> None:
    assert str(schedule.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0s", 0), ("90s", 90), ("10m", 600), ("24h", 86400), ("14d", 1209600), ("2w", 1209600)],
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert durations.parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no duration"),
        ("10", "no duration"),
        ("h", "no duration"),
        ("-1h", "no duration"),
        ("1.5h", "no duration"),
        ("1h30m", "no duration"),
        ("1 h", "no duration"),
        ("٣h", "no duration"),
        ("10ms", "no duration"),
        ("3M", "no fixed length"),
        ("3 months", "no fixed length"),
        ("1y", "no fixed length"),
        ("36501d", "longer than a century"),
        ("999999999999w", "longer than a century"),
    ],
)
def test_what_is_no_duration_is_refused_in_one_sentence(text: str, says: str) -> None:
    with pytest.raises(ValueError) as refused:
        durations.parse_duration(text)
    assert says in str(refused.value)


def test_the_shortest_interval_is_ten_seconds() -> None:
    assert schedule.parse("every 10s").every == timedelta(seconds=10)


def test_a_line_is_parsed_once() -> None:
    assert cron.parse("1 2 3 4 5") is cron.parse("1 2 3 4 5")
