"""What a REF speaks of, which repositories that is, and how the rules connect them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from syncer import errors, patterns, reference
from syncer.patterns import Pattern
from syncer.rules import ReplicateRule, Rules
from syncer.store import Store

_EVERYTHING = patterns.parse("**")


@dataclass(frozen=True)
class Where:
    """What a REF of `ls` speaks of.

    Attributes:
        registry: The registry's name; empty for all registries.
        repositories: Which repositories; None where the registry itself is meant.
        tags: Which tags; None where the repositories themselves are meant.
        target: The one tag or digest that is meant, or empty.
    """

    registry: str = ""
    repositories: Pattern | None = None
    tags: Pattern | None = None
    target: str = ""


def where(text: str) -> Where:
    """What `text` spells: REGISTRY, REGISTRY/REPOSITORY, :TAG or @DIGEST after it; globs in both.

    Raises:
        UsageError: It spells nothing.
    """
    registry, _, rest = text.partition("/")
    if not registry:
        raise errors.UsageError(f"{text!r} names no registry: write REGISTRY/REPOSITORY:TAG")
    if not rest:
        return Where(registry)
    if "@" in rest:
        parsed = reference.parse(text)
        return Where(registry, patterns.parse(parsed.repository), target=parsed.digest)
    repository, colon, tag = rest.partition(":")
    if repository.endswith("/"):
        repository += "**"
    try:
        repositories = patterns.parse(repository)
        tags = patterns.parse(tag) if colon else None
    except ValueError as error:
        raise errors.UsageError(f"{text!r}: {error}") from None
    if tags is not None and tags.is_literal and repositories.is_literal:
        reference.parse(text)
        return Where(registry, repositories, target=tag)
    return Where(registry, repositories, tags)


def repositories(opened: Store, listed: Sequence[str], wanted: Pattern | None) -> list[str]:
    """The repositories of a registry that `wanted` matches, sorted.

    Args:
        opened: The registry.
        listed: Its repositories where the rules file names them; empty to ask the catalog.
        wanted: Which; None for all. A plain name is taken as it is.
    """
    if wanted is not None and wanted.is_literal:
        return [wanted.text]
    names = listed or opened.repositories()
    return sorted({name for name in names if (wanted or _EVERYTHING).matches(name)})


def copies(rules: Rules, registry: str, repository: str) -> list[tuple[ReplicateRule, str]]:
    """The rules that copy a repository, each with the name it gets at the targets."""
    return [
        (rule, rule.renamed(repository))
        for rule in rules.replicate
        if rule.source == registry and rule.repo_selection.matches(repository)
    ]


def origins(rules: Rules, registry: str, repository: str) -> list[tuple[ReplicateRule, str]]:
    """The rules that copy into a repository, each with the source repository it comes from.

    Where `rename` puts captures together only the source's catalog could tell; that is not asked.
    """
    found = []
    for rule in rules.replicate:
        before, placeholder, after = rule.rename.partition("{repo}")
        name = repository.removeprefix(before).removesuffix(after)
        if not placeholder:
            name = rule.repos[0].text if rule.repos[0].is_literal else ""
        if registry in rule.target and rule.repo_selection.matches(name):
            found += [(rule, name)] if rule.renamed(name) == repository else []
    return found
