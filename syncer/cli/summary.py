"""What a run did, for people: the outcome, each rule, what it took, what went wrong, what to type."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from syncer import events
from syncer.cli import console, text

if TYPE_CHECKING:
    from syncer.report import Report, RuleReport

_EXAMPLES = 3
# Outcomes of steps that get a column when there are any.
_COLUMNS = (
    "skipped",
    "suppressed",
    "conflict",
    "held",
    "refused",
    "interrupted",
    "wrong",
    "failed",
)
_TRANSIENT = frozenset({"failed", "held"})
_HEADS = {"conflict": "conflicts"}
_ACTIONS = {
    "copy": "copied",
    "overwrite": "overwritten",
    "attach": "attached",
    "drop": "dropped",
    "restore": "restored",
    "repair": "repaired",
    "expire": "expired",
}
# What a policy keeps is not in step with anything: it stays.
_KEEPING = frozenset({"prune", "apply"})
# What to do, where the error does not say it.
_HINTS = {
    "CONFLICT": 'to replace what stands there: overwrite = "always" in the rule',
    "UNAVAILABLE": "is it up, and its url right? syncer check --online asks every registry",
    "NAME_UNKNOWN": "is the name right? syncer ls REGISTRY lists the repositories",
    "DENIED": "syncer check --online shows what this user may do where",
    "UNSUPPORTED": "the registry does not do that, or has it switched off",
}

_UNDO = "undo"

Done = Mapping[tuple[str, str], int]
"""How many steps of a rule ended well, by (rule, action)."""


def show(run: Report, done: Done, again: str) -> None:
    """Prints the summary of a run on stdout; one line when there was nothing to do.

    Args:
        run: How it went.
        done: How many steps ended well.
        again: What to type to try what failed again.
    """
    if _is_idle(run):
        took = f"{_requests(run)} in {text.duration(run.seconds)}"
        console.outcome("ok", f"{_fine(run)}{_by_memory(run)}, nothing to do ({took})")
        return
    console.outcome(run.outcome, _headline(run, done))
    if any(rule.matched for rule in run.rules.values()):
        console.say()
        _rules(run, done)
        console.say()
        for line in _effort(run):
            console.say(line)
    for rule in run.rules.values():
        if rule.outcome == "empty":
            console.say(f"\n{rule.name}: {rule.reason}", "yellow")
    problems([*run.errors, *run.skipped], run.errors_left_out)
    _notices(run.notices)
    _advice(run, again)


def problems(failed: list[events.StepDone], left_out: int = 0) -> None:
    """Prints what went wrong, grouped by what is alike, with a few examples of each."""
    groups: defaultdict[tuple[str, str, str], list[events.StepDone]] = defaultdict(list)
    for event in failed:
        alike = text.shape(event.reason, event.reference, event.repository, event.tag)
        groups[event.outcome, event.code, alike].append(event)
    for (outcome, code, _), found in sorted(groups.items(), key=lambda item: -len(item[1])):
        console.say()
        _group(outcome, code, found)
    if left_out:
        console.say(f"\nand {left_out:,} more that were only counted")


def _group(outcome: str, code: str, found: list[events.StepDone]) -> None:
    reasons = {event.reason for event in found}
    same = text.shortened(reasons.pop()) if len(reasons) == 1 else ""
    kind = _noun(outcome, len(found))
    kind += "" if code == outcome.upper() else f", {code}"
    head = f"{len(found):,} {kind}: {same}".removesuffix(": ")
    console.say(head, console.STYLES.get(outcome, ""))
    for event in found[:_EXAMPLES]:
        console.say(f"  {event.reference}" + ("" if same else f": {text.shortened(event.reason)}"))
    if len(found) > _EXAMPLES:
        console.say(f"  and {len(found) - _EXAMPLES:,} more")
    if code in _HINTS:
        console.say(f"  {_HINTS[code]}")


def _is_idle(run: Report) -> bool:
    return run.outcome == "ok" and not (
        run.notices or any(sum(rule.steps.values()) for rule in run.rules.values())
    )


def _headline(run: Report, done: Done) -> str:
    parts = [_fine(run)] if run.command != _UNDO else []
    for action, word in _ACTIONS.items():
        if count := sum(number for (_, kind), number in done.items() if kind == action):
            parts.append(f"{count:,} {word}")
    counts = [(word, run.total(word)) for word in _COLUMNS]
    parts += [f"{count:,} {_noun(word, count)}" for word, count in counts if count]
    return ", ".join(parts)


def _noun(outcome: str, count: int) -> str:
    return outcome if count == 1 else _HEADS.get(outcome, outcome)


def _fine(run: Report) -> str:
    """How many tags are as they should be: in step with their source, or kept by a policy."""
    kept = sum(rule.in_step for rule in run.rules.values())
    if run.command in _KEEPING:
        return f"{text.number(kept, 'tag')} stay"
    return f"{text.number(kept + run.total('done'), 'tag')} in step"


def _by_memory(run: Report) -> str:
    recalled = sum(rule.remembered for rule in run.rules.values())
    return f" ({recalled:,} of them immutable, {_last_look(run)})" if recalled else ""


def _last_look(run: Report) -> str:
    return f"last looked at within {text.span(max(rule.recheck for rule in run.rules.values()))}"


def _rules(run: Report, done: Done) -> None:
    fine = "stay" if run.command in _KEEPING else "in step"
    heads = ["rule", "outcome", ">repos", ">tags", f">{fine}"]
    heads += [f">{word}" for word in _ACTIONS.values()]
    heads += [f">{_HEADS.get(word, word)}" for word in _COLUMNS]
    console.table(heads, (_row(rule, done) for rule in run.rules.values()))


def _row(rule: RuleReport, done: Done) -> list[str]:
    counts = [done.get((rule.name, action), 0) for action in _ACTIONS]
    counts += [rule.steps[word] for word in _COLUMNS]
    return [
        rule.name,
        rule.outcome,
        f"{rule.repositories:,}",
        f"{rule.matched:,}",
        f"{rule.in_step:,}",
        *(f"{count:,}" if count else "" for count in counts),
    ]


def _effort(run: Report) -> Iterator[str]:
    blobs = ", ".join(f"{count:,} {how}" for how, count in sorted(run.blobs.items()))
    moved = f"{text.size(run.bytes['read'])} read, {text.size(run.bytes['written'])} written"
    yield f"moved     {moved}" + (f"; blobs: {blobs}" if blobs else "")
    tags = sum(rule.matched for rule in run.rules.values())
    each = []
    for name, methods in sorted(run.requests.items()):
        count = sum(methods.values())
        each.append(f"{name} {count:,}" + (f" ({count / tags:.1f} a tag)" if tags else ""))
    retried = f"; {text.number(run.retries, 'retry', 'retries')}" if run.retries else ""
    yield f"requests  {', '.join(each) or 'none'}{retried}"
    if trimmed := sum(rule.trimmed for rule in run.rules.values()):
        yield f"trimmed   {text.number(trimmed, 'tag')}: other digests than at the source"
    if recalled := sum(rule.remembered for rule in run.rules.values()):
        yield f"immutable {text.number(recalled, 'tag')} taken as in step, {_last_look(run)}"
    yield f"took      {text.duration(run.seconds)}"


def _requests(run: Report) -> str:
    return text.number(sum(sum(each.values()) for each in run.requests.values()), "request")


def _notices(notices: list[events.Noticed]) -> None:
    groups: defaultdict[str, list[events.Noticed]] = defaultdict(list)
    for notice in notices:
        groups[notice.message].append(notice)
    for message, found in groups.items():
        console.say(f"\nnote: {text.shortened(message)}")
        console.say(f"  {text.listed([each.reference for each in found], _EXAMPLES)}")


def _advice(run: Report, again: str) -> None:
    """What to type next."""
    lines = [f"syncer history {run.run}  shows every step"] if run.run and run.errors else []
    if run.outcome == "interrupted":
        lines.append(f"{again}  goes on from here")
    elif any(event.outcome in _TRANSIENT for event in run.errors):
        lines.append(f"{again}  tries again")
    for line in ["", *lines] if lines else []:
        console.say(line)
