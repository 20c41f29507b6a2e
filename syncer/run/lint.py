"""What is allowed and yet worth a word: a standby that keeps less than its primary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from syncer import errors, replicate, retention
from syncer.retention import Snapshot, TagFact
from syncer.rules import PolicyRules, ReplicateRule
from syncer.run.base import Environment, Run, begin
from syncer.state import TagRecord

_EXAMPLES = 3


def standby_warnings(environment: Environment) -> list[str]:
    """A sentence for each mirrored repository whose policy drops what its source's policy keeps.

    Both policies are evaluated on the source's tags as the state last saw them.
    """
    with begin(environment, "check", {}, record=False) as run:
        return [
            warning
            for rule in environment.rules.replicate
            for repository in _repositories(run, rule)
            for warning in _compare(run, rule, repository)
        ]


def _repositories(run: Run, rule: ReplicateRule) -> list[str]:
    targets = tuple(run.stores.get(name) for name in rule.target)
    job = replicate.Job(rule, run.stores.get(rule.source), targets)
    try:
        return replicate.repositories(job)
    except errors.SyncerError:
        return []  # `check --online` has said that the source cannot be listed


def _compare(run: Run, rule: ReplicateRule, repository: str) -> Iterator[str]:
    rules = run.environment.rules
    primary = rules.policy_for(rule.source, repository)
    for name in rule.target if primary else ():
        landing = rule.renamed(repository)
        standby = rules.policy_for(name, landing)
        if primary is None or standby is None:
            continue
        seen = run.state.tags.seen(rules.registry[rule.source].url, repository)
        snapshot = _snapshot(repository, seen)
        lost = sorted(_kept(primary, snapshot, run.started) - _kept(standby, snapshot, run.started))
        if lost:
            some = ", ".join(lost[:_EXAMPLES]) + (" ..." if len(lost) > _EXAMPLES else "")
            yield (
                f"policy {standby.name} would drop {len(lost)} tags of {name}/{landing} that policy"
                f" {primary.name} keeps at {rule.source}: {some}"
            )


def _snapshot(repository: str, seen: Mapping[str, Mapping[str, TagRecord]]) -> Snapshot:
    facts = tuple(
        TagFact(tag, digest, first_seen=record.first_seen)
        for tag, digests in seen.items()
        for digest, record in digests.items()
        if record.gone is None and digest
    )
    return Snapshot(repository, facts, complete=True)


def _kept(policy: PolicyRules, snapshot: Snapshot, now: datetime) -> set[str]:
    return {each.tag for each in retention.decide(policy.policy(), snapshot, now) if each.keep}
