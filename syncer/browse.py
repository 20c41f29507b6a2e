"""Browsing: what `ls`, `check --online` and `status` show beyond the state's own queries. Reads only.

What each level of `ls` costs, in requests:

- a registry's repositories: its catalog, one request a page; none where the rules list them;
- a repository's tags: its tag listing, a HEAD for each tag; for each target that a rule copies it
  to, one listing there and a HEAD for each of the tags that is on both sides;
- one tag or digest: a GET for it and for each manifest below it, and the referrers of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeVar

from syncer import errors, patterns, reference, store
from syncer.manifest import Descriptor, Manifest
from syncer.patterns import Pattern
from syncer.rules import ReplicateRule, Rules
from syncer.store import Store

T = TypeVar("T")
R = TypeVar("R")

_MAX_DEPTH = 8
_WIDTH = 16
_EVERYTHING = patterns.parse("**")
IN_STEP, BEHIND, MISSING = "in step", "behind", "not copied"


class Open(Protocol):
    """Opens the store of a registry of the rules file, as `stores.Stores.get` does."""

    def __call__(self, name: str) -> Store:
        """The store called `name`."""


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
    rules: Rules, open_: Open, registry: str, repository: str, wanted: Pattern | None = None
) -> list[TagRow]:
    """The tags of a repository, each with what it points to here and at the targets of its rules.

    Raises:
        RegistryError: The repository could not be listed.
    """
    opened = open_(registry)
    names = [tag for tag in opened.tags(repository) if wanted is None or wanted.matches(tag)]
    found = each(names, lambda tag: opened.resolve(repository, tag))
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
        for target in rule.target:
            name = f"{target}/{landing}"
            for tag, state in _compare(open_(target), landing, spoken).items():
                rows[tag] = TagRow(
                    tag, rows[tag].digest, rows[tag].media_type, {**rows[tag].targets, name: state}
                )
    return [rows[tag] for tag in names]


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


def _state(answer: store.Resolved | errors.SyncerError | None, digest: str) -> str:
    if answer is None:
        return MISSING
    if isinstance(answer, errors.SyncerError):
        return str(answer)
    return IN_STEP if answer.digest == digest else BEHIND


@dataclass(frozen=True)
class Node:
    """A manifest or index, with what is below it.

    Attributes:
        descriptor: What pointed here; carries the platform.
        content: The manifest; None when it could not be read.
        children: What an index lists.
        referrers: What refers to it.
        error: Why it could not be read.
    """

    descriptor: Descriptor
    content: Manifest | None = None
    children: tuple[Node, ...] = ()
    referrers: tuple[Descriptor, ...] = ()
    error: str = ""

    def blobs(self) -> dict[str, int]:
        """The size of every blob and manifest at and below it, by digest: each counts once."""
        sizes = {self.descriptor.digest: self.descriptor.size}
        if self.content is not None:
            sizes |= {blob.digest: blob.size for blob in self.content.blobs()}
        for child in self.children:
            sizes |= child.blobs()
        return sizes


def tree(opened: Store, repository: str, target: str) -> Node:
    """What a tag or digest points to, down to the blobs.

    Raises:
        RegistryError: It could not be read; what is below it may fail without an error.
    """
    top = opened.manifest(repository, target)
    return _node(opened, repository, top.descriptor, top, 0)


def _node(
    opened: Store, repository: str, descriptor: Descriptor, content: Manifest, depth: int
) -> Node:
    def child(below: Descriptor) -> Node:
        if not below.is_manifest or depth == _MAX_DEPTH:
            return Node(below)
        found = opened.manifest(repository, below.digest)
        return _node(opened, repository, below, found, depth + 1)

    answers = each(content.manifests, child)
    children = tuple(
        Node(below, error=str(answer)) if isinstance(answer, errors.SyncerError) else answer
        for below, answer in zip(content.manifests, answers, strict=True)
    )
    try:
        referrers = tuple(opened.referrers(repository, descriptor.digest))
    except errors.RegistryError as error:
        return Node(descriptor, content, children, error=f"referrers: {error}")
    return Node(descriptor, content, children, referrers)


def each(items: Iterable[T], call: Callable[[T], R]) -> list[R | errors.SyncerError]:
    """What `call` returns for each item, or the error it raised, in order; several at a time."""

    def caught(item: T) -> R | errors.SyncerError:
        try:
            return call(item)
        except errors.SyncerError as error:
            return error

    wanted = list(items)
    if len(wanted) < 2:
        return [caught(item) for item in wanted]
    pool = ThreadPoolExecutor(min(_WIDTH, len(wanted)), thread_name_prefix="browse")
    try:
        return list(pool.map(caught, wanted))
    finally:
        pool.shutdown(cancel_futures=True)
