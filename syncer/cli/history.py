"""`syncer history`: the runs, and the steps of one, from the state alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from syncer import errors, reference
from syncer.cli import console, text
from syncer.cli.command import Command, as_json
from syncer.cli.session import Session, now

if TYPE_CHECKING:
    from syncer.rules import Rules
    from syncer.state import Run, State, Step

_RUNS = 30
_PAGE = 1000
# Steps that went as planned are listed up to so many; troubles all are.
_MOST_DONE = 200
_TROUBLE = ("failed", "wrong", "refused", "conflict", "held", "interrupted")


@click.command("history", cls=Command, exits=(78,), words={1: "the state cannot be read"})
@click.argument("run", default="", metavar="[RUN]")
@as_json
@click.pass_obj
def command(session: Session, run: str, *, as_json: bool) -> int:
    """Show the latest runs, or the steps of one, troubles first.

    This reads the state only; no registry is asked.
    """
    rules = session.rules()
    session.log()
    with session.state(rules) as state:
        if run:
            found = _one(state, rules, run)
        else:
            found = {"runs": [_run(each) for each in state.runs.latest(limit=_RUNS)]}
    if as_json:
        console.emit({"command": "history", **found})
    elif run:
        _show_one(found, rules)
    else:
        _show_all(found["runs"], rules)
    return 0


def _one(state: State, rules: Rules, name: str) -> dict[str, Any]:
    run = state.runs.get(name)
    if run is None:
        raise errors.UsageError(f"there is no run {name!r}; `syncer history` lists them")
    names = {settings.url: registry for registry, settings in rules.registry.items()}
    steps = [_step(step, names) for step in _steps(state, name)]
    steps.sort(key=lambda step: step["outcome"] not in _TROUBLE)
    return {**_run(run), "steps": steps}


def _steps(state: State, run: str) -> Iterator[Step]:
    offset = 0
    while page := state.runs.steps(run, limit=_PAGE, offset=offset):
        yield from page
        offset += len(page)


def _run(run: Run) -> dict[str, Any]:
    return {
        "run": run.id,
        "command": run.command,
        "rules": list(run.rules),
        "outcome": run.outcome,
        "started": run.started,
        "finished": run.finished,
        "host": run.host,
        "pid": run.pid,
        "report": dict(run.report),
    }


def _step(step: Step, names: dict[str, str]) -> dict[str, Any]:
    registry = names.get(step.registry, step.registry)
    place = reference.Reference(registry, step.repository, step.tag)
    return {
        "rule": step.rule,
        "action": step.action,
        "outcome": step.outcome,
        "reference": str(place),
        "digest": step.digest,
        "previous": step.previous,
        "code": step.code,
        "reason": step.reason,
        "at": step.at,
    }


def _show_all(runs: list[dict[str, Any]], rules: Rules) -> None:
    moment = now()
    console.table(
        ("run", "command", "rules", "outcome", "started", "took", ">done", ">undone"),
        (
            (
                run["run"],
                run["command"],
                text.listed(run["rules"], 1),
                run["outcome"],
                text.recent(run["started"], moment, rules.timezone),
                _took(run),
                *_counts(run["report"]),
            )
            for run in runs
        ),
    )
    if not runs:
        console.say("no runs yet")


def _took(run: dict[str, Any]) -> str:
    if run["finished"] is None:
        return ""
    took: float = (run["finished"] - run["started"]).total_seconds()
    return text.duration(took)


def _counts(report: dict[str, Any]) -> tuple[str, str]:
    steps = report.get("steps", {})
    undone = sum(steps.get(outcome, 0) for outcome in _TROUBLE)
    return str(steps.get("done", "")), str(undone or "")


def _show_one(run: dict[str, Any], rules: Rules) -> None:
    started = text.moment(run["started"], now(), rules.timezone)
    what = " ".join((run["command"], *run["rules"]))
    took = _took(run)
    console.outcome(
        run["outcome"], f"{what}, started {started}" + (f", took {took}" if took else "")
    )
    if not run["steps"]:
        console.say("no steps: nothing had to be done")
        return
    console.say()
    steps = [step for step in run["steps"] if step["outcome"] in _TROUBLE]
    fine = run["steps"][len(steps) :]
    console.table(
        ("outcome", "action", "reference", "digest", "why"),
        (
            (
                step["outcome"],
                step["action"],
                step["reference"],
                reference.short(step["digest"]),
                text.shortened(step["reason"]),
            )
            for step in steps + fine[:_MOST_DONE]
        ),
    )
    if len(fine) > _MOST_DONE:
        console.say(
            f"and {len(fine) - _MOST_DONE:,} more that went as planned; --json has them all"
        )
