"""Plans: what will be done to one repository, and what a guard forbids. Pure.

A `RepositoryPlan` is the unit of every change: dry run prints it, sync streams it, prune collects
and stores it, and `apply` carries out nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from syncer import errors, events
from syncer.diff import Change, Diff

# Below this many replaced or dropped tags a percentage says nothing.
SMALL = 10
_NOTHING: Mapping[str, str] = {}


class Action(StrEnum):
    """What a step does to a tag.

    `attach` brings what refers to it and leaves the tag where it is, `repair` brings whatever else
    it lacks, `verify` only looks; `expire` removes a trash tag.
    """

    COPY = "copy"
    OVERWRITE = "overwrite"
    ATTACH = "attach"
    DROP = "drop"
    RESTORE = "restore"
    REPAIR = "repair"
    VERIFY = "verify"
    EXPIRE = "expire"


@dataclass(frozen=True, order=True)
class Place:
    """A repository in a registry, by the names of the rules file."""

    registry: str
    repository: str

    def __str__(self) -> str:
        return f"{self.registry}/{self.repository}"


@dataclass(frozen=True)
class Step:
    """One change of one tag.

    Attributes:
        action: What is done.
        tag: The tag; empty where a digest alone is meant.
        digest: What the tag will point to; for a drop, what it points to now.
        previous: What it points to before; a step is skipped when it points elsewhere by then.
        reason: Why: the rule and keep that decided, or empty where the action says it all.
    """

    action: Action
    tag: str
    digest: str
    previous: str = ""
    reason: str = ""


@dataclass(frozen=True)
class RepositoryPlan:
    """Everything one rule does to one target repository.

    Attributes:
        rule: The rule or policy.
        target: What is changed.
        source: What it is compared with; None for a policy.
        steps: The changes, in the order of their tags.
        in_step: How many matched tags need nothing (for a policy: are kept).
        conflicts: Tags that differ and may not be replaced.
        suppressed: Tags not brought back because a policy dropped them.
        extraneous: Tags only the target has.
        refused: Why a guard forbids all of it; empty when it may be applied.
        new: Whether the target repository does not exist yet.
        trimmed: Tags of indexes that the target has only some platforms of, or will have, and the
            digest that each has at the source.
    """

    rule: str
    target: Place
    source: Place | None = None
    steps: tuple[Step, ...] = ()
    in_step: int = 0
    conflicts: tuple[Change, ...] = ()
    suppressed: tuple[Change, ...] = ()
    extraneous: tuple[str, ...] = ()
    refused: str = ""
    new: bool = False
    notes: tuple[str, ...] = field(default=())
    trimmed: Mapping[str, str] = field(default_factory=dict)

    @property
    def matched(self) -> int:
        """How many tags the rule spoke of."""
        return len(self.steps) + self.in_step + len(self.conflicts) + len(self.suppressed)


def replication(
    rule: str,
    source: Place,
    target: Place,
    diff: Diff,
    *,
    is_mutable: Callable[[str], bool],
    max_overwrite_pct: int,
    attachments: Iterable[Step] = (),
    trimmed: Mapping[str, str] = _NOTHING,
    platforms: Sequence[str] = (),
    new: bool = False,
) -> RepositoryPlan:
    """The plan that brings `target` in step, refused when it would replace too many tags.

    Args:
        rule: The rule's name.
        source: Where content comes from.
        target: Where it goes.
        diff: What differs.
        is_mutable: Whether a tag is expected to move.
        max_overwrite_pct: How many percent of the others may be replaced.
        attachments: Steps for tags that stay where they are.
        trimmed: The digests at the source of the tags whose indexes are trimmed.
        platforms: What they are trimmed to.
        new: Whether the target repository does not exist yet.
    """

    def step(action: Action, change: Change) -> Step:
        reason = ""
        if origin := trimmed.get(change.tag):
            reason = f"trimmed to {', '.join(platforms)}: {origin} -> {change.digest}"
        return Step(action, change.tag, change.digest, change.previous, reason)

    steps = [step(Action.COPY, change) for change in diff.missing]
    steps += [step(Action.OVERWRITE, change) for change in diff.changed]
    attached = {step.tag: step for step in attachments}
    return RepositoryPlan(
        rule,
        target,
        source,
        steps=tuple(sorted((*steps, *attached.values()), key=lambda step: step.tag)),
        in_step=len(diff.in_step) - sum(tag in diff.in_step for tag in attached),
        conflicts=diff.conflicts,
        suppressed=diff.suppressed,
        extraneous=diff.extraneous,
        refused=_overwrite_refusal(diff, is_mutable, max_overwrite_pct),
        new=new,
        trimmed=trimmed,
    )


def _overwrite_refusal(diff: Diff, is_mutable: Callable[[str], bool], limit: int) -> str:
    replaced = sum(not is_mutable(change.tag) for change in diff.changed)
    if replaced <= SMALL:
        return ""
    standing = [*diff.extraneous, *diff.in_step, *(change.tag for change in diff.changed)]
    standing += [change.tag for change in diff.conflicts]
    total = sum(not is_mutable(tag) for tag in standing)
    if replaced * 100 <= limit * total:
        return ""
    return (
        f"{replaced} of {total} tags would be replaced, more than max_overwrite_pct = {limit};"
        " look at `syncer plan`, then name moving tags in `mutable` or raise the limit"
    )


def collisions(landings: list[tuple[str, Place, Place]]) -> dict[tuple[str, Place, Place], str]:
    """The (rule, source, target) landings that share a target with another source, each with why.

    Two sources that land on one name would overwrite each other for ever, so neither is copied.
    """
    sources: dict[Place, dict[Place, str]] = {}
    for rule, source, target in landings:
        sources.setdefault(target, {}).setdefault(source, rule)
    found: dict[tuple[str, Place, Place], str] = {}
    for rule, source, target in landings:
        others = [(name, by) for name, by in sources[target].items() if name != source]
        if others:
            other, by = others[0]
            found[rule, source, target] = (
                f"{source} and {other} (rule {by}) would both land on {target}: change a `rename`"
            )
    return found


def ended_step(
    one: RepositoryPlan, step: Step, outcome: str, reason: str = "", code: str = ""
) -> events.StepDone:
    """The event that says how a step of a plan ended."""
    return events.StepDone(
        one.rule,
        step.action,
        outcome,
        one.target.registry,
        one.target.repository,
        step.tag,
        step.digest,
        step.previous,
        reason or step.reason,
        code,
    )


def failure(error: errors.SyncerError) -> tuple[str, str, str]:
    """The outcome, reason and code of a step that raised `error`."""
    if isinstance(error, errors.InterruptedRunError):
        return "interrupted", str(error), error.code
    if isinstance(error, errors.HeldError):
        return "held", str(error), error.code
    if isinstance(error, errors.RefusedError):
        return "refused", str(error), error.code
    return "failed", str(error), error.code
