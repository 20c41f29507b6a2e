"""`syncer status`: how each rule fares, from the state alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from syncer.cli import console, text
from syncer.cli.command import Command, as_json
from syncer.cli.session import Session, now

if TYPE_CHECKING:
    from syncer.rules import PolicyRules, ReplicateRule, Rules
    from syncer.state import Holder, Plan, Run, State


@click.command("status", cls=Command, exits=(78,), words={1: "the state cannot be read"})
@as_json
@click.pass_obj
def command(session: Session, *, as_json: bool) -> int:
    """Show how each rule fares: outcome, lag, next run.

    Lag is the time since the start of the last run that found every matched tag in step. This
    reads the state only; no registry is asked.
    """
    rules = session.rules()
    session.log()
    moment = now()
    with session.state(rules) as state:
        found = _read(rules, state, moment)
    if as_json:
        console.emit({"command": "status", **found})
    else:
        _show(found, rules, moment)
    return 0


def _read(rules: Rules, state: State, moment: datetime) -> dict[str, Any]:
    names = {settings.url: name for name, settings in rules.registry.items()}
    return {
        "rules": [*_rules(rules, state, moment)],
        "running": [_running(run) for run in state.runs.active()],
        "leases": [_lease(each, names) for each in state.leases.held()],
        "plans": [
            _plan(each)
            for each in state.plans.latest(status="pending")
            if each.summary.get("drops")
        ],
    }


def _rules(rules: Rules, state: State, moment: datetime) -> Iterator[dict[str, Any]]:
    for rule in rules.replicate:
        for target in rule.target:
            yield _rule(rule, target, "replicate", rules, state, moment)
    for policy in rules.policies:
        yield _rule(policy, policy.registry, "retention", rules, state, moment)


def _rule(
    rule: ReplicateRule | PolicyRules,
    registry: str,
    kind: str,
    rules: Rules,
    state: State,
    moment: datetime,
) -> dict[str, Any]:
    from syncer.cli import schedules

    record = state.rules.get(rule.name, rules.registry[registry].url)
    success = record.last_success_started
    following = None
    if rule.schedule is not None:
        begin = record.last_started if rule.schedule.every and record.last_started else moment
        following = max(rule.schedule.next_after(begin, rules.timezone), moment)
    return {
        "name": rule.name,
        "kind": kind,
        "registry": registry,
        "schedule": schedules.words(rule.schedule),
        "outcome": record.last_outcome,
        "last_started": record.last_started,
        "last_finished": record.last_finished,
        "last_success_started": success,
        "lag_seconds": round((moment - success).total_seconds()) if success else None,
        "tags_behind": record.tags_behind,
        "consecutive_failures": record.consecutive_failures,
        "next": following,
    }


def _running(run: Run) -> dict[str, Any]:
    return {
        "run": run.id,
        "command": run.command,
        "rules": list(run.rules),
        "started": run.started,
        "host": run.host,
        "pid": run.pid,
    }


def _lease(holder: Holder, names: dict[str, str]) -> dict[str, Any]:
    return {
        "repository": f"{names.get(holder.registry, holder.registry)}/{holder.repository}",
        "what": holder.what,
        "host": holder.host,
        "pid": holder.pid,
        "since": holder.since,
    }


def _plan(plan: Plan) -> dict[str, Any]:
    return {
        "plan": plan.id,
        "policies": list(plan.policies),
        "created": plan.created,
        "expires": plan.expires,
        "summary": dict(plan.summary),
    }


def _show(found: dict[str, Any], rules: Rules, moment: datetime) -> None:
    console.table(
        ("rule", "at", "outcome", "ended", "lag", ">behind", "next"),
        (_row(each, moment) for each in found["rules"]),
    )
    for each in found["running"]:
        what = " ".join((each["command"], *each["rules"]))
        console.say(f"running: {each['run']} {what}, since {text.age(each['started'], moment)}")
    for each in found["leases"]:
        console.say(
            f"held: {each['repository']} by process {each['pid']} on {each['host']} ({each['what']})"
        )
    for each in found["plans"]:
        drops = text.number(each["summary"].get("drops", 0), "drop")
        expires = text.moment(each["expires"], moment, rules.timezone)
        console.say(
            f"pending: plan {each['plan']} of {text.listed(each['policies'])}, {drops}, until {expires}"
        )


def _row(rule: dict[str, Any], moment: datetime) -> tuple[str, ...]:
    lag = ""
    if rule["kind"] == "replicate":
        success = rule["last_success_started"]
        lag = text.span(moment - success) if success else "never in step"
    following = rule["next"]
    return (
        rule["name"],
        rule["registry"],
        rule["outcome"] or "never run",
        text.age(rule["last_finished"], moment) if rule["last_finished"] else "",
        lag,
        f"{rule['tags_behind']:,}" if rule["tags_behind"] else "",
        "by hand"
        if following is None
        else "due"
        if following <= moment
        else text.age(following, moment),
    )
