"""What the manifests of a layout name: their children and what they refer to."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from syncer import errors, reference
from syncer.layout.index import Rows
from syncer.manifest import Descriptor, Manifest


@dataclass(frozen=True)
class _Node:
    children: tuple[Descriptor, ...] = ()
    subject: str = ""
    referrer: Descriptor | None = None
    unread: errors.SyncerError | None = None


class Graph:
    """Manifests that `read` gives, each read once: what a digest names does not change."""

    def __init__(self, read: Callable[[str], Manifest]) -> None:
        self._read = read
        self._nodes: dict[str, _Node] = {}
        self._lock = threading.Lock()
        self._rows: Rows = {}
        self._found: dict[str, Mapping[str, list[Descriptor]]] = {}

    def referrers(self, rows: Rows, repository: str) -> Mapping[str, list[Descriptor]]:
        """What refers to what in a repository: by `subject`, in rows and in children of rows.

        The indexes under fallback tags are such rows, so what they list is found as well. Rows
        without a name, as oras writes them for referrers, count for every repository.

        Raises:
            ContentError: A manifest without a tag cannot be read; it may be a referrer. One with a
                tag answers for itself when the tag is asked for.
        """
        with self._lock:
            if rows is not self._rows:
                self._rows, self._found = rows, {}
            if repository not in self._found:
                self._found[repository] = self._scan(rows, repository)
            return self._found[repository]

    def names(self, rows: Rows, digest: str) -> bool:
        """Whether a row or an index names `digest`, or may: one that cannot be read counts."""
        with self._lock:
            nodes = self._reachable(row.descriptor for row in rows.values())
        return digest in nodes or any(node.unread for node in nodes.values())

    def _scan(self, rows: Rows, repository: str) -> Mapping[str, list[Descriptor]]:
        ours = [(name[1], rows[name].descriptor) for name in rows if name[0] in {repository, ""}]
        nodes = self._reachable(descriptor for _, descriptor in ours)
        found: defaultdict[str, list[Descriptor]] = defaultdict(list)
        for target, descriptor in ours:
            unread = nodes[descriptor.digest].unread
            if unread is not None and not reference.is_tag(target):
                raise unread
        for _, node in sorted(nodes.items()):
            if node.referrer:
                found[node.subject].append(node.referrer)
        return dict(found)

    def _reachable(self, roots: Iterable[Descriptor]) -> Mapping[str, _Node]:
        found: dict[str, _Node] = {}
        waiting = list(roots)
        while waiting:
            descriptor = waiting.pop()
            if descriptor.digest not in found:
                node = self._node(descriptor) if descriptor.is_manifest else _Node()
                found[descriptor.digest] = node
                waiting.extend(node.children)
        return found

    def _node(self, descriptor: Descriptor) -> _Node:
        digest = descriptor.digest
        if digest in self._nodes:
            return self._nodes[digest]
        try:
            content = self._read(digest)
        except (errors.NotFoundError, errors.ContentError) as error:
            return _Node(unread=error)  # not kept: it may be repaired
        self._nodes[digest] = _Node(
            content.manifests,
            content.subject.digest if content.subject else "",
            content.descriptor if content.subject else None,
        )
        return self._nodes[digest]
