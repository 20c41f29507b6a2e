"""The guards that refuse a whole repository, or a whole run. They never cut a plan short. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from syncer.retention import wording
from syncer.retention.closure import followed
from syncer.retention.decision import Decision
from syncer.retention.policy import Guard

# Up to so many drops a percentage says nothing.
SMALL = 10


def refusal(guard: Guard, decisions: Sequence[Decision], allow_delete: int | None = None) -> str:
    """Why the drops among `decisions` of one repository are refused, all of them; empty: they pass.

    Args:
        guard: The limits.
        decisions: One for every tag of the repository.
        allow_delete: How many drops an operator has allowed; only the exact number lifts
            `max_delete` and `max_delete_pct`. Nothing lifts `min_keep`.
    """
    drops = sum(not each.keep for each in decisions)
    if not drops:
        return ""
    chosen = [each for each in decisions if not followed(each.tag)]
    if short := _too_few(guard.min_keep, chosen):
        return short
    if allow_delete == drops:
        return ""
    if drops > guard.max_delete:
        limit = f"max_delete = {guard.max_delete}"
    elif drops > SMALL and drops * 100 > guard.max_delete_pct * len(decisions):
        limit = f"max_delete_pct = {guard.max_delete_pct}"
    else:
        return ""
    return (
        f"{drops} of {wording.plural(len(decisions), 'tag')} would go, more than {limit} allows;"
        f" if that is right, say --allow-delete {drops}"
    )


def run_refusal(guard: Guard, total_drops: int, allow_delete: int | None = None) -> str:
    """Why a run of `total_drops` drops in all its repositories is refused; empty: it passes."""
    if total_drops <= guard.max_delete_run or allow_delete == total_drops:
        return ""
    return (
        f"{total_drops} tags would go, more than max_delete_run = {guard.max_delete_run} allows;"
        f" if that is right, say --allow-delete {total_drops}"
    )


def _too_few(least: int, decisions: Iterable[Decision]) -> str:
    """Both tags and digests count: three tags that stay on one digest are one thing to pull."""
    before = [(each.tag, each.digest) for each in decisions]
    after = [(each.tag, each.digest) for each in decisions if each.keep]
    for number, noun in enumerate(("tag", "tagged digest")):
        left = len({pair[number] for pair in after})
        if left < min(least, len({pair[number] for pair in before})):
            words = wording.plural(left, noun)
            return f"only {words} would be left, fewer than min_keep = {least}: keep more"
    return ""
