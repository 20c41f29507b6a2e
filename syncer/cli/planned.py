"""What `plan` found, for people and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from syncer import browse, diff, events, report, run
from syncer.cli import console, text, verdicts
from syncer.copy import Comparison
from syncer.plan import Action, RepositoryPlan
from syncer.report import Report

_MOST = 10


@dataclass(frozen=True)
class Planned:
    """Everything a plan says.

    Attributes:
        replication: How the comparing went; None when no rule was asked for.
        comparisons: What sync would do.
        weight: How many bytes that moves.
        pruned: What prune would do; None when no policy was asked for.
        patterns: Names that each pattern of a rule matched, by (rule, field, pattern).
    """

    replication: Report | None
    comparisons: Sequence[Comparison]
    weight: browse.Weight
    pruned: run.Pruned | None
    patterns: Mapping[tuple[str, str, str], int]

    @property
    def reports(self) -> list[Report]:
        """Those there are."""
        parts = (self.replication, self.pruned.report if self.pruned else None)
        return [each for each in parts if each is not None]

    @property
    def plans(self) -> list[RepositoryPlan]:
        """The replication plans."""
        return [each.plan for each in self.comparisons]

    @property
    def changes(self) -> int:
        """Tags that sync and prune would change."""
        tags = sum(len(plan.steps) for plan in self.plans if not plan.refused)
        return tags + (self.pruned.drops if self.pruned else 0)

    @property
    def outcome(self) -> str:
        """As of a run: `ok` when the plan could be made and holds no conflict or refusal."""
        rules = [rule for each in self.reports for rule in each.rules.values()]
        return report.combined([rule.outcome for rule in rules])

    @property
    def exit_code(self) -> int:
        """What goes with the outcome."""
        return report.EXIT_CODES[self.outcome]

    @property
    def errors(self) -> list[events.StepDone]:
        """What went wrong or may not be done."""
        return [error for each in self.reports for error in each.errors]

    @property
    def skipped(self) -> list[events.StepDone]:
        """What would be left out, each with the reason."""
        return [step for each in self.reports for step in each.skipped]

    def matches(self, rule: str) -> dict[str, dict[str, int]]:
        """How many names each pattern of a rule matched: `repos` and `tags`.

        Also what `immutable` matched of these tags, and what `latest` took of them and left out.
        """
        found: dict[str, dict[str, int]] = {"repos": {}, "tags": {}}
        for (name, field, pattern), count in self.patterns.items():
            if name == rule:
                found.setdefault(field, {})[pattern] = count
        return found

    def as_dict(self) -> dict[str, Any]:
        """The JSON object: that of a run, with what is planned."""
        parts = [each.as_dict() for each in self.reports]
        rules = [
            rule | {"patterns": self.matches(rule["name"])}
            for part in parts
            for rule in part["rules"]
        ]
        return {
            "command": "plan",
            "outcome": self.outcome,
            "changes": self.changes,
            "bytes_at_most": self.weight.total,
            "manifests_unread": self.weight.unread,
            "rules": rules,
            "replication": [_plan(plan, self.weight) for plan in self.plans],
            "retention": verdicts.as_dict(self.pruned) if self.pruned else None,
            "requests": _added(parts),
            "seconds": round(sum(part["seconds"] for part in parts), 3),
            "errors": [error for part in parts for error in part["errors"]],
            "skipped": [step for part in parts for step in part["skipped"]],
        }


def _added(parts: Sequence[dict[str, Any]]) -> dict[str, dict[str, int]]:
    total: dict[str, dict[str, int]] = {}
    for part in parts:
        for registry, methods in part["requests"].items():
            there = total.setdefault(registry, {})
            for method, count in methods.items():
                there[method] = there.get(method, 0) + count
    return total


def _plan(plan: RepositoryPlan, weight: browse.Weight) -> dict[str, Any]:
    return {
        "rule": plan.rule,
        "source": str(plan.source),
        "target": str(plan.target),
        "new": plan.new,
        "steps": [
            {
                "action": step.action,
                "tag": step.tag,
                "digest": step.digest,
                "previous": step.previous,
                "reason": step.reason,
            }
            for step in plan.steps
        ],
        "in_step": plan.in_step,
        "trimmed": dict(plan.trimmed),
        "conflicts": _changes(plan.conflicts),
        "suppressed": _changes(plan.suppressed),
        "extraneous": list(plan.extraneous),
        "refused": plan.refused,
        "bytes_at_most": weight.places.get(plan.target, 0),
    }


def _changes(changes: Sequence[diff.Change]) -> list[dict[str, str]]:
    return [{"tag": each.tag, "digest": each.digest, "previous": each.previous} for each in changes]


def show(made: Planned) -> None:
    """Prints the replication part: the sum, what the patterns matched, what changes where."""
    if made.replication is None:
        return
    console.outcome(made.outcome, _headline(made))
    for rule in made.replication.rules.values():
        console.say()
        repositories = text.number(rule.repositories, "repository", "repositories")
        trimmed = f", {rule.trimmed:,} of them trimmed" if rule.trimmed else ""
        tags = text.number(rule.matched, "tag")
        console.say(f"{rule.name}: {repositories}, {tags}{trimmed}", "bold")
        matches = made.matches(rule.name)
        latest = matches.pop("latest", {})
        for field, patterns in matches.items():
            for pattern, count in patterns.items():
                matched = text.number(count) if count else "nothing"
                console.say(f"  {field} {pattern} matches {matched}", "" if count else "yellow")
        if rule.remembered:
            within = f"last looked at within {text.span(rule.recheck)}"
            console.say(f"  immutable: {rule.remembered:,} taken as in step, {within}")
        if latest:
            words = ", ".join(f"{count:,} {word}" for word, count in latest.items())
            console.say(f"  latest: {words}; what is not taken is left out")
    _repositories(made)
    _lines(_overwrites(made.plans), "to replace")
    _lines(_trims(made.plans), "to trim")


def _headline(made: Planned) -> str:
    counts = {
        action: sum(
            step.action is action for plan in made.plans if not plan.refused for step in plan.steps
        )
        for action in (Action.COPY, Action.OVERWRITE, Action.ATTACH)
    }
    in_step = sum(plan.in_step for plan in made.plans)
    if failed := sum(report.total("failed") for report in made.reports):
        return f"{text.number(failed, 'place')} could not be looked at; {in_step:,} tags in step"
    if not any(counts.values()):
        return f"{text.number(in_step, 'tag')} in step, nothing to copy"
    rest = "".join(
        f", {counts[action]:,} to {word}"
        for action, word in ((Action.OVERWRITE, "replace"), (Action.ATTACH, "attach to"))
        if counts[action]
    )
    bytes_ = f"at most {text.size(made.weight.total)} to move, referrers aside"
    if made.weight.unread:
        bytes_ += f", and what {text.number(made.weight.unread, 'unread manifest')} name"
    return f"{text.number(counts[Action.COPY], 'tag')} to copy{rest}, {in_step:,} in step; {bytes_}"


def _repositories(made: Planned) -> None:
    rows = [_row(plan, made.weight) for plan in made.plans if _is_telling(plan)]
    if not rows:
        return
    console.say()
    heads = ("target", ">copy", ">replace", ">attach", ">conflicts", ">suppressed", ">in step")
    console.table((*heads, ">only there", ">at most"), rows)
    if rest := len(made.plans) - len(rows):
        console.say(f"and {text.number(rest, 'repository', 'repositories')} in step")


def _is_telling(plan: RepositoryPlan) -> bool:
    return bool(plan.steps or plan.conflicts or plan.suppressed or plan.extraneous)


def _row(plan: RepositoryPlan, weight: browse.Weight) -> tuple[str, ...]:
    steps = Counter(step.action for step in plan.steps)
    counts = [steps[action] for action in (Action.COPY, Action.OVERWRITE, Action.ATTACH)]
    counts += [len(plan.conflicts), len(plan.suppressed)]
    return (
        f"{plan.target}{' (new)' if plan.new else ''}{' refused' if plan.refused else ''}",
        *(f"{count:,}" if count else "" for count in counts),
        f"{plan.in_step:,}",
        f"{len(plan.extraneous):,}" if plan.extraneous else "",
        text.size(weight.places[plan.target]) if weight.places.get(plan.target) else "",
    )


def _lines(found: Iterator[str], what: str) -> None:
    """Prints the first of some lines, and how many more there are."""
    lines = list(found)
    if lines:
        console.say()
    for line in lines[:_MOST]:
        console.say(line)
    if len(lines) > _MOST:
        console.say(f"and {len(lines) - _MOST:,} more {what}; --json has them all")


def _trims(plans: Sequence[RepositoryPlan]) -> Iterator[str]:
    """What will have another digest than at the source."""
    for plan in plans:
        for step in plan.steps:
            if step.tag in plan.trimmed and step.reason and not plan.refused:
                yield f"{plan.target}:{step.tag}: {text.shortened(step.reason)}"


def _overwrites(plans: Sequence[RepositoryPlan]) -> Iterator[str]:
    """What would be overwritten, since that is deleting."""
    for plan in plans:
        for step in plan.steps:
            if step.action is Action.OVERWRITE and not plan.refused:
                moved = text.shortened(f"{step.previous} -> {step.digest}")
                yield f"replace {plan.target}:{step.tag}: {moved}"
