"""What holds what: children of indexes, referrers of subjects, and tags named after a digest. Pure.

Sources: image-spec 1.1 "image-index" (`manifests`) and "manifest" (`subject`); distribution-spec
1.1 "Referrers Tag Schema" (`sha256-<hex>`); cosign's `sha256-<hex>.sig`, `.att` and `.sbom`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cached_property

from syncer import reference
from syncer.retention.snapshot import Node

_FOLLOWER = re.compile(r"(sha(?:256|512)-[0-9a-f]{64})(?:\.[a-z0-9]+)?")


def followed(tag: str) -> str:
    """The fallback tag of the digest whose fate `tag` shares; empty for a tag a person chose."""
    match = _FOLLOWER.fullmatch(tag) if tag.startswith("sha") else None
    return match[1] if match else ""


class Graph:
    """The manifests of a repository and what keeps each of them alive.

    Args:
        manifests: Every manifest that was read.
        followers: For a fallback tag, the digests that the tags of that name point to.
    """

    def __init__(
        self, manifests: Mapping[str, Node], followers: Mapping[str, Iterable[str]] | None = None
    ) -> None:
        self._manifests = manifests
        self._followers = followers or {}

    def reach(self, roots: Iterable[str]) -> set[str]:
        """`roots` and everything that must stay with them."""
        reached: set[str] = set()
        open_ = list(roots)
        while open_:
            digest = open_.pop()
            if digest in reached:
                continue
            reached.add(digest)
            if node := self._manifests.get(digest):
                open_ += node.children
            open_ += self._referrers.get(digest, ())
            if self._followers:
                open_ += self._followers.get(reference.fallback_tag(digest), ())
        return reached

    def is_read(self, digests: Iterable[str]) -> bool:
        """Whether every one of `digests` has a node, so that its reach is the whole of it."""
        return all(digest in self._manifests for digest in digests)

    def holders(self, digest: str) -> set[str]:
        """`digest` and every index that lists it, at any depth."""
        found: set[str] = set()
        open_ = [digest]
        while open_:
            if (each := open_.pop()) not in found:
                found.add(each)
                open_ += self._parents.get(each, ())
        return found

    def parents_first(self, digests: Iterable[str]) -> list[str]:
        """`digests` in an order to delete them in: no index outlives a child of it (I12)."""
        wanted = set(digests)
        order: list[str] = []
        seen: set[str] = set()
        stack = [(digest, False) for digest in sorted(wanted, reverse=True)]
        while stack:
            digest, left = stack.pop()
            if left:
                order.append(digest)
            elif digest not in seen:
                seen.add(digest)
                stack.append((digest, True))
                children = self._manifests[digest].children if digest in self._manifests else ()
                stack += [(child, False) for child in children if child in wanted]
        return order[::-1]

    @cached_property
    def _parents(self) -> Mapping[str, list[str]]:
        parents: dict[str, list[str]] = {}
        for digest, node in self._manifests.items():
            for child in node.children:
                parents.setdefault(child, []).append(digest)
        return parents

    @cached_property
    def _referrers(self) -> Mapping[str, list[str]]:
        referrers: dict[str, list[str]] = {}
        for digest, node in self._manifests.items():
            if node.subject:
                referrers.setdefault(node.subject, []).append(digest)
        return referrers
