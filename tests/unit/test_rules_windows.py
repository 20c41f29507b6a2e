"""Windows: when scheduled work is allowed, against an oracle that looks at the clock on the wall."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer import errors, rules
from syncer.rules import windows

BERLIN = ZoneInfo("Europe/Berlin")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HEAD = 'schema = 1\n[registry.a]\nurl = "https://a.example.com"\n'
RULE = '[[replicate]]\nname = "r"\nsource = "a"\ntarget = ["b"]\nrepos = ["x"]\n'

moments = st.datetimes(
    datetime(2026, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    datetime(2027, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
minutes = st.integers(0, 24 * 60 - 1)


@given(st.sampled_from(DAYS), st.sampled_from(DAYS), minutes, minutes, moments)
def test_a_window_is_open_from_its_first_to_before_its_last_minute_on_its_days(
    first: str, last: str, opens: int, closes: int, moment: datetime
) -> None:
    if opens == closes:
        return
    text = f"{first}-{last} {opens // 60:02}:{opens % 60:02}-{closes // 60:02}:{closes % 60:02}"
    hours = windows.hours([[windows.parse(text)]], BERLIN)
    local = moment.astimezone(BERLIN)
    now, today, yesterday = local.hour * 60 + local.minute, local.weekday(), local.weekday() - 1
    if opens < closes:
        expected = opens <= now < closes and _named(today, first, last)
    else:
        expected = (now >= opens and _named(today, first, last)) or (
            now < closes and _named(yesterday % 7, first, last)
        )
    assert hours.is_open(moment) == expected


@given(minutes, minutes, moments)
def test_opening_and_closing_are_the_next_changes(
    opens: int, closes: int, moment: datetime
) -> None:
    if opens == closes:
        return
    text = f"{opens // 60:02}:{opens % 60:02}-{closes // 60:02}:{closes % 60:02}"
    hours = windows.hours([[windows.parse(text)]], BERLIN)
    opening = hours.opening(moment)
    assert opening >= moment
    assert hours.is_open(opening)
    assert opening == moment or not hours.is_open(opening - timedelta(minutes=1))
    closing = hours.closing(opening)
    assert closing is not None
    assert closing > opening
    assert not hours.is_open(closing)
    assert hours.is_open(closing - timedelta(microseconds=1))


def test_without_a_window_it_never_closes() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    lists: list[list[list[windows.Window]]] = [[], [[]], [[windows.parse("00:00-24:00")]]]
    for each in lists:
        hours = windows.hours(each, BERLIN)
        assert hours.opening(now) == now
        assert hours.closing(now) is None


def test_several_windows_of_one_list_add_up_and_several_lists_narrow_each_other() -> None:
    night, noon = windows.parse("22:00-06:00"), windows.parse("11:00-13:00")
    late = windows.parse("mon-sun 23:00-24:00")
    both = windows.hours([[night, noon]], BERLIN)
    assert both.is_open(datetime(2026, 6, 1, 12, tzinfo=BERLIN))
    assert both.is_open(datetime(2026, 6, 1, 23, tzinfo=BERLIN))
    narrow = windows.hours([[night, noon], [late]], BERLIN)
    assert not narrow.is_open(datetime(2026, 6, 1, 12, tzinfo=BERLIN))
    assert narrow.is_open(datetime(2026, 6, 1, 23, tzinfo=BERLIN))
    assert narrow.closing(datetime(2026, 6, 1, 23, tzinfo=BERLIN)) == datetime(
        2026, 6, 2, tzinfo=BERLIN
    )


def test_a_window_follows_the_clock_on_the_wall_when_it_changes() -> None:
    """On 29 March 2026 Berlin skips 02:00-03:00, on 25 October it has it twice."""
    hours = windows.hours([[windows.parse("02:00-03:00")]], BERLIN)
    skipped = hours.opening(datetime(2026, 3, 29, tzinfo=BERLIN))
    assert skipped == datetime(2026, 3, 30, 2, tzinfo=BERLIN)
    begin = datetime(2026, 10, 25, 0, tzinfo=UTC)  # 02:00 for the first time
    assert hours.opening(begin) == begin
    assert hours.closing(begin) == begin + timedelta(hours=2)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "night",
        "22:00",
        "22-06",
        "22:00-25:00",
        "22:60-23:00",
        "24:00-06:00",
        "08:00-08:00",
        "monday 08:00-09:00",
        "mon- 08:00-09:00",
        "mon,, 08:00-09:00",
        "8:00-9:00",
    ],
)
def test_what_is_no_window_is_refused_with_how_to_write_it(text: str) -> None:
    with pytest.raises(ValueError, match="is no window"):
        windows.parse(text)


@given(st.text(alphabet="montuewdhfrisa-,: 0123456789", max_size=24))
def test_any_text_gives_a_window_with_an_open_minute_or_one_sentence(text: str) -> None:
    try:
        found = windows.parse(text)
    except ValueError as error:
        sentence = str(error)
    else:
        assert 0 < found.minutes < 1 << 7 * 24 * 60
        return
    assert sentence.startswith(repr(text))
    assert "\n" not in sentence


def test_windows_of_a_rule_and_its_registries_that_never_meet_are_an_error() -> None:
    text = f'{HEAD}window = ["08:00-09:00"]\n[registry.b]\nurl = "https://b.example.com"\n{RULE}'
    keys = 'schedule = "every 1h"\nwindow = ["22:00-06:00"]\n'
    with pytest.raises(errors.RulesError, match="never open together") as raised:
        rules.loads(text + keys)
    assert [problem.path for problem in raised.value.problems] == ["replicate[0].schedule"]
    loaded = rules.loads(text + keys.replace("22:00", "08:30"))
    hours = loaded.hours(loaded.rule("r"))
    assert hours.opening(datetime(2026, 6, 1, tzinfo=UTC)).strftime("%H:%M") == "08:30"


@pytest.mark.parametrize("key", ['window = ["22:00-06:00"]', 'deadline = "1h"'])
def test_what_limits_scheduled_runs_wants_a_schedule(key: str) -> None:
    text = f'{HEAD}[registry.b]\nurl = "https://b.example.com"\n{RULE}{key}\n'
    with pytest.raises(errors.RulesError, match="means nothing without a schedule"):
        rules.loads(text)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ('webhook = "ftp://x"', "must be a URL"),
        ('webhook = "alerts.example.com"', "must be a URL"),
        ('webhook = "https://user:hunter2@alerts.example.com/"', "name a file"),
        ('lag = "1h"', "without a webhook"),
        ('on = ["success"]', "must be 'failure'"),
    ],
)
def test_mistakes_in_notify_are_told_without_the_value(key: str, message: str) -> None:
    with pytest.raises(errors.RulesError, match=message) as raised:
        rules.loads(f"schema = 1\n[notify]\n{key}\n")
    assert "hunter2" not in str(raised.value)


def _named(day: int, first: str, last: str) -> bool:
    low, high = DAYS.index(first), DAYS.index(last)
    return low <= day <= high if low <= high else day >= low or day <= high
