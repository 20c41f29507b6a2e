"""`syncer plan`: what `sync` and `prune` would do now, and why."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from syncer import errors
from syncer.cli import console, summary, working
from syncer.cli.command import Command, as_json, repo_glob
from syncer.cli.session import Session

if TYPE_CHECKING:
    from syncer.rules import Rules

_PENDING = 4


@click.command(
    "plan",
    cls=Command,
    exits=(3, 4, 5, 78),
    words={
        0: "the plan could be made, whether or not it changes anything",
        1: "nothing could be planned",
        3: "part of the plan could not be made, or holds conflicts",
        4: "with --detailed-exitcode: changes are pending",
        5: "a guard refuses part of the plan",
    },
)
@click.argument("chosen", nargs=-1, metavar="[RULE]...")
@repo_glob
@click.option("--detailed-exitcode", is_flag=True, help="Exit 4 when changes are pending.")
@as_json
@click.pass_obj
def command(
    session: Session,
    chosen: tuple[str, ...],
    repo: str | None,
    *,
    detailed_exitcode: bool,
    as_json: bool,
) -> int:
    """Show what sync and prune would do now, and why.

    All rules and policies when none is named; with --repo only replication. No registry is
    written to; what is observed is remembered, as tags age by it.
    """
    from syncer import browse, copy, run
    from syncer.cli import planned, verdicts

    rules = session.rules()
    names, policies = _chosen(rules, chosen, narrowed=repo is not None)
    only = working.selection(repo)
    weight = browse.Weight(0)
    replication, pruned = None, None
    found: list[copy.Comparison] = []
    with working.on(session, rules, doing="") as work:
        if names:
            replication, found = run.preview(work.environment, names, only=only)
            weight = browse.weigh(found)
        if policies:
            pruned = run.prune(work.environment, policies, ahead=timedelta())
    made = planned.Planned(replication, found, weight, pruned, work.tally.patterns)
    if as_json:
        console.emit(made.as_dict())
    else:
        planned.show(made)
        if pruned and pruned.verdicts:
            console.say()
            verdicts.show(pruned)
        summary.problems([*made.errors, *made.skipped])
    if detailed_exitcode and made.changes and not made.exit_code:
        return _PENDING
    return made.exit_code


def _chosen(rules: Rules, names: tuple[str, ...], *, narrowed: bool) -> tuple[list[str], list[str]]:
    """The replication rules and the policies of these names; all when there are none.

    Raises:
        UsageError: A name is that of neither, or there is nothing to plan.
    """
    known = [rule.name for rule in rules.replicate]
    policies = [policy.name for policy in rules.policies]
    for name in names:
        if name not in (*known, *policies):
            there = ", ".join((*known, *policies)) or "none"
            raise errors.UsageError(f"there is no rule or policy {name!r}; there are: {there}")
    wanted = names or (*known, *policies)
    chosen = (
        [name for name in known if name in wanted],
        [name for name in policies if name in wanted and not narrowed],
    )
    if not any(chosen):
        raise errors.UsageError("there is nothing to plan: no rule and no policy")
    return chosen
