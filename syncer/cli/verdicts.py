"""What retention policies decided: for people what goes, and what stays by reason; for JSON all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from syncer import reference, run
from syncer.cli import console, text
from syncer.cli.session import now
from syncer.prune import Verdict
from syncer.retention import Decision

# Drops of a repository that are shown one by one.
_MOST = 20


def as_dict(pruned: run.Pruned) -> dict[str, Any]:
    """The plan's part of the JSON object."""
    return {
        "plan": pruned.plan,
        "refused": pruned.refused,
        "drops": pruned.drops,
        "repositories": [_verdict(verdict) for verdict in pruned.verdicts],
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "policy": verdict.policy.name,
        "repository": str(verdict.plan.target),
        "refused": verdict.plan.refused,
        "drop": [_decision(each) for each in verdict.decisions if not each.keep],
        "keep": [_decision(each) for each in verdict.decisions if each.keep],
    }


def _decision(decision: Decision) -> dict[str, Any]:
    return {
        "tag": decision.tag,
        "digest": decision.digest,
        "rule": decision.rule,
        "reason": decision.reason,
        "since": decision.since,
        "due": decision.due,
    }


def show(pruned: run.Pruned) -> None:
    """Prints each repository from which something goes."""
    moment = now()
    for number, verdict in enumerate(pruned.verdicts):
        if number:
            console.say()
        drops = verdict.drops
        kept = [each for each in verdict.decisions if each.keep]
        console.say(
            f"{verdict.plan.target} ({verdict.policy.name}):"
            f" {text.number(len(drops), 'tag')} would go, {len(kept):,} stay",
            "bold",
        )
        if verdict.plan.refused:
            console.say(f"  refused: {verdict.plan.refused}", "red")
        console.table(("drop", "digest", "arrived", "why"), _rows(drops[:_MOST], moment), indent=2)
        if len(drops) > _MOST:
            console.say(f"  and {len(drops) - _MOST:,} more; --json has them all")
        reasons = Counter(f"{each.rule}: {_kind(each.reason)}" for each in kept)
        for reason, count in reasons.most_common(_MOST):
            console.say(f"  keep {count:,}: {reason}")


def _kind(reason: str) -> str:
    """What the reasons of a group share: `last 2 of 1.4: 1st highest` without the place."""
    return reason.partition(": ")[0]


def _rows(drops: Sequence[Decision], moment: datetime) -> list[tuple[str, ...]]:
    return [
        (
            each.tag or "(no tag)",
            reference.short(each.digest),
            text.age(each.since, moment) if each.since else "unknown",
            f"{each.rule}: {each.reason}",
        )
        for each in drops
    ]


def conclude(pruned: run.Pruned, apply: str) -> None:
    """Prints the counts and what to type to carry it out.

    Args:
        pruned: What was decided.
        apply: The command line that drops.
    """
    kept = sum(rule.in_step for rule in pruned.report.rules.values())
    if not pruned.verdicts:
        console.outcome(pruned.report.outcome, f"nothing to drop, {text.number(kept, 'tag')} stay")
        return
    console.say()
    repositories = sum(not verdict.plan.refused for verdict in pruned.verdicts)
    places = text.number(repositories, "repository", "repositories")
    console.outcome(
        pruned.report.outcome,
        f"{text.number(pruned.drops, 'tag')} in {places} would go, {kept:,} stay",
    )
    if pruned.refused:
        console.say(f"refused as a whole: {pruned.refused}", "red")
    elif pruned.drops:
        line = f"syncer apply {pruned.plan}" if pruned.plan else apply
        console.say("its space comes back with the registry's own garbage collection after that")
        console.say(f"nothing was dropped; to drop it: {line}")
