"""`syncer check --online`: who we are at each registry, and whether we may do what the rules need."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from syncer import browse, events, stores
from syncer.cli import console, text
from syncer.cli.session import Session
from syncer.rules import Rules

# A clock off by more is a reason to refuse pruning; half of that is worth a word.
_SKEW_SECONDS = 150.0


def look(session: Session, rules: Rules) -> dict[str, list[dict[str, Any]]]:
    """What was found out, as JSON has it: `registries` and `permissions`."""
    session.log()
    registries = stores.Registries()
    opened = registries.open(rules, events.ignore, session.stop)
    try:
        reached = browse.reach(rules, opened)
        needs = browse.permissions(rules, opened, {each.registry for each in reached if each.who})
    finally:
        registries.close()
    return {
        "registries": [asdict(each) for each in reached],
        "permissions": [asdict(each) for each in needs],
    }


def show(found: dict[str, list[dict[str, Any]]]) -> None:
    """Prints it: who we are where, then for each rule what it may do and what not."""
    console.say()
    console.table(
        ("registry", "reached", "as", "clock"),
        (
            (
                each["registry"],
                "failed" if each["error"] else "ok",
                each["who"] or each["error"],
                _skew(each["skew"]),
            )
            for each in found["registries"]
        ),
    )
    needs = found["permissions"]
    if not needs:
        return
    allowed = Counter(_line(need) for need in needs if not need["denied"])
    console.say()
    console.table(
        ("rule", "registry", "may", "in"),
        (
            (*line, text.number(count, "repository", "repositories") + _tried(count))
            for line, count in allowed.items()
        ),
    )
    denied = [need for need in needs if need["denied"]]
    if denied:
        console.say()
    for need in denied:
        place = (
            f"{need['registry']}/{need['repository']}" if need["repository"] else need["registry"]
        )
        line = f"{need['rule']}: cannot {need['action']} {place}: {need['denied']}"
        console.say(text.shortened(line), "red")


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
