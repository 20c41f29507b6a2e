"""The job of a retention policy."""

from __future__ import annotations

from syncer import log, run, stores
from syncer.report import Report


def prune(environment: run.Environment, name: str) -> Report:
    """Judges by the policy called `name`, stores the plan, and drops only where that is allowed.

    It is where the policy says `apply = true` and an operator has run `syncer prune --apply` once
    since the state began: ages and what undo needs live there, and a new state knows neither.

    Raises:
        SyncerError: It could not even begin, or its state can no longer be written.
    """
    policy = environment.rules.policy(name)
    started = environment.now()
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
    fared = pruned.report.rules[name]
    environment.state.rules.finished(
        name,
        stores.key(environment.rules.registry[policy.registry]),
        started=started,
        outcome=fared.outcome,
        in_step=fared.outcome == "ok",
        full_pass=fared.outcome not in ("interrupted", "held"),
        tags_behind=fared.behind,
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
