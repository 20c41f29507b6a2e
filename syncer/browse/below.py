"""What a tag or digest points to, down to the blobs."""

from __future__ import annotations

from dataclasses import dataclass

from syncer import errors
from syncer.browse.parallel import each
from syncer.manifest import Descriptor, Manifest
from syncer.store import Store

_MAX_DEPTH = 8


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
