"""Numbers, sizes, times and messages in the words of people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer.cli import schedules, text
from syncer.rules import schedule

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9_949, "9.9 kB"),
        (9_951, "10 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (3_400_000_000, "3.4 GB"),
        (12 * 10**18, "12000 PB"),
    ],
)
def test_sizes_have_at_most_three_digits_and_never_say_1000(count: int, said: str) -> None:
    assert text.size(count) == said


@given(st.integers(0, 10**17), st.integers(0, 10**17))
def test_a_larger_size_never_reads_as_a_smaller_one(one: int, other: int) -> None:
    units = ["B", "kB", "MB", "GB", "TB", "PB"]

    def rank(count: int) -> tuple[int, float]:
        value, unit = text.size(count).split()
        return units.index(unit), float(value)

    assert (one <= other) <= (rank(one) <= rank(other))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.04, "0.0 s"),
        (2.34, "2.3 s"),
        (9.96, "10 s"),
        (59.6, "1 min"),
        (185, "3 min 5 s"),
        (7200, "2 h"),
        (7261, "2 h 1 min"),
        (4 * 86400 + 30, "4 d"),
    ],
)
def test_durations_are_told_in_the_two_units_that_matter(seconds: float, said: str) -> None:
    assert text.duration(seconds) == said


@pytest.mark.parametrize(
    ("then", "said"),
    [
        (None, "never"),
        (NOW, "0 s ago"),
        (NOW - timedelta(minutes=3, seconds=50), "3 min ago"),
        (NOW - timedelta(days=12), "12 d ago"),
        (NOW + timedelta(hours=18), "in 18 h"),
    ],
)
def test_ages_are_one_unit_rounded_down(then: datetime | None, said: str) -> None:
    assert text.age(then, NOW) == said


def test_moments_stand_on_the_clocks_of_the_rules() -> None:
    said = text.moment(NOW - timedelta(hours=1), NOW, ZoneInfo("Europe/Berlin"))
    assert said == "2026-11-22 12:00 (1 h ago)"


def test_only_what_is_of_another_day_has_a_date_in_a_narrow_column() -> None:
    zone = ZoneInfo("Europe/Berlin")
    assert text.recent(NOW - timedelta(hours=12), NOW, zone) == "01:00 (12 h ago)"
    assert text.recent(NOW - timedelta(hours=14), NOW, zone) == "2026-11-21 23:00"


def test_counts_take_the_plural_they_are_given() -> None:
    found = [text.number(1, "tag"), text.number(1234, "tag"), text.number(0, "retry", "retries")]
    assert found == ["1 tag", "1,234 tags", "0 retries"]
    assert text.number(12) == "12"


def test_people_read_twelve_digits_of_a_digest() -> None:
    assert text.shortened(f"points to {DIGEST}, not") == "points to sha256:abababababab, not"


def test_messages_that_differ_in_names_digests_and_numbers_have_one_shape() -> None:
    one = text.shape(f"GET /v2/prod/app/x: {DIGEST} after 3 s", "prod/app")
    other = text.shape(f"GET /v2/prod/web/x: {DIGEST.replace('ab', 'cd')} after 21 s", "prod/web")
    assert one == other
    assert one != text.shape("PUT /v2/prod/app/x", "prod/app")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("every 10m", "every 10 minutes"),
        ("every 1h", "every hour"),
        ("every 90s", "every 90 seconds"),
        ("* * * * *", "every minute"),
        ("*/15 * * * *", "every 15 minutes"),
        ("5 * * * *", "minute 5 of every hour"),
        ("0 */6 * * *", "every 6 hours"),
        ("30 3 * * *", "at 03:30 every day"),
        ("0 8,20 * * *", "at 08:00 and 20:00 every day"),
        ("0 4 * * 1-5", "at 04:00 on Monday to Friday"),
        ("0 4 * * sun", "at 04:00 on Sunday"),
        ("0 4 1 * *", "at 04:00 on day 1 of the month"),
        ("0 4 1,15 * fri", "at 04:00 on days 1 and 15 of the month or Friday"),
        ("0 4 1 1,7 *", "at 04:00 on day 1 of the month in January and July"),
        ("*/5 8-18 * * 1-5", "every 5 minutes of hours 8 to 18 on Monday to Friday"),
        ("1-59/7 8,9 * * *", "minutes 1, 8, 15, 22, 29, 36, 43, 50 and 57 of hours 8 and 9"),
        ("@weekly", "at 00:00 on Sunday"),
    ],
)
def test_schedules_are_told_in_words(written: str, said: str) -> None:
    assert schedules.words(schedule.parse(written)).startswith(said)


def test_a_schedule_tells_its_jitter_and_its_absence() -> None:
    jittered = schedule.parse("every 10m", timedelta(minutes=1))
    assert schedules.words(jittered) == "every 10 minutes, up to 1 minute later"
    assert schedules.words(None) == "by hand"
