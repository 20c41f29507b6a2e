"""The `[retention]` table: policies, their rules and the guards, and what they mean."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, PrivateAttr, ValidationInfo, field_validator, model_validator

from syncer import retention
from syncer.patterns import Pattern, Selection
from syncer.rules.table import Scheduled, Table
from syncer.rules.values import (
    Array,
    Count,
    Duration,
    Name,
    PathGlob,
    Percent,
    Positive,
    RepositoryPattern,
    Some,
    Span,
    TagPattern,
    suggestion,
)

_GUARD = retention.Guard()
_UTC = ZoneInfo("UTC")


class PolicyGuard(Table):
    """The limits that a policy may set for itself, as `retention.Guard` has them."""

    min_age: Duration = _GUARD.min_age
    min_keep: int = Field(_GUARD.min_keep, ge=0)
    max_delete: int = Field(_GUARD.max_delete, ge=0)
    max_delete_pct: Percent = _GUARD.max_delete_pct
    undo_window: Duration = _GUARD.undo_window


class GuardRules(PolicyGuard):
    """`[retention.guard]`: the limits of all policies, and those that cannot differ among them."""

    max_delete_run: int = Field(_GUARD.max_delete_run, ge=0)
    plan_ttl: Positive = _GUARD.plan_ttl


class KeepRules(Table):
    """`keep = { ... }`, as `retention.Keep` has it."""

    last: Count | None = None
    within: Positive | None = None
    hourly: Span | None = None
    daily: Span | None = None
    weekly: Span | None = None
    monthly: Span | None = None
    yearly: Span | None = None
    pulled_within: Positive | None = None
    oldest: bool = False

    @model_validator(mode="after")
    def _keeps_something(self) -> Self:
        self.keep()
        return self

    def keep(self) -> retention.Keep:
        """The same, as a value of the engine."""
        return retention.Keep(**dict(self))


class TagRules(Table):
    """`[[retention.policy.rule]]`: claims tags and says which of them stay.

    Attributes:
        name: For reasons and plans; without one it is called by its place, `rule 1`.
        tags: What it claims.
        group: Captures of `tags` whose values are kept one by one.
        sort: What `last` counts by.
        keep: What stays.
    """

    name: Name | None = None
    tags: TagPattern
    group: Array[str] = ()
    sort: Literal["age", "semver"] = "age"
    keep: KeepRules

    @field_validator("group")
    @classmethod
    def _captured(cls, group: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        tags: Pattern | None = info.data.get("tags")  # None: it is wrong itself
        for name in group if tags else ():
            if tags and name not in tags.group_names:
                raise ValueError(
                    f"{name!r} is no capture of {tags.text!r}: write (?P<{name}>...) there"
                    f"{suggestion(name, tags.group_names)}"
                )
        return group


class Untagged(Table):
    """`untagged = { grace = "14d" }`: how long a manifest that no tag reaches stays."""

    grace: Duration


class PolicyRules(Scheduled):
    """`[[retention.policy]]`: what stays in some repositories of a registry.

    Attributes:
        name: Unique among policies and replication rules.
        registry: The name of a registry.
        repos: Its repositories; an earlier policy that matches goes first.
        protect: Tags that stay whatever the rules say.
        pins: Whole paths, or globs of paths, of files that list what is in use.
        untagged: What happens to manifests without a tag; None: they stay.
        apply: Whether the schedule carries its plans out; else it stores them.
        require_mirrored: Names of registries that must have a digest before it goes here.
        guard: What differs here from `[retention.guard]`: only the keys that are set count.
        rule: The first one that matches a tag claims it.
    """

    name: Name
    registry: str
    repos: Some[RepositoryPattern]
    protect: Array[TagPattern] = ()
    pins: Array[PathGlob] = ()
    untagged: Untagged | None = None
    apply: bool = False
    require_mirrored: Array[str] = ()
    guard: PolicyGuard = PolicyGuard()
    rule: Array[TagRules] = ()

    _guard: retention.Guard = PrivateAttr(_GUARD)
    _timezone: ZoneInfo = PrivateAttr(_UTC)

    @property
    def repo_selection(self) -> Selection:
        """The repositories it speaks of, unless an earlier policy does."""
        return Selection(self.repos)

    def policy(self, pins: Sequence[retention.Pin] = ()) -> retention.RetentionPolicy:
        """The same, as a value of the engine, with what was read from the files of `pins`."""
        own = {key: getattr(self.guard, key) for key in self.guard.model_fields_set}
        return retention.RetentionPolicy(
            name=self.name,
            rules=tuple(
                retention.Rule(
                    name=rule.name or f"rule {number}",
                    tags=rule.tags,
                    keep=rule.keep.keep(),
                    group=rule.group,
                    sort=rule.sort,
                )
                for number, rule in enumerate(self.rule, 1)
            ),
            protect=self.protect,
            pins=tuple(pins),
            untagged_grace=self.untagged.grace if self.untagged else None,
            guard=dataclasses.replace(self._guard, **own),
            timezone=self._timezone,
            require_mirrored=self.require_mirrored,
        )


class Retention(Table):
    """`[retention]`."""

    guard: GuardRules = GuardRules()
    policy: Array[PolicyRules] = ()
