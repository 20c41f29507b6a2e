"""The four examples of reference/retention.md 5.2, its calendar table, and borders of time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from syncer import patterns, retention
from syncer.retention import Guard, Keep, Pin, RetentionPolicy, Rule, Snapshot, TagFact

NOW = datetime(2026, 5, 6, 12, tzinfo=UTC)
ANY = patterns.parse("*")


def days(count: float) -> timedelta:
    return timedelta(days=count)


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def snapshot(tags: dict[str, datetime], **pulled: datetime) -> Snapshot:
    """A repository in which each tag has a digest of its own; `pulled` by tag, dots left out."""
    facts = tuple(
        TagFact(tag, digest(n), first_seen=at, pulled=pulled.get(tag.replace(".", "")))
        for n, (tag, at) in enumerate(tags.items())
    )
    return Snapshot("prod/app", facts, complete=True, pulls_known=True)


def policy(*rules: Rule, **more: object) -> RetentionPolicy:
    return RetentionPolicy("policy", rules, **({"guard": Guard(min_age=days(0))} | more))  # type: ignore[arg-type]


def reasons(policy: RetentionPolicy, snapshot: Snapshot) -> dict[str, str]:
    """The reason for each kept tag."""
    return {each.tag: each.reason for each in retention.decide(policy, snapshot, NOW) if each.keep}


def dropped(policy: RetentionPolicy, snapshot: Snapshot, now: datetime = NOW) -> set[str]:
    return {each.tag for each in retention.decide(policy, snapshot, now) if not each.keep}


def test_example_1_the_newest_patches_of_each_line_and_what_is_pulled() -> None:
    releases = Rule(
        "releases",
        patterns.parse(r"re:v(?P<major>\d+)\.(?P<minor>\d+)\.(?P<patch>\d+)"),
        Keep(last=2, pulled_within=days(90)),
        group=("major", "minor"),
        sort="semver",
    )
    candidates = Rule(
        "candidates",
        patterns.parse(r"re:v\d+\.\d+\.\d+-rc\.\d+"),
        Keep(within=days(30), last=1),
    )
    example = RetentionPolicy(
        "releases",
        (releases, candidates),
        protect=tuple(map(patterns.parse, ("latest", "stable", r"re:v\d+\.\d+\.0"))),
        pins=(),
        untagged_grace=days(14),
    )
    tags = ("v1.4.0", "v1.4.1", "v1.4.2", "v1.4.3", "v1.4.10", "v1.5.0")
    old = {tag: NOW - days(300 - n) for n, tag in enumerate((*tags, "latest", "nightly-x"))}
    old |= {f"v1.6.0-rc.{n}": NOW - days(50 - n) for n in (1, 2, 3)}
    found = snapshot(old, v141=NOW - days(100), v142=NOW - days(30))
    decisions = retention.decide(example, found, NOW)
    assert {each.tag: (each.rule, each.reason) for each in decisions if not each.keep} == {
        "v1.4.1": ("releases", "4th of 1.4, held by none of: last 2, pulled within 90 days"),
        "v1.6.0-rc.1": ("candidates", "3rd, held by none of: last 1, within 30 days"),
        "v1.6.0-rc.2": ("candidates", "2nd, held by none of: last 1, within 30 days"),
    }
    assert reasons(example, found) == {
        "latest": "protected by 'latest'",
        "nightly-x": "claimed by no rule",
        "v1.4.0": r"protected by 're:v\\d+\\.\\d+\\.0'",
        "v1.4.10": "last 2 of 1.4: highest",
        "v1.4.2": "pulled within 90 days",
        "v1.4.3": "last 2 of 1.4: 2nd highest",
        "v1.5.0": r"protected by 're:v\\d+\\.\\d+\\.0'",
        "v1.6.0-rc.3": "last 1: newest",
    }


BUILDS = Rule(
    "builds",
    patterns.parse(r"re:(?P<branch>main|release-\d+)-\d{8}-[0-9a-f]{7,40}"),
    Keep(last=3, daily=days(7), weekly=4, monthly=6),
    group=("branch",),
)


def test_example_2_builds_per_branch_by_calendar() -> None:
    ages = (0, 1, 2, 3, 4, 5, 6, 8, 12, 15, 20, 25, 40, 75, 100)
    tags = {f"main-{NOW - days(age):%Y%m%d}-abcdef0": NOW - days(age) for age in ages}
    tags["release-7-20240101-abcdef0"] = NOW - days(850)
    found = snapshot(tags)
    assert dropped(policy(BUILDS), found) == {
        f"main-{NOW - days(age):%Y%m%d}-abcdef0" for age in (8, 15, 25)
    }
    kept = reasons(policy(BUILDS), found)
    assert len(kept) == 12 + 1
    assert kept["main-20260503-abcdef0"] == "daily 2026-05-03 of main, weekly 2026-W18 of main"
    assert kept["release-7-20240101-abcdef0"].startswith("last 3 of release-7: newest")


def test_example_3_pull_requests_go_altogether() -> None:
    rule = Rule(
        "pull requests",
        patterns.parse(r"re:pr-(?P<pr>\d+)-.*"),
        Keep(within=days(3), daily=days(14)),
        group=("pr",),
    )
    ages = {"a": 0.0, "b": 0.1, "c": 2.9, "d": 5.0, "e": 5.1, "f": 13.9, "g": 14.1}
    found = snapshot({f"pr-1-{name}": NOW - days(age) for name, age in ages.items()})
    assert dropped(policy(rule), found) == {"pr-1-e", "pr-1-g"}
    assert len(dropped(policy(rule), found, NOW + days(15))) == len(ages)


def test_example_4_the_standby_keeps_more() -> None:
    rule = Rule("all", ANY, Keep(within=days(400), last=30, monthly=24))
    example = policy(rule, protect=(patterns.parse("latest"),), guard=Guard())
    ages = {f"v{n}": 12 * n for n in range(60)}
    found = snapshot({tag: NOW - days(age) for tag, age in ages.items()})
    gone = dropped(example, found)
    assert len(gone) == 16
    assert all(ages[tag] > 400 for tag in gone)
    newest = {f"{NOW - days(age):%Y-%m}": tag for tag, age in reversed(ages.items())}
    assert not gone & {newest[month] for month in sorted(newest)[-24:]}


TABLE = """
05-06 12:00 last daily weekly monthly
05-05 20:00 daily
05-05 08:00
05-04 12:00 daily
05-03 12:00 weekly
05-01 18:00
05-01 09:00
04-30 12:00 monthly
04-26 12:00
04-18 12:00
03-31 23:30
"""


def table() -> dict[str, datetime]:
    moments = [line.split()[:2] for line in TABLE.strip().splitlines()]
    return {
        f"{day}_{at.replace(':', '')}": datetime.fromisoformat(f"2026-{day}T{at}+00:00")
        for day, at in moments
    }


def test_calendar_keeps_are_the_union_that_restic_makes() -> None:
    """The restic column of the table in section 2, reasons and all."""
    rule = Rule("all", ANY, Keep(last=1, daily=3, weekly=2, monthly=2))
    kept = reasons(policy(rule), snapshot(table()))
    for line in TABLE.strip().splitlines():
        day, at, *words = line.split()
        reason = kept.get(f"{day}_{at.replace(':', '')}", "")
        assert [part.split()[0] for part in reason.split(", ") if part] == words


def test_the_oldest_stays_only_when_asked_for_and_while_a_count_has_room() -> None:
    def kept(**keep: int) -> set[str]:
        return set(reasons(policy(Rule("all", ANY, Keep(**keep))), snapshot(table())))  # type: ignore[arg-type]

    newest = {"05-06_1200", "05-05_2000"}
    assert kept(daily=2, yearly=3) == newest
    assert kept(daily=2, yearly=3, oldest=True) == newest | {"03-31_2330"}
    assert kept(daily=2, yearly=1, oldest=True) == newest


@pytest.mark.parametrize(
    ("zone", "period", "first", "second", "together"),
    [
        # The hour from 02:00 to 03:00 comes twice when summer time ends.
        ("Europe/Berlin", "hourly", "2025-10-26T00:10", "2025-10-26T01:50", False),
        ("UTC", "hourly", "2025-10-26T01:10", "2025-10-26T01:50", True),
        # In Nepal an hour begins at a quarter past.
        ("Asia/Kathmandu", "hourly", "2026-05-05T10:05", "2026-05-05T10:20", False),
        # A day of 23 hours is one day.
        ("Europe/Berlin", "daily", "2026-03-28T23:30", "2026-03-29T21:30", True),
        ("UTC", "daily", "2026-03-28T23:30", "2026-03-29T21:30", False),
        ("Europe/Berlin", "daily", "2026-05-05T12:00", "2026-05-05T22:30", False),
        # Apia is a day ahead of most.
        ("Pacific/Apia", "monthly", "2026-04-30T10:00", "2026-04-30T12:00", False),
        # Weeks are those of ISO 8601: they begin on Monday and may end in another year.
        ("UTC", "weekly", "2025-12-29T00:00", "2026-01-04T23:59", True),
        ("UTC", "weekly", "2026-01-04T23:59", "2026-01-05T00:00", False),
        ("Europe/Berlin", "yearly", "2025-12-31T22:59", "2025-12-31T23:01", False),
        ("UTC", "yearly", "2025-12-31T22:59", "2025-12-31T23:01", True),
    ],
)
def test_periods_begin_in_the_zone_of_the_policy(
    zone: str, period: str, first: str, second: str, *, together: bool
) -> None:
    moments = {"first": first, "second": second}
    found = snapshot({tag: datetime.fromisoformat(f"{at}+00:00") for tag, at in moments.items()})
    rule = Rule("all", ANY, Keep(**{period: 5}))  # type: ignore[arg-type]
    gone = dropped(policy(rule, timezone=ZoneInfo(zone)), found)
    assert gone == ({"first"} if together else set())


def test_within_is_counted_from_now_and_its_limit_still_holds() -> None:
    rule = Rule("all", ANY, Keep(within=days(3)))
    instant = timedelta(microseconds=1)
    found = snapshot({"on": NOW - days(3), "over": NOW - days(3) - instant})
    assert dropped(policy(rule), found) == {"over"}
    assert dropped(policy(rule), found, NOW + instant) == {"on", "over"}


def test_a_mirror_filled_in_the_wrong_order_keeps_the_last_of_its_source() -> None:
    """Order goes by the source; age by the arrival here."""
    facts = tuple(
        TagFact(f"v{n}", digest(n), first_seen=NOW - days(50 - n), source_order=NOW - days(100 + n))
        for n in range(10)
    )
    found = Snapshot("mirror/app", facts, complete=True)
    rule = Rule("all", ANY, Keep(last=3))
    assert set(reasons(policy(rule), found)) == {"v0", "v1", "v2"}
    young = Rule("all", ANY, Keep(within=days(45)))
    assert set(reasons(policy(young), found)) == {"v5", "v6", "v7", "v8", "v9"}


def test_a_fresh_state_makes_everything_young_and_tied() -> None:
    """Without push times all that is known is the first listing: no count can tell them apart."""
    found = snapshot({f"v{n}": NOW - days(2) for n in range(5)})
    assert not dropped(policy(Rule("all", ANY, Keep(last=1))), found)
    assert not dropped(policy(Rule("all", ANY, Keep(daily=1))), found)


def test_three_tags_on_one_digest_are_one_of_the_last_two() -> None:
    facts = [TagFact(tag, digest(1), first_seen=NOW - days(2)) for tag in ("a", "b", "c")]
    facts += [TagFact(f"d{n}", digest(n), first_seen=NOW - days(n)) for n in (3, 4, 5)]
    found = Snapshot("prod/app", tuple(facts), complete=True)
    assert set(reasons(policy(Rule("all", ANY, Keep(last=2))), found)) == {"a", "b", "c", "d3"}


def test_a_protected_tag_takes_no_place_among_the_last() -> None:
    found = snapshot({"latest": NOW, "v3": NOW - days(1), "v2": NOW - days(2), "v1": NOW - days(3)})
    rule = Rule("all", ANY, Keep(last=2))
    assert dropped(policy(rule, protect=(patterns.parse("latest"),)), found) == {"v1"}


def test_a_tag_that_is_no_version_stays_where_versions_are_counted() -> None:
    found = snapshot({"v2.0.0": NOW, "v1.0.0": NOW - days(1), "edge": NOW - days(2)})
    rule = Rule("all", ANY, Keep(last=1), sort="semver")
    assert reasons(policy(rule), found)["edge"] == "last 1: its order is not known"
    assert dropped(policy(rule), found) == {"v1.0.0"}


def test_without_pull_data_pulled_within_keeps_all_that_is_claimed() -> None:
    found = Snapshot("a", (TagFact("v1", digest(1), first_seen=NOW - days(900)),), complete=True)
    rule = Rule("all", ANY, Keep(pulled_within=days(90)))
    assert reasons(policy(rule), found) == {
        "v1": "pulled within 90 days: the registry does not tell pulls"
    }


def test_what_was_never_pulled_counts_from_its_arrival() -> None:
    """Built on Wednesday, deleted before Thursday's deployment (harbor #18479): not here."""
    found = snapshot({"new": NOW - days(1), "old": NOW - days(91)})
    rule = Rule("all", ANY, Keep(pulled_within=days(90)))
    assert reasons(policy(rule), found) == {"new": "pulled within 90 days: it arrived within them"}
    assert dropped(policy(rule), found) == {"old"}


def test_a_pin_says_where_it_stands_and_why() -> None:
    found = snapshot({"v2": NOW, "v1": NOW - days(9), "v0": NOW - days(10)})
    pins = (
        Pin("prod/app", "v1", "", "runs in eu", "/etc/syncer/pins.d/eu.txt", 7),
        Pin("prod/other", "v0", "", "", "/etc/syncer/pins.d/eu.txt", 8),
    )
    pinned = policy(Rule("all", ANY, Keep(last=1)), pins=pins)
    assert reasons(pinned, found)["v1"] == "pinned by /etc/syncer/pins.d/eu.txt:7: runs in eu"
    assert dropped(pinned, found) == {"v0"}


def test_a_repository_without_rules_loses_nothing() -> None:
    assert not dropped(policy(), snapshot({"v1": NOW - days(900)}))


def test_a_time_at_the_end_of_the_calendar_is_just_young() -> None:
    last = datetime.max.replace(tzinfo=UTC)
    facts = (TagFact("v1", digest(1), first_seen=NOW, pushed=last),)
    found = Snapshot("prod/app", facts, complete=True)
    (decision,) = retention.decide(policy(Rule("all", ANY, Keep(within=days(1)))), found, NOW)
    assert decision.keep
    assert decision.due is None


def test_what_arrived_while_a_run_was_under_way_stays_and_the_reason_is_true() -> None:
    """Its guard asks for no age; that it came after the moment of judging is another matter."""
    keep_newest = policy(Rule("rule 1", patterns.parse("*"), Keep(last=1), sort="semver"))
    found = snapshot({"v1.0.0": NOW + timedelta(milliseconds=1), "v1.0.1": NOW})
    assert reasons(keep_newest, found)["v1.0.0"] == "arrived after this was judged"
    assert dropped(keep_newest, found, NOW + timedelta(seconds=1)) == {"v1.0.0"}
