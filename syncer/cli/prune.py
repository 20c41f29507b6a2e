"""`syncer prune`: shows and stores what the retention policies would drop, or drops it."""

from __future__ import annotations

from datetime import timedelta

import click

from syncer.cli import console, summary, working
from syncer.cli.command import Command, as_json
from syncer.cli.session import Session


@click.command(
    "prune",
    cls=Command,
    exits=(3, 5, 75, 78),
    words={0: "the plan is stored or, with --apply, carried out"},
)
@click.argument("policies", nargs=-1, metavar="[POLICY]...")
@click.option("--apply", is_flag=True, help="Carry the plan out.")
@click.option("--allow-delete", type=int, metavar="N", help="Lift the guards for exactly N drops.")
@click.option("--at", metavar="+SPAN", help="Look ahead, as +10d: what would go by then.")
@as_json
@click.pass_obj
def command(
    session: Session,
    policies: tuple[str, ...],
    *,
    apply: bool,
    allow_delete: int | None,
    at: str | None,
    as_json: bool,
) -> int:
    """Show what retention policies would drop, or drop it.

    What goes, and why, is stored as a plan. With --apply the plan is carried out: each repository is looked at again under a lease, and
    what goes is kept for an undo. All policies when no POLICY is named.
    """
    from syncer import run
    from syncer.cli import verdicts

    rules = session.rules()
    with working.on(session, rules, "dropping" if apply else "") as work:
        pruned = run.prune(
            work.environment,
            policies,
            apply=apply,
            ahead=_span(at, apply=apply),
            allow_delete=allow_delete,
        )
    report = pruned.report
    if as_json:
        console.emit(report.as_dict() | verdicts.as_dict(pruned))
        return report.exit_code
    verdicts.show(pruned)
    command_line = " ".join(("syncer prune --apply", *policies))
    if apply:
        if pruned.verdicts:
            console.say()
        summary.show(report, work.tally.done, command_line)
        return report.exit_code
    verdicts.conclude(pruned, command_line)
    summary.problems(report.errors, report.errors_left_out)
    return report.exit_code


def _span(at: str | None, *, apply: bool) -> timedelta | None:
    """How far to look ahead; None: not at all."""
    from syncer import errors
    from syncer.rules import parse_duration

    if at is None:
        return None
    if apply:
        raise errors.UsageError("--at looks ahead and drops nothing: leave --apply out")
    try:
        return parse_duration(at.removeprefix("+"))
    except ValueError as error:
        raise errors.UsageError(f"--at {at}: {error}") from None
