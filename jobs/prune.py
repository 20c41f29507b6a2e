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
        run=pruned.report.run,
        plan=pruned.plan,
        drops=pruned.drops,
        refused=pruned.refused,
        waits_for=waits_for(applies=policy.apply, fresh=environment.state.fresh),
    )
    return pruned.report


def waits_for(*, applies: bool, fresh: bool) -> str:
    """What has to happen before the schedule of a policy drops anything; empty when nothing has to.

    Args:
        applies: The policy's `apply`.
        fresh: The state's `fresh`.
    """
    if not applies:
        return "apply = true in the policy"
    return "syncer prune --apply, once by hand" if fresh else ""
