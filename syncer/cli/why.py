"""`syncer why`: why a tag is there, would go, or is gone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from syncer import reference
from syncer.cli import console, text, working
from syncer.cli.command import Command, as_json
from syncer.cli.session import Session, now

if TYPE_CHECKING:
    from syncer.run import Why
    from syncer.state import Dropped


@click.command("why", cls=Command, exits=(78,), words={0: "the answer is printed"})
@click.argument("ref")
@as_json
@click.pass_obj
def command(session: Session, ref: str, *, as_json: bool) -> int:
    """Say why the tag REF is kept, when it would go, or why and when it went.

    Asks the registry for the repository's tags, as `syncer prune` does, and the state.
    """
    from syncer import run

    rules = session.rules()
    with working.on(session, rules, doing="") as work:
        answer = run.why(work.environment, ref)
    if as_json:
        console.emit(_as_dict(answer))
    else:
        for line in sentences(answer):
            console.say(line)
    return 0


def sentences(answer: Why) -> Iterator[str]:
    """The answer as a person reads it: what is, what was remembered, what was done."""
    moment = now()
    if not answer.digest:
        yield f"{answer.reference} is not there."
    else:
        yield f"{answer.reference} is {answer.digest}."
        yield from _kept(answer)
    if answer.record is not None:
        yield f"seen there since {text.age(answer.record.first_seen, moment)}"
        if answer.record.source_registry:
            record = answer.record
            yield f"copied from {record.source_registry}/{record.source_repository}"
    for drop in answer.drops:
        yield _history(drop)
    if not answer.digest and not answer.drops:
        yield "syncer did not drop it, as far as the state remembers."


def _kept(answer: Why) -> Iterator[str]:
    decision = answer.decision
    if decision is None:
        yield "No retention policy speaks of it: it stays."
        return
    verdict = "stays" if decision.keep else "would go at the next prune"
    yield f"It {verdict} (policy {answer.policy}, {decision.rule}): {decision.reason}."
    if decision.keep and decision.due is not None:
        yield f"It would go from {decision.due:%F %T}Z on, if nothing else changes."
    if answer.problem:
        yield f"Nothing of this repository is dropped now: {answer.problem}."


def _history(drop: Dropped) -> str:
    how = "dropped" if drop.how == "dropped" else "overwritten"
    by = f" by {drop.policy}" if drop.policy else ""
    line = f"{how}{by} on {drop.at:%F %T}Z (run {drop.run}): {reference.short(drop.digest)}, {drop.reason}"
    if drop.restored is not None:
        return f"{line}; brought back on {drop.restored:%F %T}Z"
    return f"{line}; can be undone until {drop.expires:%F %T}Z"


def _as_dict(answer: Why) -> dict[str, Any]:
    return {
        "reference": str(answer.reference),
        "digest": answer.digest,
        "policy": answer.policy,
        "problem": answer.problem,
        "decision": asdict(answer.decision) if answer.decision else None,
        "seen": answer.record._asdict() if answer.record else None,
        "drops": [asdict(drop) for drop in answer.drops],
    }
