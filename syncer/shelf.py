"""Source manifests on their way: each is read once while it stays on the shelf."""

from __future__ import annotations

from collections import OrderedDict

from syncer import work
from syncer.manifest import Manifest
from syncer.sides import READ, Side

_SHELF_BYTES = 32 * 1024 * 1024


class Shelf:
    """Source manifests by digest, each read once while it stays on the shelf."""

    def __init__(self, run: work.Work) -> None:
        self._run = run
        self._read: OrderedDict[tuple[str, str, str], Manifest] = OrderedDict()
        self._reading: dict[tuple[str, str, str], list[work.Then]] = {}
        self._size = 0

    def read(self, source: Side, digest: str, then: work.Then) -> None:
        """Ends with the manifest that has `digest`."""
        key = (*source.key, digest)
        if key in self._read:
            then(work.Outcome(self._read[key]))
            return
        if key in self._reading:
            self._reading[key].append(then)
            return
        self._reading[key] = [then]
        self._run.submit(
            lambda: source.store.manifest(source.repository, digest),
            lambda outcome: self._arrived(key, outcome),
            READ,
        )

    def _arrived(self, key: tuple[str, str, str], outcome: work.Outcome[Manifest]) -> None:
        if outcome.error is None:
            self._read[key] = outcome.get()
            self._size += outcome.get().size
            while self._size > _SHELF_BYTES:
                self._size -= self._read.popitem(last=False)[1].size
        for then in self._reading.pop(key):
            then(outcome)
