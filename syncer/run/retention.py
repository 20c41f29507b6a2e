"""Retention policies run once: judged, stored as a plan, and where told carried out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from syncer import errors, events, pins, plan, retention
from syncer import prune as pruning
from syncer.copy import Side
from syncer.drop import Dropper, Order
from syncer.plan import Action
from syncer.prune import Judge, Planned, Verdict
from syncer.report import Report
from syncer.retention import Decision
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
    ahead: timedelta | None = None,
    allow_delete: int | None = None,
    operator: bool = True,
) -> Pruned:
    """Judges what the policies speak of, stores the plan, and with `apply` carries it out.

    Args:
        environment: What it runs in.
        names: Policies; all when empty.
        apply: Whether to drop what the plan drops.
        ahead: Judge as if that much time had passed; nothing is stored or dropped.
        allow_delete: The exact number of all drops, which lifts the limits on their number.
        operator: Whether a person asked, so that schedules may drop from now on.

    Raises:
        UsageError: A name is that of no policy.
        RefusedError: A pin file cannot be trusted.
    """
    policies = retention_policies(environment.rules, names)
    with begin(environment, "prune", {policy.name: True for policy in policies}) as run:
        pruned = Pruned(run.report)
        moment = run.started + (ahead or timedelta())
        judge = judge_of(run, moment)
        _say_untagged(run, policies)
        _judge(run, policies, judge, pruned)
        lifted = _lift(pruned, allow_delete)
        _announce(run, pruned, "" if lifted else _run_limit(run, pruned))
        if ahead is None:
            pruned.plan = _store(run, policies, pruned)
        if apply and ahead is None and not pruned.refused:
            _carry_out(
                run,
                policies,
                judge,
                pruned.verdicts,
                pruned.plan,
                lifted=lifted,
                operator=operator,
            )
    _note_policies(run, policies)
    return pruned


def apply_plan(
    environment: Environment, plan_id: str, *, allow_delete: int | None = None
) -> Report:
    """Carries out a stored plan: looks again, and drops only what both looks drop.

    Raises:
        UsageError: There is no such plan.
        RefusedError: It is not pending any more, or its policies have changed since.
    """
    stored = environment.state.plans.get(plan_id)
    if stored is None:
        raise errors.UsageError(
            f"there is no plan {plan_id!r}; `syncer status` lists those pending"
        )
    policies = retention_policies(environment.rules, stored.policies)
    if stored.status != "pending" and not (stored.status == "refused" and allow_delete is not None):
        raise errors.RefusedError(
            f"plan {plan_id} is {stored.status}; make a new one: syncer prune"
        )
    if stored.rules_digest != policies_digest(policies):
        raise errors.RefusedError(
            f"the policies have changed since plan {plan_id} was made; make a new one: syncer prune"
        )
    with begin(environment, "apply", {policy.name: True for policy in policies}) as run:
        judge = judge_of(run, run.started)
        planned = list(_stored(run, policies, plan_id, allow_delete))
        for each in planned:
            matched = len(each.plan.steps) + each.plan.in_step
            run.observer(events.RuleMatched(each.policy.name, 1, matched))
            run.observer(_planned(each.plan, len(each.plan.steps)))
        lifted = allow_delete is not None
        _carry_out(run, policies, judge, planned, plan_id, lifted=lifted, operator=True)
    _note_policies(run, policies)
    return run.report


def _stored(
    run: Run, policies: Sequence[PolicyRules], plan_id: str, allow_delete: int | None
) -> Iterator[Planned]:
    """What a stored plan drops, a repository at a time; with the number allowed, refused ones too."""
    parts = list(run.state.plans.parts(plan_id))
    drops = sum(part.drops for part in parts)
    if allow_delete not in (None, drops):
        raise errors.RefusedError(f"plan {plan_id} drops {drops} tags, not {allow_delete}")
    names = {settings.url: name for name, settings in run.environment.rules.registry.items()}
    known = {policy.name: policy for job in jobs(run, policies) for policy, _ in job.policies}
    for part in parts:
        policy = known[part.body["policy"]]
        side = Side(run.stores.get(names[part.registry]), part.repository)
        tags = [Decision(*each) for each in part.body["tags"]]
        refused = "" if allow_delete is not None else part.body["refused"]
        yield Planned(policy, side, pruning.plan_of(policy, side, tags, refused))


def policies_digest(policies: Sequence[PolicyRules]) -> str:
    """What a stored plan depends on: the policies and guards in words, not the file's comments."""
    words = [
        repr(
            (
                each.name,
                each.registry,
                [str(p) for p in each.repos],
                each.pins,
                each.require_mirrored,
            )
        )
        + "\n".join((*retention.sentences(each.policy()), repr(each.policy().guard)))
        for each in policies
    ]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


def _note_policies(run: Run, policies: Sequence[PolicyRules]) -> None:
    for policy in policies:
        report = run.report.rules[policy.name]
        run.state.rules.finished(
            policy.name,
            run.stores.get(policy.registry).key,
            started=run.started,
            outcome=report.outcome,
            in_step=report.outcome == "ok",
            full_pass=report.outcome not in ("interrupted", "held"),
        )


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


def judge_of(run: Run, moment: datetime) -> Judge:
    """Judges as of `moment`, by all that this run can know."""
    rules = run.environment.rules
    sources = {rules.registry[rule.source].url for rule in rules.replicate}
    return Judge(
        run.state,
        moment,
        run.started,
        _clock_problem(run),
        sources,
        lambda side, name: _mirror(run, side, name),
    )


def _mirror(run: Run, side: Side, name: str) -> Side | None:
    """Where a repository stands at the registry called `name`, by the rules that copy it."""
    for rule in run.environment.rules.replicate:
        if rule.source == side.store.name and name in rule.target:
            if rule.repo_selection.matches(side.repository):
                return Side(run.stores.get(name), rule.renamed(side.repository))
        elif rule.source == name and side.store.name in rule.target:
            for digests in run.state.tags.seen(*side.key).values():
                for record in digests.values():
                    if record.source_registry == run.environment.rules.registry[name].url:
                        return Side(run.stores.get(name), record.source_repository)
    return None


def _say_untagged(run: Run, policies: Sequence[PolicyRules]) -> None:
    """The distribution-spec lists no manifests without a tag, so `untagged` is for other stores."""
    for policy in policies:
        if policy.untagged is not None:
            reason = (
                f"{policy.registry} does not list manifests without a tag, so `untagged` drops none;"
                " they are for its own garbage collection"
            )
            run.observer(events.Noticed(policy.name, policy.registry, "UNTAGGED", reason))


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
    return (
        f"this host's clock is behind the last run ({latest:%F %T}Z); nothing is pruned until then"
    )


def _judge(
    run: Run,
    policies: Sequence[PolicyRules],
    judge: Judge,
    pruned: Pruned,
) -> None:
    def keep(verdict: Verdict, ended: Callable[[], None]) -> None:
        if verdict.plan.steps or verdict.plan.refused:
            pruned.verdicts.append(verdict)
        else:
            run.observer(_planned(verdict.plan, 0))
        ended()

    graph = run.graph([policy.registry for policy in policies])
    pruning.Pruning(graph, jobs(run, policies), judge, run.observer, keep).start()
    graph.run()
    pruned.verdicts.sort(key=lambda verdict: verdict.plan.target)


def _lift(pruned: Pruned, allow_delete: int | None) -> bool:
    """Lifts the guards on the number of drops when `allow_delete` is that very number."""
    if allow_delete is None:
        return False
    drops = sum(_drops(verdict.plan) for verdict in pruned.verdicts)
    if allow_delete != drops:
        raise errors.RefusedError(
            f"{drops} tags would go, not {allow_delete}: look at the plan again, then allow that number"
        )
    pruned.verdicts = [
        pruning.lift(verdict) if verdict.plan.steps else verdict for verdict in pruned.verdicts
    ]
    return True


def _run_limit(run: Run, pruned: Pruned) -> str:
    shared = run.environment.rules.retention.guard
    guard = retention.Guard(max_delete_run=shared.max_delete_run)
    return retention.run_refusal(guard, pruned.drops)


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
    names = [policy.name for policy in policies]
    for old in plans.latest(status="pending"):
        if set(old.policies) <= set(names):
            plans.end(old.id, "superseded")
    stored = plans.create(names, policies_digest(policies), run.started + ttl)
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
    planned: Sequence[Planned],
    plan_id: str,
    *,
    lifted: bool,
    operator: bool,
) -> None:
    if operator:
        run.state.confirm_operator()
    graph = run.graph([policy.registry for policy in policies])
    order = Order(
        run.id,
        plan_id,
        run.started,
        frozenset(policy.name for policy in policies if policy.apply),
        lifted,
    )
    dropper = Dropper(graph, judge, run.state, run.memory, run.observer, order)
    graph.each(planned, dropper, lambda: None, _WINDOW)
    graph.run()
    run.state.plans.end(plan_id, "applied")


def _drops(one: plan.RepositoryPlan) -> int:
    return sum(step.action is Action.DROP for step in one.steps)
