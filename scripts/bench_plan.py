"""Planning at scale: a policy over a million tags, decided from memory and from the state."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from syncer import retention, rules, state
from syncer.retention import Snapshot, TagFact

TITLE = "planning 1,000,000 tags in 10,000 repositories, pure and with ages from the state"
REPOSITORIES, TAGS = 10_000, 100
_REGISTRY = "https://us.example.com"
_NOW = datetime(2026, 11, 22, tzinfo=UTC)
_RULES = """
schema = 1
[registry.us]
url = "https://us.example.com"
[[retention.policy]]
name = "releases"
registry = "us"
repos = ["**"]
protect = ["latest"]
  [[retention.policy.rule]]
  tags = 're:v(?P<major>\\d+)\\.(?P<minor>\\d+)\\.\\d+'
  group = ["major", "minor"]
  sort = "semver"
  keep = { last = 3, within = "30d" }
"""


def report(directory: Path) -> str:
    """Seconds and peak memory of deciding every repository once, each way."""
    (policy,) = rules.loads(_RULES).policies
    began = time.process_time()
    drops = sum(_drops(policy.policy(), repository) for repository in _repositories())
    pure = time.process_time() - began
    with state.open_state(f"sqlite:///{directory / 'plan.db'}", now=lambda: _NOW) as memory:
        for repository in _repositories():
            memory.tags.observe(_REGISTRY, repository, _tags(repository), complete=True, at=_NOW)
        began = time.process_time()
        for repository in _repositories():
            listing = _tags(repository)
            memory.tags.observe(_REGISTRY, repository, listing, complete=True, at=_NOW)
            seen = memory.tags.seen(_REGISTRY, repository)
            assert len(seen) == len(listing)  # noqa: S101 - a measurement of nothing is none
        remembered = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return (
        f"{TITLE}\n"
        f"  decide: {pure:.1f} s CPU, {drops:,} drops;"
        f" ages from the state: {remembered:.1f} s CPU; peak memory {peak} MB"
    )


def _drops(policy: retention.RetentionPolicy, repository: str) -> int:
    facts = tuple(
        TagFact(tag, digest, first_seen=_NOW - timedelta(days=number))
        for number, (tag, digest) in enumerate(_tags(repository).items())
    )
    decisions = retention.decide(policy, Snapshot(repository, facts, complete=True), _NOW)
    return sum(not each.keep for each in decisions)


def _repositories() -> Iterator[str]:
    return (f"team/app-{number}" for number in range(REPOSITORIES))


def _tags(repository: str) -> dict[str, str]:
    return {
        f"v1.{number // 10}.{number % 10}": f"sha256:{abs(hash((repository, number))):064x}"
        for number in range(TAGS)
    }
