"""An httpx transport over pooled connections; every failure of the network gets its name here.

It is called through `handle_request`, without `httpx.Client`: httpx's own pool waits for its lock
under threads, and h11 copies bodies through Python in 64 KiB pieces.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import cast

import httpx

from syncer import errors, log
from syncer.registry import answers, wire
from syncer.registry.connection import Connection, Dialer, Origin

PIECE = 256 * 1024
_IDLE_SECONDS = 60.0
_DRAIN = 64 * 1024
# Sent once more when a kept-alive connection turns out to be dead (RFC 9110, section 9.2.2).
_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE"})
WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
# Alerts about what we show for a certificate, or do not (RFC 8446, section 6.2).
_WANTS_ANOTHER = frozenset(
    {
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
        "TLSV1_ALERT_UNKNOWN_CA",
    }
)
_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})


class Transport(httpx.BaseTransport):
    """Sends requests to a registry, its token realm and its storage.

    Args:
        registry: The registry's name, for messages.
        dialer: Opens connections.
        idle: How many idle connections to one origin are kept.
    """

    def __init__(self, registry: str, dialer: Dialer, *, idle: int = 32) -> None:
        self._registry = registry
        self._dialer = dialer
        self._most_idle = idle
        self._lock = threading.Lock()
        self._idle: dict[Origin, deque[Connection]] = {}
        self._live: set[Connection] = set()
        self._aborts = 0
        self._buffers: deque[memoryview] = deque(maxlen=idle)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The answer to `request`; its stream is a `Body`, which must be read or closed.

        Raises:
            UnavailableError: There was no answer, or only a part of its head.
            RegistryError: TLS says that this is not the registry.
            ProtocolError: The answer is not HTTP/1.1.
        """
        origin = Origin.of(request.url)
        aborts = self._aborts
        try:
            if kept := self._kept(origin):
                try:
                    return self._exchange(kept, request)
                except ConnectionError:
                    if not _replayable(request) or self._aborts != aborts:
                        raise
            return self._exchange(self._dial(origin), request)
        except (OSError, UnicodeError, errors.ProtocolError) as error:
            raise self.translated(error, request) from error

    def abort(self) -> None:
        """Ends every request under way at once, as failed. Later ones open new connections."""
        with self._lock:
            self._aborts += 1
            live = list(self._live)
        for connection in live:
            connection.shutdown()

    def close(self) -> None:
        """Closes the idle connections."""
        with self._lock:
            idle = [connection for each in self._idle.values() for connection in each]
            self._idle.clear()
        for connection in idle:
            self.drop(connection)

    def release(self, connection: Connection) -> None:
        """Takes a connection back whose answer has been read to its end."""
        connection.idle_since = time.monotonic()
        oldest = None
        with self._lock:
            idle = self._idle.setdefault(connection.origin, deque())
            idle.append(connection)
            if len(idle) > self._most_idle:
                oldest = idle.popleft()
        if oldest:
            self.drop(oldest)

    def drop(self, connection: Connection) -> None:
        """Closes a connection that is of no more use."""
        with self._lock:
            self._live.discard(connection)
        connection.close()

    def buffer(self) -> memoryview:
        """A buffer of `PIECE` bytes; give it back with `recycle`."""
        try:
            return self._buffers.pop()
        except IndexError:
            return memoryview(bytearray(PIECE))

    def recycle(self, buffer: memoryview) -> None:
        """Takes a buffer back."""
        self._buffers.append(buffer)

    def translated(
        self, error: OSError | UnicodeError | errors.ProtocolError, request: httpx.Request
    ) -> errors.RegistryError:
        """The error of this program that says what went wrong on the network."""
        asked = f"{request.method} {answers.shown(request.url)}"
        match error:
            case errors.ProtocolError():
                return errors.ProtocolError(f"{asked}: {error}", registry=self._registry)
            case ssl.SSLCertVerificationError():
                # The details are missing from errors that Python made itself.
                detail = getattr(error, "verify_message", error)
                sentence = f"{asked}: its certificate is not trusted: {detail}"
                hint = "; name the CA that signed it in ca_file, or keep it in certs.d"
                return errors.RegistryError(sentence + hint, registry=self._registry)
            case ssl.SSLError() if getattr(error, "reason", "") in _NOT_TLS:
                sentence = f"{asked}: it does not speak TLS there; is its url http://?"
                return errors.RegistryError(sentence, registry=self._registry)
            case ssl.SSLError() if getattr(error, "reason", "") in _WANTS_ANOTHER:
                sentence = f"{asked}: it wants a client certificate that it trusts; name yours in"
                return errors.RegistryError(f"{sentence} client_cert", registry=self._registry)
            case socket.gaierror():
                reason = f"host {request.url.host} is not found ({error.strerror})"
            case TimeoutError():
                reason = f"timed out ({error})"
            case ConnectionRefusedError():
                reason = f"connection refused ({error.strerror or error})"
            case OSError():
                reason = error.strerror or str(error) or type(error).__name__
            case _:
                reason = str(error)
        return errors.UnavailableError(f"{asked}: {reason}", registry=self._registry)

    def _kept(self, origin: Origin) -> Connection | None:
        """An idle connection that still looks alive."""
        oldest = time.monotonic() - _IDLE_SECONDS
        while True:
            with self._lock:
                idle = self._idle.get(origin)
                if not idle:
                    return None
                connection = idle.pop()
            if not connection.stale(oldest):
                return connection
            self.drop(connection)

    def _dial(self, origin: Origin) -> Connection:
        aborts = self._aborts
        connection = self._dialer.dial(origin)
        with self._lock:
            self._live.add(connection)
        if self._aborts != aborts:
            self.drop(connection)
            raise ConnectionAbortedError("stopped while connecting")
        return connection

    def _exchange(self, connection: Connection, request: httpx.Request) -> httpx.Response:
        method = request.method
        sent = cast(Iterable[bytes], request.stream)
        length = int(request.headers.get("content-length", 0)) if method in WITH_BODY else 0
        head = None
        try:
            head = connection.exchange(method, _head(connection, request), length, sent)
        finally:
            if head is None:
                self.drop(connection)
        body = Body(self, connection, head, request)
        return httpx.Response(head.status, headers=head.headers, stream=body, request=request)


class Body(httpx.SyncByteStream):
    """The body of an answer. At its end the connection goes back to the pool."""

    def __init__(
        self, transport: Transport, connection: Connection, head: wire.Head, request: httpx.Request
    ) -> None:
        self._transport = transport
        self._connection: Connection | None = connection
        self._request = request
        self._keep = head.keep
        self._chunked = head.length == wire.CHUNKED
        self._begun = False
        self._left = 0 if self._chunked else head.length
        if head.length == 0:
            self._end(keep=self._keep)

    @property
    def length(self) -> int | None:
        """How many bytes are still to come, where the answer's head said so."""
        return None if self._chunked or self._left < 0 else self._left

    def readinto(self, view: memoryview) -> int:
        """Fills `view`, or less of it where a chunk or the body ends; 0 at the end.

        Raises:
            UnavailableError: The peer broke off, fell silent or is too slow.
            ProtocolError: The body is not framed as HTTP/1.1 wants it.
        """
        if self._connection is None:
            return 0
        try:
            return self._read(self._connection.wire, view)
        except (OSError, errors.ProtocolError) as error:
            self._end(keep=False)
            raise self._transport.translated(error, self._request) from error

    def pieces(self, size: int = PIECE) -> Iterator[memoryview]:
        """The body in pieces of up to 256 KiB; each is valid until the next is asked for."""
        buffer = self._transport.buffer()
        view = buffer[:size]
        try:
            while count := self._fill(view):
                yield view[:count]
        finally:
            self._transport.recycle(buffer)

    def read(self, limit: int) -> bytes:
        """The whole body.

        Raises:
            ProtocolError: It is longer than `limit` bytes.
        """
        parts: list[bytes] = []
        room = limit - (self.length or 0)
        if room >= 0:
            room = limit
            for piece in self.pieces():
                room -= len(piece)
                if room < 0:
                    break
                parts.append(bytes(piece))
        if room < 0:
            self.close()
            error = errors.ProtocolError(f"the body is longer than {limit} bytes")
            raise self._transport.translated(error, self._request)
        return b"".join(parts)

    def excess(self) -> int:
        """1 when there is another byte, else 0; a connection that breaks now has brought all."""
        try:
            return self.readinto(memoryview(bytearray(1)))
        except errors.UnavailableError:
            return 0

    def drain(self) -> None:
        """Reads the rest if it is short, so that the connection can be used again, and closes."""
        if self.length is not None and self.length <= _DRAIN:
            try:
                self.read(_DRAIN)
            except errors.RegistryError as error:
                log.get().debug("an answer nobody needs broke off", reason=str(error))
        self.close()

    def __iter__(self) -> Iterator[bytes]:
        return (bytes(piece) for piece in self.pieces())

    def close(self) -> None:
        """Gives the body up; what has not been read costs the connection."""
        self._end(keep=False)

    def _read(self, source: wire.Wire, view: memoryview) -> int:
        if self._chunked and not self._left:
            if self._begun and source.line():
                raise errors.ProtocolError("a chunk of the answer is longer than it said")
            self._begun = True
            self._left = source.chunk()
            if not self._left:
                self._end(keep=self._keep)
                return 0
        count = source.fill(view[: self._left] if 0 <= self._left < len(view) else view)
        if self._left < 0:
            if not count:
                self._end(keep=False)
            return count
        if not count:
            raise ConnectionResetError("the connection was closed in the middle of the body")
        self._left -= count
        if not self._left and not self._chunked:
            self._end(keep=self._keep)
        return count

    def _fill(self, buffer: memoryview) -> int:
        filled = 0
        while filled < len(buffer) and (count := self.readinto(buffer[filled:])):
            filled += count
        return filled

    def _end(self, *, keep: bool) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if keep:
            self._transport.release(connection)
        else:
            self._transport.drop(connection)


def _head(connection: Connection, request: httpx.Request) -> bytes:
    """The request line and headers.

    Raises:
        ProtocolError: A header holds a line break, as a hostile token might.
    """
    lines = [b"%b: %b\r\n" % header for header in request.headers.raw]
    if "host" not in request.headers:
        lines.append(b"Host: %b\r\n" % request.url.netloc)
    fields = b"".join(lines)
    if fields.count(b"\n") != len(lines) or fields.count(b"\r") != len(lines):
        raise errors.ProtocolError("a header to be sent holds a line break")
    return b"%b%b\r\n" % (connection.start(request.method, request.url), fields)


def _replayable(request: httpx.Request) -> bool:
    return request.method in _IDEMPOTENT and (
        request.method not in WITH_BODY or isinstance(request.stream, httpx.ByteStream)
    )
