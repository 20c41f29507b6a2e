"""What the state hands out: plain frozen values, never rows that know a database.

Every datetime is aware and in UTC; sizes are bytes. `registry` is a store's key (its canonical
URL), so that renaming a registry in the rules file loses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from syncer.manifest import Manifest


@dataclass(frozen=True)
class Run:
    """One command or scheduled job, from start to end.

    Attributes:
        outcome: `running` until it ends; then ok, empty, held, partial, failed, refused or
            interrupted.
        report: What `--json` printed; empty while it runs, and for good when it was cut off.
    """

    id: str
    command: str
    rules: tuple[str, ...]
    rules_digest: str
    started: datetime
    finished: datetime | None
    outcome: str
    host: str
    pid: int
    report: Mapping[str, Any] = field(repr=False, hash=False)


@dataclass(frozen=True)
class Step:
    """One thing a run did to a tag, or did not do and why. `previous` is the digest before it."""

    run: str
    rule: str
    action: str
    outcome: str
    registry: str
    repository: str
    tag: str
    digest: str
    at: datetime
    previous: str = ""
    reason: str = ""
    code: str = ""
    size: int = 0


class TagRecord(NamedTuple):
    """What is remembered of one tag pointing to one digest. There may be a million of them.

    Attributes:
        first_seen: Since when the tag has pointed there without a break that we know of.
        last_seen: When it was last known to; at most a day behind.
        gone: Since when it no longer does; None while it does.
        ours: Whether we wrote it, or found it in step with its source.
        source_registry: Where it was copied from; empty when it was not.
        source_repository: The repository it was copied from.
        source_first_seen: The source's own evidence of its age.
    """

    tag: str
    digest: str
    first_seen: datetime
    last_seen: datetime
    gone: datetime | None = None
    ours: bool = False
    source_registry: str = ""
    source_repository: str = ""
    source_first_seen: datetime | None = None


@dataclass(frozen=True)
class BlobSeen:
    """A blob stands in a repository: other repositories may mount it from there."""

    registry: str
    repository: str
    digest: str
    at: datetime


@dataclass(frozen=True)
class Plan:
    """A stored prune plan.

    Attributes:
        status: open (being stored), pending, applied, expired or refused.
        snapshot: Digest of what was observed.
        rules_digest: Digest of the policies and guards it was made by.
        summary: Counts for people and pages.
    """

    id: str
    policies: tuple[str, ...]
    created: datetime
    expires: datetime
    status: str
    snapshot: str
    rules_digest: str
    summary: Mapping[str, Any] = field(repr=False, hash=False)


@dataclass(frozen=True)
class PlanPart:
    """One repository of a stored plan; `body` is JSON."""

    registry: str
    repository: str
    drops: int
    body: Any = field(repr=False, hash=False)


@dataclass(frozen=True)
class Drop:
    """A binding that is about to go, with all that is needed to bring it back.

    Attributes:
        tag: The tag; empty for a manifest without one.
        manifest: What it points to.
        children: The manifests below it, each before what names it.
        reason: The rule and keep that decided.
        trash_tag: The tag that keeps the content alive, where the registry would collect it.
    """

    tag: str
    manifest: Manifest
    children: tuple[Manifest, ...] = ()
    reason: str = ""
    trash_tag: str = ""


@dataclass(frozen=True)
class Dropped:
    """A binding that was dropped by a policy or overwritten by replication.

    Attributes:
        how: dropped or overwritten.
        at: When it was intended, just before the request.
        expires: Until when it can be undone.
        confirmed: When the registry had done it; None when a crash left that open.
        restored: When an undo brought it back.
        suppress: Whether replication leaves it out (a policy with `apply = true` dropped it).
    """

    id: int
    registry: str
    repository: str
    tag: str
    digest: str
    media_type: str
    how: str
    at: datetime
    expires: datetime
    run: str
    plan: str
    policy: str
    reason: str
    trash_tag: str
    suppress: bool
    confirmed: datetime | None
    restored: datetime | None


@dataclass(frozen=True)
class Pin:
    """A tag or digest that no rule may drop before `until`."""

    registry: str
    repository: str
    tag: str
    digest: str
    until: datetime
    reason: str


@dataclass(frozen=True)
class Holder:
    """Who holds a lease, since when and for what."""

    registry: str
    repository: str
    what: str
    host: str
    pid: int
    since: datetime
    expires: datetime


@dataclass(frozen=True)
class RuleState:
    """How a rule (or policy) has fared at one registry.

    Attributes:
        last_success_started: Start of the last run that found every matched tag in step; lag is
            now minus this.
        last_full_pass: End of the last run that went through all of it; None before the first.
        tags_behind: Tags that the last run left undone.
    """

    rule: str
    target: str
    last_started: datetime | None = None
    last_finished: datetime | None = None
    last_outcome: str = ""
    last_success_started: datetime | None = None
    last_full_pass: datetime | None = None
    consecutive_failures: int = 0
    tags_behind: int = 0
