"""A policy and its numbers in the words a person would use. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from syncer.retention.policy import Keep, RetentionPolicy, Rule

_NOUNS = {"hourly": "hour", "daily": "day", "weekly": "week", "monthly": "month", "yearly": "year"}


def duration(span: timedelta) -> str:
    """`span` in the largest unit that divides it: "90 days", "24 hours", "90 minutes"."""
    seconds = int(span.total_seconds())
    for size, unit, least in ((86400, "day", 2), (3600, "hour", 1), (60, "minute", 1)):
        if seconds % size == 0 and seconds >= least * size:
            return plural(seconds // size, unit)
    return plural(seconds, "second")


def plural(count: int, noun: str) -> str:
    """`count` and `noun`, in the plural unless there is one."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th ..."""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"


def keeps(keep: Keep) -> list[str]:
    """Each keep of a rule in a few words, as reasons name them: "last 2", "daily within 14 days"."""
    words = []
    if keep.last is not None:
        words.append(f"last {keep.last}")
    if keep.within is not None:
        words.append(f"within {duration(keep.within)}")
    for period, value in keep.calendar:
        many = f"{value}" if isinstance(value, int) else f"within {duration(value)}"
        words.append(f"{period} {many}")
    if keep.pulled_within is not None:
        words.append(f"pulled within {duration(keep.pulled_within)}")
    return words


def sentences(policy: RetentionPolicy) -> list[str]:
    """The whole policy, one sentence for each thing it says, in the order it is applied."""
    said = []
    if policy.protect:
        said.append(f"keep {_list([each.text for each in policy.protect])} whatever the rules say")
    if policy.pins:
        said.append(f"keep what is pinned: {plural(len(policy.pins), 'pin')}")
    said += [_rule(rule) for rule in policy.rules]
    if any(rule.keep.calendar for rule in policy.rules):
        said.append(f"hours, days, weeks, months and years are those of {policy.timezone.key}")
    said.append("keep every tag that no rule claims")
    if policy.untagged_grace is not None:
        said.append(f"drop manifests without a tag after {duration(policy.untagged_grace)}")
    if policy.require_mirrored:
        said.append(f"drop only what is verified at {_list(policy.require_mirrored)}")
    guard = policy.guard
    said.append(
        f"drop nothing younger than {duration(guard.min_age)}; leave at least"
        f" {plural(guard.min_keep, 'tagged digest')}; refuse more than"
        f" {plural(guard.max_delete, 'drop')} or {guard.max_delete_pct} % of a repository,"
        f" or {guard.max_delete_run} in a run"
    )
    return said


def _rule(rule: Rule) -> str:
    text = f"of tags matching {rule.tags.text}"
    if rule.group:
        text += f", per {'.'.join(rule.group)}"
    if rule.sort == "semver":
        text += ", by version"
    return f"{text}: keep {_list(_kept(rule))}; drop the rest"


def _kept(rule: Rule) -> list[str]:
    keep, words = rule.keep, []
    if keep.last is not None:
        words.append(f"the {'highest' if rule.sort == 'semver' else 'last'} {keep.last}")
    if keep.within is not None:
        words.append(f"those of the last {duration(keep.within)}")
    for period, value in keep.calendar:
        noun = _NOUNS[period]
        if value == 1:
            words.append(f"the newest of the latest {noun} that has one")
        elif isinstance(value, int):
            words.append(f"the newest of each of the {value} latest {noun}s that have one")
        else:
            words.append(f"the newest of each {noun} for {duration(value)}")
    if keep.pulled_within is not None:
        words.append(f"those pulled within {duration(keep.pulled_within)}")
    if keep.oldest:
        words.append("the oldest while a count is not filled")
    return words


def _list(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
