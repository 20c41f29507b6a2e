"""`syncer sync`: runs replication rules once."""

from __future__ import annotations

import click

from syncer.cli import console, working
from syncer.cli.command import Command, as_json, repo_glob
from syncer.cli.session import Session


@click.command("sync", cls=Command, exits=(3, 5, 75, 78), words={0: "every matched tag is in step"})
@click.argument("rules", nargs=-1, metavar="[RULE]...")
@repo_glob
@as_json
@click.pass_obj
def command(session: Session, rules: tuple[str, ...], repo: str | None, *, as_json: bool) -> int:
    """Run replication rules once.

    All of them when no RULE is named. What a target lacks is copied; what differs there is replaced where `overwrite` allows it, else
    reported as a conflict. Tags that only a target has are never touched.
    """
    loaded = session.rules()
    only = working.selection(repo)
    with working.on(session, loaded) as work:
        from syncer import run

        report = run.sync(work.environment, rules, only=only)
    if repo and not any(rule.matched for rule in report.rules.values()):
        console.tell(f"no source repository of the rules matches --repo {repo}", "yellow")
    again = " ".join(("syncer sync", *rules, *(("--repo", repo) if repo else ())))
    return working.finish(report, work.tally.done, again, as_json=as_json)
