"""What an operator wants kept: policies, their rules, keeps, guards and pins, as values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Literal
from zoneinfo import ZoneInfo

from syncer.patterns import Pattern

# The calendar keeps and the label of one of their periods; equal labels are one period. An hour
# carries its offset, so that the hour that summer time repeats is two.
PERIODS = {
    "hourly": "%Y-%m-%d %H:00 %z",
    "daily": "%Y-%m-%d",
    "weekly": "%G-W%V",
    "monthly": "%Y-%m",
    "yearly": "%Y",
}
Span = int | timedelta | None


@dataclass(frozen=True)
class Keep:
    """What one rule keeps: the union of what is given here. At least one must be.

    Attributes:
        last: The N newest digests (or highest versions) of a group.
        within: What is at most this old at the time of the plan.
        hourly, daily, weekly, monthly, yearly: The newest digest of each of the N latest periods
            that have one; or, with a duration, of each period, as long as it is at most this old.
        pulled_within: What was pulled, or arrived, at most this long ago.
        oldest: Also the oldest digest of a group while a calendar count is not filled, as restic
            does.

    Raises:
        ValueError: Nothing is kept, or a count or duration is not positive.
    """

    last: int | None = None
    within: timedelta | None = None
    hourly: Span = None
    daily: Span = None
    weekly: Span = None
    monthly: Span = None
    yearly: Span = None
    pulled_within: timedelta | None = None
    oldest: bool = False

    def __post_init__(self) -> None:
        given = {key: value for key, value in vars(self).items() if value and key != "oldest"}
        for key, value in vars(self).items():
            if key != "oldest" and value is not None and (not value or value < type(value)(0)):
                raise ValueError(
                    f"{key} must be more than nothing; leave it out to keep nothing by it"
                )
        if not given:
            raise ValueError("an empty keep would drop every tag that the rule claims")
        if self.oldest and not any(isinstance(value, int) for _, value in self.calendar):
            raise ValueError("oldest fills up a calendar count, such as yearly = 3; there is none")

    @property
    def calendar(self) -> list[tuple[str, int | timedelta]]:
        """The calendar keeps that are given, finest first."""
        values = ((period, getattr(self, period)) for period in PERIODS)
        return [(period, value) for period, value in values if value is not None]


@dataclass(frozen=True)
class Rule:
    """Claims tags and says which of them stay.

    Attributes:
        name: Unique in its policy.
        tags: What it claims, unless an earlier rule did.
        group: Captures of `tags`; each combination of their values is kept by itself.
        sort: What `last` counts by: the order of arrival or the version in the tag.
        keep: What stays.

    Raises:
        ValueError: `tags` does not capture what `group` names.
    """

    name: str
    tags: Pattern
    keep: Keep
    group: tuple[str, ...] = ()
    sort: Literal["age", "semver"] = "age"

    def __post_init__(self) -> None:
        for name in self.group:
            if name not in self.tags.group_names:
                raise ValueError(
                    f"group {name!r} is not captured by {self.tags.text!r}: write (?P<{name}>...)"
                )


@dataclass(frozen=True)
class Guard:
    """The limits within which a plan may drop.

    Attributes:
        min_age: Nothing younger is touched.
        min_keep: How many tagged digests of a repository always stay.
        max_delete: Above so many drops a repository is refused.
        max_delete_pct: Above so many percent of its tags, and 10 drops, a repository is refused.
        max_delete_run: Above so many drops all together the run is refused.
        undo_window: How long a drop can be undone.
        plan_ttl: How long a stored plan can be applied.
    """

    min_age: timedelta = timedelta(hours=24)
    min_keep: int = 1
    max_delete: int = 200
    max_delete_pct: int = 30
    max_delete_run: int = 2000
    undo_window: timedelta = timedelta(days=14)
    plan_ttl: timedelta = timedelta(days=7)


@dataclass(frozen=True)
class Pin:
    """A line of a pin file: something in use, wherever it stands.

    Attributes:
        repository: Where; empty for every repository (a digest alone).
        tag: The tag that stays, or empty.
        digest: The digest whose tags stay, and those of every index that holds it; or empty.
        reason: What stands after `#`.
        file: The file it stands in.
        line: And the line.
    """

    repository: str = ""
    tag: str = ""
    digest: str = ""
    reason: str = ""
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        place = f"pinned by {self.file}:{self.line}" if self.line else f"pinned by {self.file}"
        return f"{place}: {self.reason}" if self.reason else place


@dataclass(frozen=True)
class RetentionPolicy:
    """What happens to the tags of the repositories it is applied to.

    Attributes:
        name: Unique in the rules file.
        rules: The first one that matches a tag claims it; what none claims stays.
        protect: Tags that stay whatever the rules say, and take no place in their counts.
        pins: Tags and digests in use; they stay like protected ones.
        untagged_grace: How long a manifest that no tag reaches stays; None: for ever.
        guard: The limits.
        timezone: Where days, weeks, months and years begin.
        require_mirrored: Registries at which a digest must be verified before it goes here.
    """

    name: str
    rules: tuple[Rule, ...]
    protect: tuple[Pattern, ...] = ()
    pins: tuple[Pin, ...] = ()
    untagged_grace: timedelta | None = None
    guard: Guard = field(default_factory=Guard)
    timezone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    require_mirrored: tuple[str, ...] = ()

    def pins_of(self, repository: str) -> list[Pin]:
        """The pins that speak of `repository`."""
        return [*self._pins.get("", ()), *self._pins.get(repository, ())]

    @cached_property
    def _pins(self) -> Mapping[str, list[Pin]]:
        index: dict[str, list[Pin]] = {}
        for pin in self.pins:
            index.setdefault(pin.repository, []).append(pin)
        return index
