"""Retention policies run once: judged, stored as a plan, and where told carried out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from syncer import errors, events, pins, plan, retention
from syncer import prune as pruning
from syncer.drop import Dropper, Order
from syncer.plan import Action
from syncer.prune import Judge, Verdict
from syncer.report import Report
from syncer.rules import PolicyRules, Rules
from syncer.run.base import Environment, Run, begin

_WINDOW = 4
# Runs that start side by side may be recorded in either order.
_TOLERANCE = timedelta(minutes=1)


@dataclass
class Pruned:
    """What a prune found and did.

    Attributes:
        report: Counts and outcome.
        plan: The id of the stored plan; empty when it was not stored.
        verdicts: Every repository from which something goes, or would but for a guard.
        refused: Why the run as a whole was refused; empty when it was not.
    """

    report: Report
    plan: str = ""
    verdicts: list[Verdict] = field(default_factory=list)
    refused: str = ""

    @property
    def drops(self) -> int:
        """Tags that go, refused repositories left out."""
        return sum(_drops(verdict.plan) for verdict in self.verdicts if not verdict.plan.refused)


def prune(
    environment: Environment,
    names: Sequence[str] = (),
    *,
    apply: bool = False,
    at: datetime | None = None,
    allow_delete: int | None = None,
    operator: bool = True,
) -> Pruned:
    """Judges what the policies speak of, stores the plan, and with `apply` carries it out.

    Args:
        environment: What it runs in.
        names: Policies; all when empty.
        apply: Whether to drop what the plan drops.
        at: Judge as if it were then; nothing is stored or dropped.
        allow_delete: The exact number of drops that lifts the limits on their number.
        operator: Whether a person asked, so that schedules may drop from now on.

    Raises:
        UsageError: A name is that of no policy.
        RefusedError: A pin file cannot be trusted.
    """
    policies = retention_policies(environment.rules, names)
    with begin(environment, "prune", {policy.name: True for policy in policies}) as run:
        pruned = Pruned(run.report)
        judge = Judge(run.state, at or run.started, run.started, _clock_problem(run))
        _judge(run, policies, judge, pruned, allow_delete)
        _announce(run, pruned, _run_limit(run, pruned, allow_delete))
        if at is None:
            pruned.plan = _store(run, policies, pruned)
        if apply and at is None and not pruned.refused:
            _carry_out(run, policies, judge, pruned, allow_delete, operator=operator)
    return pruned


def retention_policies(rules: Rules, names: Sequence[str]) -> list[PolicyRules]:
    """The policies of those names, or all.

    Raises:
        UsageError: There are none, or a name is that of no policy.
    """
    if not rules.policies:
        raise errors.UsageError("the rules file has no [[retention.policy]]")
    return [rules.policy(name) for name in dict.fromkeys(names or (p.name for p in rules.policies))]


def jobs(run: Run, chosen: Sequence[PolicyRules]) -> list[pruning.Job]:
    """One job for each registry that a chosen policy is about.

    Raises:
        RefusedError: A pin file cannot be trusted.
    """
    names = {policy.name for policy in chosen}
    found = []
    for registry in dict.fromkeys(policy.registry for policy in chosen):
        rules = [each for each in run.environment.rules.policies if each.registry == registry]
        found.append(
            pruning.Job(
                run.stores.get(registry),
                [
                    (rule.policy(pins.read(rule.pins, registry)), rule.repo_selection.matches)
                    for rule in rules
                ],
                names & {rule.name for rule in rules},
                _literal(run, registry, rules),
            )
        )
    return found


def _literal(run: Run, registry: str, rules: Iterable[PolicyRules]) -> Sequence[str] | None:
    listed = run.stores.repositories(registry)
    patterns = [pattern for rule in rules for pattern in rule.repos]
    if listed is None and all(pattern.is_literal for pattern in patterns):
        return [pattern.text for pattern in patterns]
    return listed


def _clock_problem(run: Run) -> str:
    """Why ages cannot be trusted: this host's clock ran backwards since the last run."""
    others = (each.started for each in run.state.runs.latest(limit=5) if each.id != run.id)
    latest = max(others, default=run.started)
    if latest <= run.started + _TOLERANCE:
        return ""
    return f"this host's clock is behind the last run ({latest:%F %T}Z); nothing is pruned until then"


def _judge(
    run: Run,
    policies: Sequence[PolicyRules],
    judge: Judge,
    pruned: Pruned,
    allow_delete: int | None,
) -> None:
    def keep(verdict: Verdict, ended: Callable[[], None]) -> None:
        if verdict.plan.steps or verdict.plan.refused:
            pruned.verdicts.append(verdict)
        else:
            run.observer(_planned(verdict.plan, 0))
        ended()

    graph = run.graph([policy.registry for policy in policies])
    pruning.Pruning(graph, jobs(run, policies), judge, run.observer, keep, allow_delete).start()
    graph.run()
    pruned.verdicts.sort(key=lambda verdict: verdict.plan.target)


def _run_limit(run: Run, pruned: Pruned, allow_delete: int | None) -> str:
    shared = run.environment.rules.retention.guard
    guard = retention.Guard(max_delete_run=shared.max_delete_run)
    return retention.run_refusal(guard, pruned.drops, allow_delete)


def _announce(run: Run, pruned: Pruned, refused: str) -> None:
    """Tells what each plan holds; the refused ones end here."""
    pruned.refused = refused
    for verdict in pruned.verdicts:
        why = verdict.plan.refused or refused
        run.observer(_planned(verdict.plan, 0 if why else len(verdict.plan.steps)))
        if why:
            whole = plan.Step(Action.DROP, "", "")
            run.observer(plan.ended_step(verdict.plan, whole, "refused", why, "REFUSED"))


def _planned(one: plan.RepositoryPlan, steps: int) -> events.StepsPlanned:
    place = one.target
    return events.StepsPlanned(one.rule, place.registry, place.repository, steps, one.in_step)


def _store(run: Run, policies: Sequence[PolicyRules], pruned: Pruned) -> str:
    """Stores the plan a repository at a time; returns its id."""
    ttl = run.environment.rules.retention.guard.plan_ttl
    plans = run.state.plans
    stored = plans.create(
        [policy.name for policy in policies], run.environment.rules.digest, run.started + ttl
    )
    for verdict in pruned.verdicts:
        plans.add(stored, *verdict.side.key, drops=_drops(verdict.plan), body=_body(verdict))
    summary = {"repositories": len(pruned.verdicts), "drops": pruned.drops}
    plans.complete(stored, "", summary)
    if pruned.refused:
        plans.end(stored, "refused")
    return stored


def _body(verdict: Verdict) -> dict[str, object]:
    return {
        "policy": verdict.policy.name,
        "refused": verdict.plan.refused,
        "tags": [
            [each.tag, each.digest, each.keep, each.rule, each.reason] for each in verdict.decisions
        ],
    }


def _carry_out(
    run: Run,
    policies: Sequence[PolicyRules],
    judge: Judge,
    pruned: Pruned,
    allow_delete: int | None,
    *,
    operator: bool,
) -> None:
    if operator:
        run.state.confirm_operator()
    graph = run.graph([policy.registry for policy in policies])
    order = Order(
        run.id,
        pruned.plan,
        run.started,
        frozenset(policy.name for policy in policies if policy.apply),
        allow_delete,
    )
    dropper = Dropper(graph, judge, run.state, run.memory, run.observer, order)
    graph.each(pruned.verdicts, dropper, lambda: None, _WINDOW)
    graph.run()
    run.state.plans.end(pruned.plan, "applied")


def _drops(one: plan.RepositoryPlan) -> int:
    return sum(step.action is Action.DROP for step in one.steps)
