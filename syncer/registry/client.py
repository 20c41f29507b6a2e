"""Client: one registry as a Store."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from syncer.events import Observer, ignore
from syncer.manifest import Descriptor, Manifest
from syncer.store import Capabilities, Chunks, OpenBlob, Resolved, TagTimes


@dataclass
class Shared:
    """What all clients of one registry share in this process."""

    name: str
    url: str
    gate: Any = None
    circuit: Any = None
    transport: Any = None
    authorizer: Any = None

    def abort(self) -> None:
        """Shuts every live connection down, so that a blocked read or write ends at once."""

    def close(self) -> None:
        """Closes the idle connections."""


def connect(
    name: str,
    url: str,
    *,
    source: Any = None,  # credentials, as auth.Authorizer takes them
    concurrency: int = 16,
    ca_file: str = "",
    client_cert: str = "",
    client_key: str = "",
    proxy: str | None = None,  # None: from the environment; "": none
    timeout: float = 60.0,
) -> Shared:
    """What clients of the registry at `url` share; asks nothing yet."""
    raise NotImplementedError


class Client:
    """One registry as a `store.Store`, for one run."""

    def __init__(
        self,
        shared: Shared,
        *,
        observer: Observer = ignore,
        stop: threading.Event | None = None,
    ) -> None:
        raise NotImplementedError

    @property
    def name(self) -> str:
        raise NotImplementedError

    @property
    def key(self) -> str:
        raise NotImplementedError

    def capabilities(self, repository: str = "") -> Capabilities:
        raise NotImplementedError

    def permit(self, count: int = 1) -> AbstractContextManager[None]:
        raise NotImplementedError

    def repositories(self) -> Iterator[str]:
        raise NotImplementedError

    def tags(self, repository: str) -> list[str]:
        raise NotImplementedError

    def resolve(self, repository: str, target: str) -> Resolved | None:
        raise NotImplementedError

    def manifest(self, repository: str, target: str) -> Manifest:
        raise NotImplementedError

    def put_manifest(self, repository: str, target: str, manifest: Manifest) -> None:
        raise NotImplementedError

    def has_blob(self, repository: str, digest: str) -> bool:
        raise NotImplementedError

    def open_blob(self, repository: str, descriptor: Descriptor) -> AbstractContextManager[Chunks]:
        raise NotImplementedError

    def put_blob(
        self,
        repository: str,
        descriptor: Descriptor,
        source: OpenBlob,
        mount_from: Sequence[str] = (),
    ) -> str:
        raise NotImplementedError

    def delete_tag(self, repository: str, tag: str) -> None:
        raise NotImplementedError

    def delete_manifest(self, repository: str, digest: str) -> None:
        raise NotImplementedError

    def referrers(self, repository: str, digest: str) -> list[Descriptor]:
        raise NotImplementedError

    def times(self, repository: str) -> dict[str, TagTimes]:
        raise NotImplementedError

    def ping(self) -> str:
        """Who we are at the registry: `anonymous` or `user NAME`; raises when it is not reached."""
        raise NotImplementedError

    def may(self, repository: str, action: str) -> str:
        """Why we may not `pull`, `push` or `delete` there; empty when nothing speaks against it."""
        raise NotImplementedError

    def skew(self) -> float | None:
        """Seconds our clock is ahead of the registry's `Date`; None before the first answer."""
        raise NotImplementedError
