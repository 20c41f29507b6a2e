"""`syncer apply`: carries out a stored prune plan."""

from __future__ import annotations

import click

from syncer.cli import console, summary, working
from syncer.cli.command import Command, as_json
from syncer.cli.session import Session


@click.command(
    "apply", cls=Command, exits=(3, 5, 75, 78), words={0: "what both looks drop is gone"}
)
@click.argument("plan")
@click.option("--allow-delete", type=int, metavar="N", help="Lift the guards for exactly N drops.")
@as_json
@click.pass_obj
def command(session: Session, plan: str, *, allow_delete: int | None, as_json: bool) -> int:
    """Carry out a stored PLAN of `syncer prune`.

    Everything is looked at again. What the plan and this second look both drop goes; a tag that
    moved, or that a rule keeps by now, stays and is reported.
    """
    from syncer import run

    rules = session.rules()
    with working.on(session, rules, "dropping") as work:
        report = run.apply_plan(work.environment, plan, allow_delete=allow_delete)
    if as_json:
        console.emit(report.as_dict() | {"plan": plan})
    else:
        summary.show(report, work.tally.done, f"syncer apply {plan}")
    return report.exit_code
