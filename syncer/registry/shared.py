"""What all clients of one registry share in a process: limits, connections, tokens, knowledge."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

import httpx

from syncer import credentials, errors
from syncer.registry import auth, limits, wire
from syncer.registry.connection import Dialer, Origin
from syncer.registry.transport import Transport
from syncer.store import TagDelete

# Blobs up to this size are requests like any other: read whole, no bulk transfer.
SMALL_BLOB = 1024 * 1024
# docker.io is the name; the registry lives elsewhere.
DOCKER_HUB = "registry-1.docker.io"
_HUB_NAMES = frozenset({"docker.io", "index.docker.io"})


class Style(Enum):
    """How a blob's bytes go up."""

    PUT = "put"  # all with the closing PUT
    PATCH = "patch"  # in one PATCH, then an empty PUT
    CHUNKS = "chunks"  # in several PATCHes, then an empty PUT


@dataclass
class Learned:
    """What this process has found out about a registry by asking it.

    Attributes:
        catalog: Whether it lists its repositories, as far as known.
        page_size: Whether it takes `n`.
        styles: How it wants uploads, of small blobs (True) and of larger ones (False).
        tag_delete: What deleting takes there.
        referrers: Whether a repository is served by the referrers API.
        deletes: Repositories in which deleting by digest has been proven to work.
        warnings: `Warning` headers that have been passed on.
        date: The newest `Date` header and the local time it came at.
    """

    catalog: bool = True
    page_size: bool = True
    styles: dict[bool, Style] = field(
        default_factory=lambda: dict.fromkeys((True, False), Style.PUT)
    )
    tag_delete: TagDelete = TagDelete.UNKNOWN
    referrers: dict[str, bool] = field(default_factory=dict)
    deletes: set[str] = field(default_factory=set)
    warnings: set[str] = field(default_factory=set)
    date: tuple[str, float] | None = None


@dataclass(frozen=True)
class Allowed:
    """How much may be asked of a registry, all clients together.

    Attributes:
        concurrency: The most requests in flight.
        requests_per_second: The most of these; None: what its vendor is known to take, if anything.
        bandwidth: The most bytes of blobs a second, read and written each; None: no cap.
        overall: The cap that it shares with other registries.
        rate_limit_reserve: Percent of the reads it counts that are left to others.
    """

    concurrency: int = 32
    requests_per_second: float | None = None
    bandwidth: int | None = None
    overall: limits.Bandwidth | None = None
    rate_limit_reserve: int = 10


class Shared:
    """One registry, for all runs of this process.

    Attributes:
        name: What people call it.
        url: Its canonical URL, without a slash at the end.
        origin: Where its credentials may go.
        gate: Its permits.
        pace: How many requests a second it takes; None: as many as come.
        reads, writes: How many bytes of blobs a second; None: as many as come.
        budget: The reads of manifests that it counts.
        circuit: Whether it is worth asking.
        transport: Its connections.
        source: Who we are there, if it asks.
        authorizer: What we show for it.
        learned: What has been found out about it.
    """

    def __init__(
        self,
        name: str,
        url: httpx.URL,
        transport: Transport,
        source: credentials.Source,
        allowed: Allowed,
    ) -> None:
        self.name = name
        self.url = str(url).rstrip("/")
        self.origin = Origin.of(url)
        self.gate = limits.Gate(name, allowed.concurrency)
        self.pace = limits.Pace(url.host, allowed.requests_per_second) or None
        own = limits.Bandwidth(allowed.bandwidth) if allowed.bandwidth else None
        self.reads = limits.Meter.reading(own, allowed.overall)
        self.writes = limits.Meter.writing(own, allowed.overall)
        self.budget = limits.Budget(name, allowed.rate_limit_reserve)
        self.circuit = limits.Circuit(name)
        self.transport = transport
        self.source = source
        self.authorizer = auth.Authorizer(name, url, source, transport.handle_request)
        self.learned = Learned()

    def renew(self, source: credentials.Source) -> None:
        """Has the credential read anew, from `source`."""
        self.source = source
        self.authorizer.renew(source)

    def abort(self) -> None:
        """Ends every request under way at once, as failed; later requests work."""
        self.transport.abort()

    def close(self) -> None:
        """Closes the idle connections."""
        self.transport.close()


def connect(
    name: str,
    url: str,
    *,
    source: credentials.Source | None = None,
    allowed: Allowed | None = None,
    ca_file: str = "",
    client_cert: str = "",
    client_key: str = "",
    proxy: str | None = None,
    timeout: float = 60.0,
) -> Shared:
    """What clients of the registry at `url` share. Asks nothing yet.

    Args:
        name: The registry's name, for messages.
        url: `https://host[:port]`, or `http://` for one without TLS.
        source: Who to be there; nobody in particular when left out.
        allowed: How much may be asked of it, all clients together.
        ca_file: A PEM file of CAs that are trusted beside the system's; without it those that
            `certs.d` has for the registry.
        client_cert: A PEM file with a client certificate, perhaps with its key; without it that of
            `certs.d`.
        client_key: A PEM file with the key.
        proxy: `http://[user:password@]host:port`; empty for none; None as the environment says.
        timeout: Seconds a registry may stay silent; also the time in which a body must keep to
            at least 1 KiB/s. Connecting gets ten seconds of it.

    Raises:
        UsageError: `url` or `proxy` is not of that form.
    """
    base = _base(url)
    patience = wire.Patience(min(10.0, timeout), timeout, timeout)
    dialer = Dialer(
        Origin.of(base),
        ca_file=ca_file,
        client_cert=client_cert,
        client_key=client_key,
        proxy=proxy,
        patience=patience,
    )
    allowed = allowed or Allowed()
    transport = Transport(name, dialer, idle=allowed.concurrency + 4)
    return Shared(name, base, transport, source or credentials.Anonymous(), allowed)


def _base(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host or url.query or url.userinfo:
        raise errors.UsageError(
            f"{text!r} is no registry URL: write https://HOST[:PORT], credentials elsewhere"
        )
    host = DOCKER_HUB if url.host in _HUB_NAMES else url.host
    return url.copy_with(host=host, path=url.path.rstrip("/") or "/", fragment=None)
