"""`syncer verify`: whether the targets of rules have all that their tags promise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from syncer.cli import console, summary, text, working
from syncer.cli.command import Command, as_json, repo_glob
from syncer.cli.session import Session

if TYPE_CHECKING:
    from syncer.report import Report
    from syncer.run import Verified

_COUNTS = ("wrong", "failed", "held", "refused", "skipped", "suppressed", "interrupted")


@click.command(
    "verify",
    cls=Command,
    exits=(3, 5, 75, 78),
    words={
        0: "nothing is missing, or everything that was is repaired",
        3: "something is missing or wrong, or could not be looked at",
    },
)
@click.argument("rules", nargs=-1, metavar="[RULE]...")
@click.option("--repair", is_flag=True, help="Bring what is missing; what differs stays.")
@repo_glob
@as_json
@click.pass_obj
def command(
    session: Session, rules: tuple[str, ...], repo: str | None, *, repair: bool, as_json: bool
) -> int:
    """Compare targets with their sources, below the tags.

    All rules when no RULE is named. A tag that points to the right digest proves nothing about what
    that digest names: each index, manifest, blob and referrer of the tags in step is asked for at
    the target. Blobs are not read, so a registry that claims to have one is believed.

    With --repair what is missing comes from the source, under the lease of its repository. A tag
    that differs is left to `syncer sync`.
    """
    from syncer import run

    loaded = session.rules()
    only = working.selection(repo)
    with working.on(session, loaded, "repairing") as work:
        verified = run.verify(work.environment, rules, repair=repair, only=only)
    if as_json:
        console.emit(verified.as_dict())
    else:
        show(verified, " ".join((*rules, *(("--repo", repo) if repo else ()))), repair=repair)
    return verified.report.exit_code


def show(verified: Verified, narrowed: str, *, repair: bool) -> None:
    """Prints what was looked at, what was found, and what to type next.

    Args:
        verified: How it went.
        narrowed: What the command line named beside `--repair`.
        repair: Whether it was there.
    """
    report = verified.report
    console.outcome(report.outcome, _headline(verified))
    for rule in report.rules.values():
        if rule.outcome == "empty":
            console.say(f"\n{rule.name}: {rule.reason}", "yellow")
    summary.problems([*report.errors, *report.skipped], report.errors_left_out)
    console.say(f"\nrequests  {_requests(report)}")
    console.say(f"took      {text.duration(report.seconds)}")
    if report.run and report.errors:
        console.say(f"\nsyncer history {report.run}  shows every finding")
    if not repair and any(event.code.endswith("_MISSING") for event in report.errors):
        console.say(f"{f'syncer verify --repair {narrowed}'.strip()}  brings what is missing")


def _headline(verified: Verified) -> str:
    report, checked = verified.report, verified.checked
    parts = [text.number(count, noun.removesuffix("s")) for noun, count in vars(checked).items()]
    told = f"{', '.join(parts)} checked"
    repaired, counts = report.total("done"), [(word, report.total(word)) for word in _COUNTS]
    if report.outcome == "ok":
        told += f"; {repaired:,} missing, all repaired" if repaired else "; nothing is missing"
    elif repaired:
        told += f"; {repaired:,} repaired"
    return "".join((told, *(f", {count:,} {word}" for word, count in counts if count)))


def _requests(report: Report) -> str:
    each = (
        f"{name} {', '.join(f'{count:,} {method}' for method, count in sorted(methods.items()))}"
        for name, methods in sorted(report.requests.items())
    )
    return "; ".join(each) or "none"
