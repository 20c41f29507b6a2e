"""`syncer check --online`: who we are at each registry, and whether we may do what the rules need."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from syncer import browse
from syncer.cli import console, text
from syncer.cli.session import Session
from syncer.rules import Rules

# A clock off by more is a reason to refuse pruning; half of that is worth a word.
_SKEW_SECONDS = 150.0


def look(session: Session, rules: Rules) -> dict[str, list[dict[str, Any]]]:
    """What was found out, as JSON has it: `registries` and `permissions`."""
    session.log()
    with session.stores(rules) as opened:
        reached = browse.reach(rules, opened)
        needs = browse.permissions(rules, opened, {each.registry for each in reached if each.who})
    return {
        "registries": [asdict(each) for each in reached],
        "permissions": [asdict(each) for each in needs],
        "warnings": [{"message": each} for each in _warnings(session, rules)],
    }


def _warnings(session: Session, rules: Rules) -> list[str]:
    """What a standby's policy would drop and its primary's keeps, by what the state has seen."""
    if not (rules.replicate and rules.policies and rules.state.path.exists()):
        return []
    from syncer import errors, run

    try:
        with session.environment(rules, ()) as opened:
            return run.standby_warnings(opened)
    except errors.StateError as error:
        return [f"the policies of mirrors were not compared: {error}"]


def show(found: dict[str, list[dict[str, Any]]]) -> None:
    """Prints it: who we are where, what each rule may do, then what is missing."""
    console.say()
    console.table(
        ("registry", "reached", "as", "clock"),
        (
            (each["registry"], "no" if each["error"] else "yes", each["who"], _skew(each["skew"]))
            for each in found["registries"]
        ),
    )
    needs = found["permissions"]
    allowed = Counter(_line(need) for need in needs if not need["denied"])
    if allowed:
        console.say()
        console.table(
            ("rule", "registry", "may", "in"),
            (
                (*line, text.number(count, "repository", "repositories") + _tried(count))
                for line, count in allowed.items()
            ),
        )
    for warning in found["warnings"]:
        console.say(text.shortened(f"warning: {warning['message']}"), "yellow")
    problems = [
        f"{each['registry']}: {each['error']}" for each in found["registries"] if each["error"]
    ]
    problems += [_denied(need) for need in needs if need["denied"]]
    console.say()
    for problem in problems:
        console.say(text.shortened(problem), "red")
    if problems:
        console.outcome("failed", text.number(len(problems), "problem"))
    else:
        console.outcome("ok", "every registry allows what the rules need")


def _denied(need: dict[str, Any]) -> str:
    place = f"{need['registry']}/{need['repository']}".removesuffix("/")
    return f"{need['rule']}: cannot {need['action']} {place}: {need['denied']}"


def _line(need: dict[str, Any]) -> tuple[str, str, str]:
    return need["rule"], need["registry"], need["action"]


def _tried(count: int) -> str:
    return ", the first of them" if count == browse.TRIED else ""


def _skew(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    if abs(seconds) < _SKEW_SECONDS:
        return "agrees"
    return f"ours is {text.duration(abs(seconds))} {'ahead' if seconds > 0 else 'behind'}"
