"""`undo` and `why`: what went, why, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from syncer import errors, events, observe, pins, prune, undo, work
from syncer.copy import Side
from syncer.reference import Reference, parse
from syncer.report import Report
from syncer.retention import Decision
from syncer.run.base import Environment, Run, begin
from syncer.run.retention import judge_of
from syncer.state import Dropped, TagRecord

_WINDOW = 4


def restore(environment: Environment, names: Sequence[str]) -> Report:
    """Brings back what plans or references name, and pins it for the undo window.

    Args:
        environment: What it runs in.
        names: Ids of stored plans, or references such as `us/prod/app:v1`.

    Raises:
        UsageError: A name is neither, or nothing of it can be undone; says what can.
    """
    drops = [drop for name in names for drop in _drops(environment, name)]
    with begin(environment, "undo", {undo.RULE: False}) as run:
        window = environment.rules.retention.guard.undo_window
        registries = {settings.url: name for name, settings in environment.rules.registry.items()}
        graph = run.graph(list(registries.values()))
        restorer = undo.Restorer(graph, run.state, run.memory, run.observer, run.started + window)
        wanted = [
            undo.Wanted(drop, run.stores.get(registries.get(drop.registry, drop.registry)))
            for drop in drops
        ]
        run.observer(events.RuleMatched(undo.RULE, len({d.repository for d in drops}), len(drops)))
        graph.each(wanted, restorer, lambda: None, _WINDOW)
        graph.run()
    return run.report


def _drops(environment: Environment, name: str) -> list[Dropped]:
    """What can be undone under a name: each tag's latest drop that has not been restored."""
    state, now = environment.state, environment.now()
    if state.plans.get(name) is not None:
        found = state.drops.dropped(plan=name)
    else:
        where = _reference(environment, name)
        key = environment.rules.registry[where.registry].url
        found = state.drops.dropped(key, where.repository, where.tag)[:1]
    open_ = [drop for drop in found if drop.restored is None and drop.expires > now]
    if open_:
        return open_
    if found and found[0].restored is not None:
        raise errors.UsageError(f"{name} was brought back on {found[0].restored:%F %T}Z already")
    if found:
        raise errors.UsageError(f"{name}: its undo window ended on {found[0].expires:%F %T}Z")
    raise errors.UsageError(
        f"{name}: nothing was dropped or overwritten there; see `syncer history`"
    )


def _reference(environment: Environment, name: str) -> Reference:
    where = parse(name)
    if where.registry not in environment.rules.registry:
        known = ", ".join(environment.rules.registry) or "none"
        raise errors.UsageError(
            f"{name!r} is no stored plan, and no registry is named {where.registry!r}; there are:"
            f" {known}"
        )
    if not where.repository or not where.tag:
        raise errors.UsageError(f"{name!r} names no tag: write REGISTRY/REPOSITORY:TAG")
    return where


@dataclass(frozen=True)
class Why:
    """All that is known about one tag.

    Attributes:
        reference: Which tag.
        digest: What it points to; empty when it is gone.
        decision: What its policy says of it; None where no policy speaks of the repository.
        policy: The policy.
        problem: Why nothing can be decided now.
        record: What the state remembers of the binding.
        drops: When it was dropped or overwritten, newest first.
    """

    reference: Reference
    digest: str = ""
    decision: Decision | None = None
    policy: str = ""
    problem: str = ""
    record: TagRecord | None = None
    drops: tuple[Dropped, ...] = ()


def why(environment: Environment, name: str) -> Why:
    """Why a tag is kept, would be dropped, or is gone.

    Raises:
        UsageError: `name` is no reference to a tag of a registry of the rules file.
    """
    where = _reference(environment, name)
    with begin(environment, "why", {}, record=False) as run:
        store = run.stores.get(where.registry)
        side = Side(store, where.repository)
        drops = tuple(run.state.drops.dropped(store.key, where.repository, where.tag))
        found = store.resolve(where.repository, where.tag)
        if found is None:
            return Why(where, drops=drops)
        records = run.state.tags.seen(*side.key).get(where.tag, {})
        known = Why(where, found.digest, record=records.get(found.digest), drops=drops)
        return _judged(run, known, side)


def _judged(run: Run, known: Why, side: Side) -> Why:
    rules = run.environment.rules
    chosen = rules.policy_for(known.reference.registry, side.repository)
    if chosen is None:
        return known
    policy = chosen.policy(pins.read(chosen.pins, chosen.registry))
    verdicts: list[prune.Verdict] = []
    graph = run.graph([known.reference.registry])
    judge = judge_of(run, run.started)

    def judged(observed: observe.Observed) -> None:
        def keep(outcome: work.Outcome[prune.Verdict]) -> None:
            verdicts.append(outcome.get())

        times = side.store.times
        graph.submit(
            lambda: judge.judge(policy, side, observed, times(side.repository)),
            keep,
        )

    observe.Reader(graph).read(side, judged, prune.walk(policy, side))
    graph.run()
    (verdict,) = verdicts
    decision = next((d for d in verdict.decisions if d.tag == known.reference.tag), None)
    return Why(
        known.reference,
        known.digest,
        decision,
        chosen.name,
        verdict.snapshot.problem or verdict.plan.refused,
        known.record,
        known.drops,
    )
