"""The job of a retention policy."""

from __future__ import annotations

from syncer import log, run
from syncer.report import Report


def prune(environment: run.Environment, name: str) -> Report:
    """Judges by the policy called `name`, stores the plan, and drops only where that is allowed.

    It is where the policy says `apply = true` and an operator has run `syncer prune --apply` once
    since the state began: ages and what undo needs live there, and a new state knows neither.

    Raises:
        SyncerError: It could not even begin, or its state can no longer be written.
    """
    policy = environment.rules.policy(name)
    apply = policy.apply and not environment.state.fresh
    pruned = run.prune(environment, [name], apply=apply, operator=False)
    log.get().info(
        "plan.stored",
        plan=pruned.plan,
        drops=pruned.drops,
        refused=pruned.refused,
        applied=apply and not pruned.refused,
        waits_for=_waits_for(policy_applies=policy.apply, applied=apply),
    )
    return pruned.report


def _waits_for(*, policy_applies: bool, applied: bool) -> str:
    """What has to happen before the schedule drops anything."""
    if applied:
        return ""
    return "syncer prune --apply, once by hand" if policy_applies else "apply = true in the policy"
