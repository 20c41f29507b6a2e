"""The client under test: opened on a registry, without waits between attempts, watched."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

from syncer import events, manifest
from syncer.manifest import Descriptor, Manifest
from syncer.registry import limits, wire
from syncer.registry.client import Client, Shared, connect
from syncer.registry.connection import Dialer, Origin
from syncer.registry.shared import Allowed
from syncer.registry.transport import Body, Transport
from syncer.store import Chunks, OpenBlob
from tests.content import Content

E = TypeVar("E", bound=events.Event)
PATIENCE = wire.Patience(connect=2.0, answer=2.0, idle=0.3, floor=1024.0)


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Opened:
    """A client, what its process shares, and what it told.

    Attributes:
        waits: How long it would have waited, for each wait.
    """

    client: Client
    shared: Shared
    stop: threading.Event
    events: list[events.Event] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def told(self, kind: type[E]) -> list[E]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def requests(self) -> Counter[str]:
        """How often each method was sent."""
        return Counter(event.method for event in self.told(events.RequestDone))


@contextmanager
def opened(
    url: str,
    *,
    name: str = "eu",
    shared: Shared | None = None,
    timeout: float = 10.0,
    concurrency: int = 16,
    allowed: Allowed | None = None,
    **options: object,
) -> Iterator[Opened]:
    """A client of the registry at `url`; at its end no connection may be left open."""
    allowed = allowed or Allowed(concurrency)
    mine = shared or connect(name, url, allowed=allowed, timeout=timeout, **options)  # type: ignore[arg-type]
    stop = threading.Event()
    seen: list[events.Event] = []
    client = Client(mine, observer=seen.append, stop=stop)
    result = Opened(client, mine, stop, seen)
    client._exchange._backoff = limits.Backoff(base=0.0)
    client._exchange._sleep = result.waits.append
    try:
        yield result
    finally:
        if not shared:
            mine.close()
            assert not mine.transport._live


def descriptor(data: bytes) -> Descriptor:
    """What points at `data`."""
    return Descriptor("application/octet-stream", manifest.digest_of(data), len(data))


def source(data: bytes, piece: int = 100_000) -> OpenBlob:
    """Opens `data`, in pieces."""

    def pieces() -> AbstractContextManager[Chunks]:
        view = memoryview(data)
        return nullcontext(iter([view[at : at + piece] for at in range(0, len(data), piece)]))

    return pieces


def parsed(content: Content) -> Manifest:
    """Made-up content as the program sees it."""
    return manifest.parse(content.data, content.media_type)


def read(client: Client, repository: str, what: Descriptor) -> bytes:
    """A blob's bytes."""
    with client.open_blob(repository, what) as chunks:
        return b"".join(bytes(chunk) for chunk in chunks)


def pushed(client: Client, repository: str, content: Content, *tags: str) -> Manifest:
    """`content` in the repository, by our own client."""
    for child in content.children:
        pushed(client, repository, child)
    for blob in content.blobs:
        client.put_blob(repository, descriptor(blob.data), source(blob.data))
    whole = parsed(content)
    for target in tags or (whole.digest,):
        client.put_manifest(repository, target, whole)
    return whole


def noise(size: int, seed: str = "noise") -> bytes:
    """`size` bytes that do not repeat."""
    return hashlib.shake_128(seed.encode()).digest(size)


@contextmanager
def transport(url: str, patience: wire.Patience = PATIENCE, **options: Any) -> Iterator[Transport]:
    """A transport for the registry at `url`; at its end no connection may be left open."""
    dialer = Dialer(Origin.of(httpx.URL(url)), patience=patience, **options)
    made = Transport("eu", dialer)
    try:
        yield made
    finally:
        made.close()
        assert not made._live


class Pieces(httpx.SyncByteStream):
    """A body that is sent piece by piece."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)


def ask(
    made: Transport, url: str, method: str = "GET", *pieces: bytes, **headers: str
) -> tuple[int, bytes]:
    """Status and body of one answer."""
    if method in ("POST", "PUT", "PATCH"):
        headers.setdefault("Content-Length", str(sum(map(len, pieces))))
    whole = len(pieces) < 2
    stream = httpx.ByteStream(b"".join(pieces)) if whole else Pieces(*pieces)
    request = httpx.Request(method, url, headers=headers, stream=stream)
    response = made.handle_request(request)
    assert isinstance(response.stream, Body)
    return response.status_code, response.stream.read(1_000_000)
