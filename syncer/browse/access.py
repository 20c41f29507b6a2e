"""Who we are at each registry, and whether we may do there what the rules need."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from syncer import errors
from syncer.browse.parallel import each
from syncer.patterns import Selection
from syncer.rules import PolicyRules, ReplicateRule, Rules
from syncer.stores import Stores

# Repositories of a rule whose permissions are tried.
TRIED = 10


@dataclass(frozen=True)
class Reach:
    """A registry, asked.

    Attributes:
        who: Who we are there; empty when it was not reached.
        skew: Seconds our clock is ahead of its; None where it does not tell.
        error: Why it was not reached.
    """

    registry: str
    who: str = ""
    skew: float | None = None
    error: str = ""


@dataclass(frozen=True)
class Need:
    """Something a rule or policy must be allowed to do, and whether it is.

    Attributes:
        rule: The rule or policy.
        registry, repository: Where; no repository when they could not be listed.
        action: pull, push or delete.
        named: Whether the rule names the repository in full, so that its absence is an error.
        denied: Why not; empty when nothing speaks against it.
    """

    rule: str
    registry: str
    repository: str
    action: str
    named: bool = False
    denied: str = ""


def reach(rules: Rules, opened: Stores) -> list[Reach]:
    """Asks every registry who we are there. One or two requests each."""

    def ask(name: str) -> Reach:
        client = opened.get(name)
        return Reach(name, client.ping(), client.skew())

    names = list(rules.registry)
    answers = each(names, ask)
    return [
        Reach(name, error=str(answer)) if isinstance(answer, errors.SyncerError) else answer
        for name, answer in zip(names, answers, strict=True)
    ]


def permissions(rules: Rules, opened: Stores, reached: Collection[str]) -> list[Need]:
    """Proves what the rules need of the registries that were `reached`; changes nothing.

    Of the repositories that a pattern matches the first few are tried. Cost: the catalog of each
    source, and a few requests for each repository, side and action.
    """
    needs = [need for rule in rules.replicate for need in _rule_needs(rule, opened, reached)]
    needs += [need for policy in rules.policies for need in _policy_needs(policy, opened, reached)]

    def prove(need: Need) -> Need:
        client = opened.get(need.registry)
        if need.named:
            client.tags(need.repository)
        return replace(need, denied=need.denied or client.may(need.repository, need.action))

    return [
        replace(need, denied=str(answer)) if isinstance(answer, errors.SyncerError) else answer
        for need, answer in zip(needs, each(needs, prove), strict=True)
    ]


def _rule_needs(rule: ReplicateRule, opened: Stores, reached: Collection[str]) -> Iterator[Need]:
    if rule.source not in reached:
        return
    try:
        found = _some(opened, rule.source, rule.repo_selection, rule.literal_repos)
    except errors.SyncerError as error:
        yield Need(rule.name, rule.source, "", "list", denied=str(error))
        return
    for repository in found:
        yield Need(rule.name, rule.source, repository, "pull", rule.names(repository))
        for target in rule.target:
            if target in reached:
                yield Need(rule.name, target, rule.renamed(repository), "push")


def _policy_needs(policy: PolicyRules, opened: Stores, reached: Collection[str]) -> Iterator[Need]:
    if policy.registry not in reached:
        return
    literal = tuple(each.text for each in policy.repos if each.is_literal)
    named = literal if len(literal) == len(policy.repos) else None
    try:
        found = _some(opened, policy.registry, policy.repo_selection, named)
    except errors.SyncerError as error:
        yield Need(policy.name, policy.registry, "", "list", denied=str(error))
        return
    for repository in found:
        yield Need(policy.name, policy.registry, repository, "pull")
        yield Need(policy.name, policy.registry, repository, "delete")


def _some(
    opened: Stores, registry: str, wanted: Selection, named: Sequence[str] | None
) -> list[str]:
    """The first few repositories that `wanted` selects; asks the catalog unless they are `named`."""
    names = named or opened.repositories(registry) or opened.get(registry).repositories()
    return sorted(name for name in names if wanted.matches(name))[:TRIED]
