"""Blobs that several repositories of a target need: one carries each across, the others mount it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from enum import Enum

from syncer import work
from syncer.manifest import Manifest
from syncer.sides import Side

_CANDIDATES = 3
_Key = tuple[str, str]  # a store and a digest

# Puts a blob, mounted from one of these repositories where it can be; ends with how it came.
Carry = Callable[[Sequence[str], work.Then], None]


class _Habit(Enum):
    """What a registry mounts: what a repository holds, only what a manifest there names, nothing."""

    HELD = 1
    NAMED = 2
    NOTHING = 3


class _Places:
    """Where a blob is at one store, as far as this run saw to it."""

    __slots__ = ("held", "named")

    def __init__(self) -> None:
        self.held: tuple[str, ...] = ()
        self.named: tuple[str, ...] = ()  # a manifest there names it


class Mounts:
    """Who carries a blob to a target, who waits for that, and what it can be mounted from.

    Some registries (ECR) mount only what a manifest names: there the others wait until the first
    one's manifest is put. Which kind a registry is shows in the first mount; it is tried alone.

    Args:
        run: The graph of work; all methods but `sources` run in its coordinator.
        candidates: Repositories of a store (by key) that may hold a digest, best first.
    """

    def __init__(self, run: work.Work, candidates: Callable[[str, str], Sequence[str]]) -> None:
        self._candidates = candidates
        self._convoy = work.Convoy()
        self._places: defaultdict[_Key, _Places] = defaultdict(_Places)
        self._habits: dict[str, _Habit] = {}
        self._trials: dict[str, list[Callable[[], None]]] = {}
        self._waiting: dict[_Key, list[Callable[[], None]]] = {}
        run.when_stuck(self._release)

    def carry(self, target: Side, digest: str, carry: Carry, then: work.Then) -> None:
        """Has a blob brought to the target, after the first repository that needs it has it."""
        store = target.store.key
        key = (store, digest)
        places = self._places[key]

        def go(end: work.Then) -> None:
            known, named = (*places.named, *places.held), bool(places.named)

            def ended(outcome: work.Outcome[str]) -> None:
                if outcome.error is None:
                    if known:
                        self._learn(store, outcome.get(), named=named)
                    places.held = (target.repository, *places.held)[:_CANDIDATES]
                end(outcome)

            carry(known, ended)

        def start(end: work.Then) -> None:
            habit = self._habits.get(store)
            if not places.held or places.named or habit in (_Habit.HELD, _Habit.NOTHING):
                go(end)
            elif habit is _Habit.NAMED:
                self._waiting.setdefault(key, []).append(lambda: go(end))
            elif store in self._trials:
                self._trials[store].append(lambda: start(end))
            else:
                self._trials[store] = []
                go(lambda outcome: self._tried(store, outcome, end))

        self._convoy.ask(key, start, then)

    def named(self, target: Side, content: Manifest) -> None:
        """Says that the target holds a manifest: what it names can be mounted from there."""
        for blob in content.blobs():
            key = (target.store.key, blob.digest)
            places = self._places[key]
            if target.repository not in places.named:
                places.named = (target.repository, *places.named)[:_CANDIDATES]
            for go in self._waiting.pop(key, ()):
                go()

    def sources(self, source: Side, target: Side, digest: str, known: Sequence[str]) -> list[str]:
        """Where the target may take the blob from: this run's own uploads are the surest.

        For leaves: the state is asked where this run has put the blob nowhere yet.
        """
        key = target.store.key
        own = [source.repository] if source.store.key == key else []
        names = (*own, *(known or self._candidates(key, digest)))
        return list(dict.fromkeys(each for each in names if each != target.repository))[
            :_CANDIDATES
        ]

    def _learn(self, store: str, how: str, *, named: bool) -> None:
        if how == "mounted" and not named:
            self._habits[store] = _Habit.HELD
        elif how == "copied" and named:
            self._habits[store] = _Habit.NOTHING
        elif how == "copied":
            self._habits.setdefault(store, _Habit.NAMED)

    def _tried(self, store: str, outcome: work.Outcome[str], then: work.Then) -> None:
        then(outcome)
        for again in self._trials.pop(store):
            again()

    def _release(self) -> bool:
        """Lets one go on whose manifest does not come: it may wait for this very blob."""
        for key, waiting in self._waiting.items():
            go = waiting.pop()
            if not waiting:
                del self._waiting[key]
            go()
            return True
        return False
