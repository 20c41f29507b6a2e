"""Sources as rules with `platforms` see them: every tag of an index names the trimmed index.

So all that compares, copies and verifies goes on with the trimmed digest, as if the source had it.
Digests mean what they always mean: children and nested indexes come as they are. Nothing refers to
a trimmed index, since what refers to the original names another digest; what refers to its children
comes with them.

Cost: a GET for an index the first time this process sees it, however many tags and rules it has;
after that a tag that is in step costs one HEAD a side, as any other.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from syncer import errors, manifest, platforms, reference
from syncer.manifest import Descriptor, Manifest
from syncer.store import Resolved, Store

_MOST = 100_000
# The digest of an index, and the platforms it is trimmed to.
_Key = tuple[str, tuple[str, ...]]
# What it becomes, or why it becomes nothing.
_Trimmed = Resolved | str


@dataclass(frozen=True)
class Source:
    """What a rule reads.

    Attributes:
        store: The source, its indexes trimmed where the rule says so.
        origins: What trimmed digests were trimmed from; grows while the store is asked.
    """

    store: Store
    origins: Mapping[str, str] = field(default_factory=dict)


def source(store: Store, wanted: tuple[str, ...], known: Known) -> Source:
    """`store` as a rule with these platforms sees it; as it is where there are none."""
    if not wanted:
        return Source(store)
    seen = _Trimming(store, wanted, known)
    return Source(cast(Store, seen), seen.origins)


class Known:
    """What indexes become when trimmed. Depends on their bytes alone, so it holds for ever."""

    def __init__(self) -> None:
        self._found: OrderedDict[_Key, _Trimmed] = OrderedDict()
        self._making: dict[_Key, threading.Lock] = {}
        self._lock = threading.Lock()

    def ask(self, key: _Key, make: Callable[[], _Trimmed]) -> _Trimmed:
        """What is known of `key`; `make` finds it out, for one caller at a time.

        Those who wait hold nothing that `make` could need.
        """
        with self._lock:
            if key in self._found:
                return self._found[key]
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if key in self._found:
                    return self._found[key]
            return self.learn(key, make())

    def learn(self, key: _Key, found: _Trimmed) -> _Trimmed:
        """Remembers what `key` becomes."""
        with self._lock:
            self._making.pop(key, None)
            self._found[key] = found
            if len(self._found) > _MOST:
                self._found.popitem(last=False)
        return found


class _Trimming:
    """A store whose tags of indexes name trimmed ones; all else is the store's own."""

    def __init__(self, store: Store, wanted: tuple[str, ...], known: Known) -> None:
        self.origins: dict[str, str] = {}
        self._store = store
        self._wanted = wanted
        self._known = known

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def resolve(self, repository: str, target: str) -> Resolved | None:
        """See `Store`; one GET more where the index is new to this process.

        Raises:
            NoPlatformError: A tag of an index without any of the platforms.
        """
        origin = self.origins.get(target, "")
        found = self._store.resolve(repository, origin or target)
        if found is None or found.media_type not in manifest.INDEX_TYPES:
            return found
        if _means_itself(target) and not origin:
            return found
        become = self._known.ask(
            (found.digest, self._wanted),
            lambda: self._become(self._store.manifest(repository, found.digest)),
        )
        if isinstance(become, str):
            raise errors.NoPlatformError(become)
        return self._noted(become, found.digest)

    def manifest(self, repository: str, target: str) -> Manifest:
        """See `Store`.

        Raises:
            NoPlatformError: A tag of an index without any of the platforms.
        """
        origin = self.origins.get(target, "")
        found = self._store.manifest(repository, origin or target)
        if not found.is_index or (_means_itself(target) and not origin):
            return found
        trimmed = platforms.trim(found, self._wanted)
        become = Resolved(trimmed.digest, trimmed.media_type, trimmed.size)
        self._known.learn((found.digest, self._wanted), become)
        self._noted(become, found.digest)
        return trimmed

    def referrers(self, repository: str, digest: str) -> list[Descriptor]:
        """See `Store`; a trimmed index has none, which is known without asking."""
        return [] if digest in self.origins else self._store.referrers(repository, digest)

    def _become(self, index: Manifest) -> _Trimmed:
        try:
            trimmed = platforms.trim(index, self._wanted)
        except errors.NoPlatformError as error:
            return str(error)
        return Resolved(trimmed.digest, trimmed.media_type, trimmed.size)

    def _noted(self, become: Resolved, origin: str) -> Resolved:
        if become.digest != origin:
            self.origins[become.digest] = origin
        return become


def _means_itself(target: str) -> bool:
    """Whether what stands there is never trimmed: under a digest, or a list of referrers."""
    return reference.is_digest(target) or bool(reference.subject_of(target))
