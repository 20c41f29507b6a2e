"""Client: one registry as a `store.Store`, for one run."""

from __future__ import annotations

import contextlib
import email.utils
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

from syncer import errors, reference
from syncer.events import Observer, ignore
from syncer.manifest import Descriptor, Manifest
from syncer.registry import download, limits, listing, manifests, placeholder, referrers, upload
from syncer.registry.exchange import Ask, Exchange
from syncer.registry.shared import DOCKER_HUB, Shared, connect
from syncer.store import Capabilities, Chunks, OpenBlob, Resolved, TagDelete, TagTimes

__all__ = ["Client", "Shared", "connect"]


class Client:
    """A registry that speaks the distribution-spec, as a `store.Store`.

    Args:
        shared: What `connect` made; one for each registry and process.
        observer: Told of each request and of what goes wrong on the way.
        stop: Set when the run is to end: nothing new is asked then, and waits end.
        listed: Its repositories, where there is no catalog to ask.
        collects: Whether it removes by itself what has no tag.
    """

    def __init__(
        self,
        shared: Shared,
        *,
        observer: Observer = ignore,
        stop: threading.Event | None = None,
        listed: Sequence[str] = (),
        collects: bool = False,
    ) -> None:
        self._collects = collects
        self._shared = shared
        self._listed = listed
        self._exchange = Exchange(shared, observer, stop or threading.Event())

    @property
    def name(self) -> str:
        """The registry's name in the rules file, or its host."""
        return self._shared.name

    @property
    def key(self) -> str:
        """The registry's canonical URL."""
        return self._shared.url

    def capabilities(self, repository: str = "") -> Capabilities:
        """What is known so far; asks nothing."""
        learned = self._shared.learned
        return Capabilities(
            catalog=learned.catalog,
            tag_delete=learned.tag_delete,
            referrers=learned.referrers.get(repository),
            keeps_untagged=not self._collects,
        )

    def permit(self, count: int = 1, *, writes: bool = False) -> AbstractContextManager[None]:
        """Holds permits for a bulk transfer, of which there are never as many as of all."""
        kind = limits.Kind.UPLOAD if writes else limits.Kind.READ
        return self._shared.gate.hold(count, kind, bulk=True, stop=self._exchange.stop)

    def repositories(self) -> Iterator[str]:
        """Every repository in the catalog, in no order; or those that were listed instead."""
        return iter(self._listed) if self._listed else listing.repositories(self._exchange)

    def tags(self, repository: str) -> list[str]:
        """Every tag, sorted, each once."""
        return listing.tags(self._exchange, self._named(repository))

    def resolve(self, repository: str, target: str) -> Resolved | None:
        """What a tag or digest points to, or None; one HEAD."""
        return manifests.resolve(self._exchange, self._named(repository), _target(target))

    def manifest(self, repository: str, target: str) -> Manifest:
        """The manifest or index under a tag or digest; one GET."""
        return manifests.read(self._exchange, self._named(repository), _target(target))

    def put_manifest(self, repository: str, target: str, manifest: Manifest) -> None:
        """Stores a manifest's exact bytes; one PUT."""
        manifests.put(self._exchange, self._named(repository), _target(target), manifest)

    def has_blob(self, repository: str, digest: str) -> bool:
        """Whether the registry says it has the blob; one HEAD.

        That is what it says: distribution with a descriptor cache says so of blobs that a
        collection has removed.
        """
        path = f"/v2/{self._named(repository)}/blobs/{_target(digest)}"
        scopes = (f"repository:{repository}:pull",)
        ask = Ask("HEAD", self._exchange.url(path), scopes, ok=(200, 404))
        return self._exchange.ask(ask).status == 200

    def open_blob(self, repository: str, descriptor: Descriptor) -> AbstractContextManager[Chunks]:
        """The blob's bytes, right in size and digest before the last piece is handed out."""
        _target(descriptor.digest)
        return download.open_blob(self._exchange, self._named(repository), descriptor)

    def put_blob(
        self,
        repository: str,
        descriptor: Descriptor,
        source: OpenBlob,
        mount_from: Sequence[str] = (),
    ) -> str:
        """Stores a blob and returns `"mounted"` or `"copied"`."""
        _target(descriptor.digest)
        return upload.put_blob(
            self._exchange, self._named(repository), descriptor, source, mount_from
        )

    def probe(self, repository: str) -> Capabilities:
        """What can be deleted here and how: asked by deleting a tag that nobody has."""
        if self._shared.learned.tag_delete is TagDelete.UNKNOWN:
            nobody = f"syncer-probe-{secrets.token_hex(8)}"
            with contextlib.suppress(
                errors.UnsupportedError
            ):  # it is remembered, which is the point
                manifests.delete_tag(self._exchange, self._named(repository), nobody)
        return self.capabilities(repository)

    def delete_tag(self, repository: str, tag: str) -> None:
        """Removes one tag and leaves every other tag on its digest alone.

        Raises:
            UnsupportedError: This registry cannot do that.
        """
        name = self._named(repository)
        if not manifests.delete_tag(self._exchange, name, _target(tag)):
            placeholder.delete_tag(self._exchange, name, tag)

    def delete_manifest(self, repository: str, digest: str) -> None:
        """Removes a manifest by digest, and with it every tag that points to it."""
        manifests.delete(self._exchange, self._named(repository), _target(digest))

    def referrers_api(self, repository: str) -> bool:
        """Whether the registry has the referrers API; one GET in a process, for all repositories."""
        known = self._shared.learned.referrers
        if not known:
            nothing = f"sha256:{'0' * 64}"
            referrers.by_api(self._exchange, self._named(repository), nothing)
        return known.get(repository, any(known.values()))

    def referrers(self, repository: str, digest: str) -> list[Descriptor]:
        """What refers to `digest`, by the API or by the fallback tag."""
        return referrers.referrers(self._exchange, self._named(repository), _target(digest))

    def times(self, repository: str) -> dict[str, TagTimes]:  # noqa: ARG002 - vendors know more
        """Nothing: the distribution-spec has no push times."""
        return {}

    def ping(self) -> str:
        """Who we are there: `user 'ci'`, `anonymous` ...

        Raises:
            RegistryError: It is not reached, is no registry, or does not know us.
        """
        self._exchange.ask(Ask("GET", self._exchange.url("/v2/")))
        # A registry that does not ask who we are does not know either.
        return self._shared.source.read().who if self._shared.authorizer.known else "anonymous"

    def may(self, repository: str, action: str) -> str:
        """Why we may not `pull`, `push` or `delete` there; empty when nothing speaks against it.

        Found out by asking for something harmless: the tags, an upload that is cancelled, the
        deletion of a manifest that nobody has.
        """
        try:
            self._try(self._named(repository), action)
        except errors.NotFoundError as error:
            return "" if action != "push" else str(error)
        except (errors.DeniedError, errors.UnauthorizedError, errors.UnsupportedError) as error:
            return str(error)
        return ""

    def skew(self) -> float | None:
        """Seconds our clock is ahead of the registry's `Date`; None before the first answer."""
        if self._shared.learned.date is None:
            return None
        text, here = self._shared.learned.date
        try:
            return here - email.utils.parsedate_to_datetime(text).timestamp()
        except (ValueError, OverflowError):
            return None

    def _named(self, repository: str) -> str:
        """The repository's name as a part of a path.

        Raises:
            UsageError: It is no repository name.
        """
        if not reference.is_repository(repository):
            raise errors.UsageError(f"{repository!r} is no repository name")
        if "/" not in repository and self._shared.origin.host == DOCKER_HUB:
            return f"library/{repository}"
        return repository

    def _try(self, repository: str, action: str) -> None:
        match action:
            case "pull":
                self.tags(repository)
            case "push":
                upload.may_push(self._exchange, repository)
            case "delete":
                nobody = f"sha256:{secrets.token_hex(32)}"
                manifests.delete(self._exchange, repository, nobody)
            case _:
                raise errors.UsageError(f"{action!r} is none of pull, push and delete")


def _target(text: str) -> str:
    """`text`, which becomes a part of a path.

    Raises:
        UsageError: It is neither a tag nor a digest.
    """
    if not (reference.is_tag(text) or reference.is_digest(text)):
        raise errors.UsageError(f"{text!r} is neither a tag nor a digest")
    return text
