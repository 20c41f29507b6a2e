"""A repository as it is now: every tag with its digest, and what its indexes hold.

The listing counts only as a whole: what could not be read is said in `problem`, and whoever would
delete by it does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from syncer import copy, errors, manifest, work
from syncer.manifest import Manifest
from syncer.retention import Node
from syncer.store import Resolved


@dataclass
class Observed:
    """What was read of a repository.

    Attributes:
        tags: What each tag points to.
        nodes: A node for each tagged digest, and for what indexes hold where they were walked.
        gone: Tags that were listed and were not there when asked for.
        problem: Why the reading is not whole; empty when it is.
    """

    tags: dict[str, Resolved] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    problem: str = ""
    error: errors.SyncerError | None = None

    @property
    def digests(self) -> Mapping[str, str]:
        """From tag to digest."""
        return {tag: found.digest for tag, found in self.tags.items()}


class Reader:
    """Reads repositories as part of a graph of work.

    Cost: one listing, a HEAD for each tag; where `walk` says so, a GET for each index.
    """

    def __init__(self, run: work.Work) -> None:
        self._run = run

    def read(
        self,
        side: copy.Side,
        then: Callable[[Observed], None],
        walk: Callable[[Iterable[str]], bool] = lambda tags: False,  # noqa: ARG005
    ) -> None:
        """Reads a repository and hands on what was observed; never raises, see `problem`.

        Args:
            side: The repository.
            then: Gets the result.
            walk: Told the tags; whether their indexes are to be read too.
        """
        _Reading(self._run, side, then, walk).start()


class _Reading:
    def __init__(
        self,
        run: work.Work,
        side: copy.Side,
        then: Callable[[Observed], None],
        walk: Callable[[Iterable[str]], bool],
    ) -> None:
        self._run = run
        self._side = side
        self._then = then
        self._walk = walk
        self._found = Observed()
        self._asked: set[str] = set()

    def start(self) -> None:
        self._run.submit(self._list, self._listed, copy.OPEN)

    def _list(self) -> list[str]:
        try:
            return self._side.store.tags(self._side.repository)
        except errors.NotFoundError:
            return []  # a catalog may still name what has been emptied

    def _listed(self, outcome: work.Outcome[list[str]]) -> None:
        if outcome.error is not None:
            self._fail("its tags could not be listed", outcome.error)
            self._then(self._found)
            return
        self._run.each(outcome.get(), self._resolve, self._resolved, self._run.threads * 2)

    def _resolve(self, tag: str, ended: Callable[[], None]) -> None:
        def told(outcome: work.Outcome[Resolved | None]) -> None:
            if outcome.error is not None:
                self._fail(f"{tag} could not be read", outcome.error)
            elif outcome.value is None:
                self._found.gone.append(tag)
            else:
                self._found.tags[tag] = outcome.value
            ended()

        store, repository = self._side.store, self._side.repository
        self._run.submit(lambda: store.resolve(repository, tag), told, copy.OPEN)

    def _resolved(self) -> None:
        join = work.Join(lambda _: self._then(self._found))
        walk = not self._found.problem and self._walk(self._found.tags)
        for found in self._found.tags.values():
            if found.media_type in manifest.MANIFEST_TYPES:
                self._found.nodes[found.digest] = Node(media_type=found.media_type)
            elif walk and found.media_type in manifest.INDEX_TYPES:
                self._open(found.digest, join.part(), 0)
        join.seal()

    def _open(self, digest: str, then: work.Then, depth: int) -> None:
        """Reads an index and the indexes below it."""
        if digest in self._asked or depth > copy.MAX_DEPTH:
            then(work.DONE)
            return
        self._asked.add(digest)

        def read(outcome: work.Outcome[Manifest]) -> None:
            if outcome.error is not None:
                self._fail(f"index {digest} could not be read", outcome.error)
                then(work.DONE)
                return
            self._note(outcome.get(), then, depth)

        store, repository = self._side.store, self._side.repository
        self._run.submit(lambda: store.manifest(repository, digest), read, copy.READ)

    def _note(self, index: Manifest, then: work.Then, depth: int) -> None:
        nodes = self._found.nodes
        subject = index.subject.digest if index.subject else ""
        children = tuple(child.digest for child in index.manifests)
        nodes[index.digest] = Node(children, subject, index.media_type)
        join = work.Join(then)
        for child in index.manifests:
            if child.is_index:
                self._open(child.digest, join.part(), depth + 1)
            else:
                nodes.setdefault(child.digest, Node(media_type=child.media_type))
        join.seal()

    def _fail(self, what: str, error: errors.SyncerError) -> None:
        if not self._found.problem:
            self._found.problem = f"{what}: {error}"
            self._found.error = error
