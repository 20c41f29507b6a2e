"""`syncer undo`: brings back what was dropped or overwritten."""

from __future__ import annotations

import click

from syncer.cli import working
from syncer.cli.command import Command, as_json
from syncer.cli.session import Session


@click.command("undo", cls=Command, exits=(3, 75, 78), words={0: "everything named is back"})
@click.argument("names", nargs=-1, required=True, metavar="PLAN|REF...")
@as_json
@click.pass_obj
def command(session: Session, names: tuple[str, ...], *, as_json: bool) -> int:
    """Bring back what a plan dropped, or what one tag was before it was dropped or overwritten.

    What comes back is pinned: no policy drops it again before the undo window has passed. A tag
    that has been pushed again since it was dropped is left alone.
    """
    from syncer import run

    rules = session.rules()
    with working.on(session, rules, "restoring") as work:
        report = run.restore(work.environment, names)
    return working.finish(
        report, work.tally.done, " ".join(("syncer undo", *names)), as_json=as_json
    )
