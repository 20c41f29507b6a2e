"""Store: what copying, pruning and browsing ask of any side, be it a registry or an image layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol

from syncer.manifest import Descriptor, Manifest

# A stream of a blob's bytes. A chunk is only valid until the next one is asked for.
Chunks = Iterator[bytes | memoryview]
OpenBlob = Callable[[], AbstractContextManager[Chunks]]


class TagDelete(Enum):
    """How one tag of several on a digest can be removed."""

    TAG = "tag"  # DELETE manifests/<tag>
    DIGEST = "digest"  # only DELETE manifests/<digest>, which takes every tag on it
    NONE = "none"  # the registry refuses deletes
    UNKNOWN = "unknown"  # not asked yet


@dataclass(frozen=True)
class Capabilities:
    """What a store can do, as far as it is known.

    Attributes:
        catalog: Whether it lists its repositories.
        tag_delete: How single tags are removed.
        referrers: Whether it serves the referrers API; None until asked.
        keeps_untagged: Whether content without a tag stays until an operator collects it.
        push_times: Whether it tells when a tag was pushed.
    """

    catalog: bool = True
    tag_delete: TagDelete = TagDelete.UNKNOWN
    referrers: bool | None = None
    keeps_untagged: bool = True
    push_times: bool = False


@dataclass(frozen=True)
class Resolved:
    """What a tag or digest points to: enough to compare, not the content."""

    digest: str
    media_type: str
    size: int


@dataclass(frozen=True)
class TagTimes:
    """What a registry's own API says about a tag's age; None where it says nothing."""

    pushed: datetime | None = None
    pulled: datetime | None = None


class Store(Protocol):
    """A registry or an image layout.

    Every method may raise `errors.RegistryError` (or `errors.ContentError` for bad bytes). Methods
    are safe to call from several threads.
    """

    @property
    def name(self) -> str:
        """The name people use: that of the rules file, or the host."""

    @property
    def key(self) -> str:
        """The canonical URL; one store has one key, whatever it is called in a rules file."""

    def capabilities(self, repository: str = "") -> Capabilities:
        """What is known so far; asks nothing."""

    def permit(self, count: int = 1, *, writes: bool = False) -> AbstractContextManager[None]:
        """Holds `count` of this store's request permits for the calling thread.

        `writes` says whether blobs are stored there, which may be limited by itself. Requests made by this thread inside the block use the held permits; without the block each
        request takes one for itself.
        """

    def repositories(self) -> Iterator[str]:
        """Every repository name, in no order.

        Raises:
            UnsupportedError: The registry has no catalog, or not for us.
        """

    def tags(self, repository: str) -> list[str]:
        """Every tag, sorted, each once; all pages or an error, never a part.

        Raises:
            NotFoundError: There is no such repository.
        """

    def resolve(self, repository: str, target: str) -> Resolved | None:
        """What a tag or digest points to, or None when the store says it is not there. One HEAD."""

    def manifest(self, repository: str, target: str) -> Manifest:
        """The manifest or index under a tag or digest, its digest checked. One GET."""

    def put_manifest(self, repository: str, target: str, manifest: Manifest) -> None:
        """Stores the manifest's exact bytes under a tag or its digest. One PUT.

        Raises:
            DigestMismatchError: The store answered with another digest than was sent.
        """

    def has_blob(self, repository: str, digest: str) -> bool:
        """Whether the store says it has the blob. One HEAD."""

    def open_blob(self, repository: str, descriptor: Descriptor) -> AbstractContextManager[Chunks]:
        """The blob's bytes; size and digest are checked before the last chunk is handed out."""

    def put_blob(
        self,
        repository: str,
        descriptor: Descriptor,
        source: OpenBlob,
        mount_from: Sequence[str] = (),
    ) -> str:
        """Stores a blob and returns `"mounted"` or `"copied"`.

        Args:
            repository: Where it goes.
            descriptor: Its digest and size.
            source: Opens the bytes; called only when they are needed, and again for each retry.
            mount_from: Repositories of this store that may have it, best first.
        """

    def probe(self, repository: str) -> Capabilities:
        """What can be deleted here and how, found out without deleting anything."""

    def delete_tag(self, repository: str, tag: str) -> None:
        """Removes one tag and leaves every other tag on its digest alone.

        Raises:
            UnsupportedError: This registry cannot do that.
        """

    def delete_manifest(self, repository: str, digest: str) -> None:
        """Removes a manifest by digest, and with it every tag that points to it."""

    def referrers_api(self, repository: str) -> bool:
        """Whether the store lists referrers by itself; asked once, then known.

        Where it does not, referrers stand in an index under a fallback tag, and every change of
        them can be seen in the listing of tags.
        """

    def referrers(self, repository: str, digest: str) -> list[Descriptor]:
        """What refers to `digest`, by the API or by the fallback tag; empty when nothing does."""

    def times(self, repository: str) -> dict[str, TagTimes]:
        """What the vendor's API says of each tag's age; empty where there is no such API."""

    def skew(self) -> float | None:
        """Seconds this host's clock is ahead of the store's, as far as answers have told."""

    def ping(self) -> str:
        """Who we are there: `user 'ci'`, `anonymous` ...

        Raises:
            RegistryError: It is not reached, is not what it should be, or does not know us.
        """

    def may(self, repository: str, action: str) -> str:
        """Why we may not `pull`, `push` or `delete` there; empty when nothing speaks against it."""


@contextmanager
def permits(source: Store, *targets: Store) -> Iterator[None]:
    """Holds one permit of the store that is read and each that is written, in order of their keys.

    A copy needs both sides. Taking them together and always in the same order is what keeps two
    copies in opposite directions from waiting for each other for ever.
    """
    written = Counter(each.key for each in targets)
    with ExitStack() as stack:
        for key, one in sorted({each.key: each for each in (source, *targets)}.items()):
            count = written[key] + (key == source.key)
            stack.enter_context(one.permit(count, writes=bool(written[key])))
        yield
