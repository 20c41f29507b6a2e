"""The tags of a repository, and how each fares at the targets it is copied to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from syncer import errors
from syncer.browse.parallel import each
from syncer.browse.places import copies
from syncer.patterns import Pattern
from syncer.rules import Rules
from syncer.store import Resolved, Store
from syncer.stores import Stores

IN_STEP, BEHIND, MISSING = "in step", "behind", "not copied"


@dataclass(frozen=True)
class TagRow:
    """A tag as `ls` shows it.

    Attributes:
        tag: The tag.
        digest: What it points to; empty when it is gone or could not be read.
        media_type: The type of that.
        targets: For each target (`registry/repository`) that a rule copies it to: `in step`,
            `behind`, `not copied`, or why that could not be found out.
        error: Why it could not be read.
    """

    tag: str
    digest: str = ""
    media_type: str = ""
    targets: Mapping[str, str] = field(default_factory=dict)
    error: str = ""


def tags(
    rules: Rules, opened: Stores, registry: str, repository: str, wanted: Pattern | None = None
) -> list[TagRow]:
    """The tags of a repository, each with what it points to here and at the targets of its rules.

    Raises:
        RegistryError: The repository could not be listed.
    """
    source = opened.get(registry)
    names = [tag for tag in source.tags(repository) if wanted is None or wanted.matches(tag)]
    found = each(names, lambda tag: source.resolve(repository, tag))
    rows = {}
    digests = {}
    for tag, answer in zip(names, found, strict=True):
        if isinstance(answer, errors.SyncerError):
            rows[tag] = TagRow(tag, error=str(answer))
        elif answer is None:
            rows[tag] = TagRow(tag, error="listed, but gone")
        else:
            digests[tag] = answer.digest
            rows[tag] = TagRow(tag, answer.digest, answer.media_type, {})
    for rule, landing in copies(rules, registry, repository):
        spoken = {tag: at for tag, at in digests.items() if rule.tag_selection.matches(tag)}
        if rule.platforms:
            spoken = _trimmed(opened.source(rule).store, repository, spoken)
        for target in rule.target:
            name = f"{target}/{landing}"
            for tag, state in _compare(opened.get(target), landing, spoken).items():
                rows[tag] = TagRow(
                    tag, rows[tag].digest, rows[tag].media_type, {**rows[tag].targets, name: state}
                )
    return [rows[tag] for tag in names]


def _trimmed(source: Store, repository: str, digests: Mapping[str, str]) -> dict[str, str]:
    """What the targets of a rule with `platforms` should have; tags it skips are left out."""
    answers = each(digests, lambda tag: source.resolve(repository, tag))
    return {
        tag: answer.digest
        for tag, answer in zip(digests, answers, strict=True)
        if answer is not None and not isinstance(answer, errors.SyncerError)
    }


def _compare(target: Store, repository: str, digests: Mapping[str, str]) -> dict[str, str]:
    """How each of these tags of a source fares at a target."""
    try:
        listed = set(target.tags(repository))
    except errors.NotFoundError:
        listed = set()
    except errors.SyncerError as error:
        return dict.fromkeys(digests, str(error))
    shared = [tag for tag in digests if tag in listed]
    answers = dict(
        zip(shared, each(shared, lambda tag: target.resolve(repository, tag)), strict=True)
    )
    return {tag: _state(answers.get(tag), digest) for tag, digest in digests.items()}


def _state(answer: Resolved | errors.SyncerError | None, digest: str) -> str:
    if answer is None:
        return MISSING
    if isinstance(answer, errors.SyncerError):
        return str(answer)
    return IN_STEP if answer.digest == digest else BEHIND
