"""Source tags against target tags. Pure."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass, field

# What a tag stands for at the target: its digest, or this where only the listing named it.
UNRESOLVED = ""


@dataclass(frozen=True)
class Change:
    """A tag that is not the same on both sides."""

    tag: str
    digest: str  # at the source
    previous: str = ""  # at the target; empty when the tag is not there


@dataclass(frozen=True)
class Diff:
    """What it takes to bring a target repository in step, and what stays as it is.

    Attributes:
        missing: Tags the target does not have.
        changed: Tags that point elsewhere at the target and may be replaced.
        conflicts: Tags that point elsewhere at the target and may not be replaced.
        suppressed: Tags a retention policy dropped here; copying would bring them back.
        in_step: Tags that point to the same digest on both sides, and that digest.
        extraneous: Tags only the target has. They are reported and never touched.
    """

    missing: tuple[Change, ...] = ()
    changed: tuple[Change, ...] = ()
    conflicts: tuple[Change, ...] = ()
    suppressed: tuple[Change, ...] = ()
    in_step: Mapping[str, str] = field(default_factory=dict)
    extraneous: tuple[str, ...] = ()


def diff(
    source: Mapping[str, str],
    target: Mapping[str, str],
    *,
    overwrite: str = "ours",
    ours: Container[tuple[str, str]] = (),
    suppressed: Container[tuple[str, str]] = (),
    unmatched: Collection[str] = (),
) -> Diff:
    """Compares tag -> digest of both sides.

    Args:
        source: The tags a rule matched, with their digests.
        target: All tags of the target repository; those that `source` does not name may be
            unresolved.
        overwrite: `always`, `never`, or `ours`: replace only what `ours` says we put there.
        ours: The (tag, digest) pairs that we wrote at the target or found in step before.
        suppressed: The (tag, digest) pairs that a retention policy dropped from the target.
        unmatched: Further tags the source has, which the rule does not speak of.
    """
    kinds: dict[str, list[Change]] = {
        kind: [] for kind in ("missing", "changed", "conflicts", "suppressed")
    }
    in_step: dict[str, str] = {}
    for tag in sorted(source):
        change = Change(tag, source[tag], target.get(tag, ""))
        if change.previous == change.digest:
            in_step[tag] = change.digest
        elif not change.previous:
            gone = (tag, change.digest) in suppressed
            kinds["suppressed" if gone else "missing"].append(change)
        elif overwrite == "always" or (overwrite == "ours" and (tag, change.previous) in ours):
            kinds["changed"].append(change)
        else:
            kinds["conflicts"].append(change)
    extraneous = {tag for tag in target if tag not in source}
    return Diff(
        **{kind: tuple(changes) for kind, changes in kinds.items()},
        in_step=in_step,
        extraneous=tuple(sorted(extraneous.difference(unmatched))),
    )
