"""Replication rules run once, or shown before they run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from syncer import apply, copy, errors, replicate, work
from syncer.patterns import Selection
from syncer.report import Report
from syncer.rules import ReplicateRule, Rules
from syncer.run.base import Environment, Run, begin


def sync(
    environment: Environment,
    names: Sequence[str] = (),
    *,
    only: Selection | None = None,
    command: str = "sync",
) -> Report:
    """Runs replication rules once, all of them when no name is given.

    Raises:
        UsageError: A name is that of no replication rule.
        StateError: The state cannot be written.
    """
    rules = replication_rules(environment.rules, names)
    with begin(environment, command, allow_empty(rules)) as run:
        graph = graph_of(run, rules)
        copier = copy.Copier(
            graph,
            run.observer,
            run.memory.mounts,
            targets=max(len(rule.target) for rule in rules),
        )
        replicator = apply.Replicator(graph, copier, run.memory, run.observer)
        with contextlib.closing(copier):
            compare(run, graph, rules, replicator, only)
    _note_rules(run, rules, narrowed=only is not None)
    return run.report


def preview(
    environment: Environment, names: Sequence[str] = (), *, only: Selection | None = None
) -> tuple[Report, list[copy.Comparison]]:
    """What `sync` would do now; observes, writes to no registry."""
    rules = replication_rules(environment.rules, names)
    found: list[copy.Comparison] = []
    with begin(environment, "plan", allow_empty(rules), record=False) as run:

        def keep(comparison: copy.Comparison, ended: Callable[[], None]) -> None:
            apply.announce(comparison, run.observer)
            found.append(comparison)
            ended()

        compare(run, graph_of(run, rules), rules, keep, only)
    found.sort(key=lambda each: (each.plan.rule, each.plan.target))
    return run.report, found


def replication_rules(rules: Rules, names: Sequence[str]) -> list[ReplicateRule]:
    """The replication rules of those names, or all.

    Raises:
        UsageError: There are none, or a name is that of no replication rule.
    """
    if not rules.replicate:
        raise errors.UsageError("the rules file has no [[replicate]] rule")
    return [rules.rule(name) for name in dict.fromkeys(names or (r.name for r in rules.replicate))]


def allow_empty(rules: Sequence[ReplicateRule]) -> dict[str, bool]:
    """Each rule's name and whether matching nothing is fine."""
    return {rule.name: rule.allow_empty for rule in rules}


def graph_of(run: Run, rules: Sequence[ReplicateRule]) -> work.Work:
    """A graph of work for the registries of these rules."""
    return run.graph([name for rule in rules for name in (rule.source, *rule.target)])


def compare(
    run: Run,
    graph: work.Work,
    rules: Sequence[ReplicateRule],
    then: replicate.Apply,
    only: Selection | None,
    *,
    verify: bool = False,
) -> None:
    """Compares what the rules speak of and hands each comparison to `then`; ends with the graph."""
    replicate.Replication(
        graph,
        [_job(run, rule) for rule in rules],
        run.memory,
        run.observer,
        then,
        only=only,
        verify=verify,
        now=run.started,
    ).start()
    graph.run()


def _job(run: Run, rule: ReplicateRule) -> replicate.Job:
    source = run.stores.source(rule)
    targets = tuple(run.stores.get(name) for name in rule.target)
    return replicate.Job(rule, source.store, targets, source.origins)


def _note_rules(run: Run, rules: Sequence[ReplicateRule], *, narrowed: bool) -> None:
    """Remembers how each rule fared; a narrowed run says nothing about lag."""
    for rule in rules if not narrowed else ():
        report = run.report.rules[rule.name]
        for target in rule.target:
            run.state.rules.finished(
                rule.name,
                run.stores.get(target).key,
                started=run.started,
                outcome=report.outcome,
                in_step=report.outcome == "ok",
                full_pass=report.outcome in ("ok", "partial", "empty", "refused"),
                tags_behind=report.behind,
            )
