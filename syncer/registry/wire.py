"""HTTP/1.1 as bytes on a socket: an answer's head, its framing and its body (RFC 9112).

`http.client` parses heads with the email package and opens a file per answer: 117 µs of CPU for a
HEAD on loopback against 49 for what stands here (CPython 3.11), which is most of a small request.
"""

from __future__ import annotations

import re
import select
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass

from syncer import errors

HEAD_LIMIT = 64 * 1024
_LINE_LIMIT = 4 * 1024
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: |$)")
_FRAMING = frozenset({b"connection", b"content-length", b"transfer-encoding"})
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?", re.DOTALL)

Headers = Sequence[tuple[bytes, bytes]]
# Body lengths that are no number: the answer ends with its last chunk, or with the connection.
CHUNKED = -1
TO_THE_END = -2


@dataclass(frozen=True)
class Patience:
    """How long a peer may take.

    Attributes:
        connect: Seconds for a connection, TLS included.
        answer: Seconds from the end of the request to the end of the answer's head.
        idle: Seconds without a byte of a body.
        floor: Bytes per second a body must bring, seen over `idle` seconds of waiting.
    """

    connect: float = 10.0
    answer: float = 60.0
    idle: float = 60.0
    floor: float = 1024.0


@dataclass(frozen=True)
class Head:
    """The head of an answer: status, headers as they came, and how long the body is."""

    status: int
    headers: Headers
    length: int
    keep: bool


class Wire:
    """A connected socket and what was received on it and not used yet."""

    def __init__(self, sock: socket.socket, patience: Patience) -> None:
        self.sock = sock
        self._patience = patience
        self._rest = b""
        self._timeout = -1.0
        self._waited = 0.0
        self._got = 0

    def send(self, data: bytes | memoryview) -> None:
        """Sends all of `data` within the idle time."""
        self._within(self._patience.idle)
        self.sock.sendall(data)

    def stale(self) -> bool:
        """Whether an idle connection has been closed, or talks out of turn, and is of no use."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return bool(self._rest or poll.poll(0))

    def spoke(self) -> bool:
        """Whether the peer has answered or hung up already; does not wait."""
        if self._rest:
            return True
        self._within(0)
        try:
            self._rest = self.sock.recv(HEAD_LIMIT)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        return True

    def head(self, method: str, seconds: float) -> Head:
        """The head of the next answer that is not informational.

        Raises:
            OSError: The peer hung up or took more than `seconds`.
            ProtocolError: What came is not HTTP/1.1.
        """
        deadline = time.monotonic() + seconds
        while True:
            head = _parse(self._head(deadline), method)
            if head.status >= 200:
                return head

    def _head(self, deadline: float) -> bytes:
        data = self._rest
        while (end := data.find(b"\r\n\r\n")) < 0:
            if len(data) > HEAD_LIMIT:
                raise errors.ProtocolError("the head of the answer does not end")
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("no answer in time")
            self._within(round(left) if left > 1 else left)
            piece = self.sock.recv(HEAD_LIMIT)
            if not piece:
                raise ConnectionResetError("the connection was closed without an answer")
            data = data + piece if data else piece
        self._rest = data[end + 4 :]
        return data[:end]

    def take(self, most: int) -> bytes:
        """Up to `most` bytes that are here already, without waiting."""
        piece, self._rest = self._rest[:most], self._rest[most:]
        return piece

    def readinto(self, view: memoryview) -> int:
        """Body bytes, as many as are there and fit; 0 when the peer has closed.

        Raises:
            OSError: The peer broke off, fell silent or is slower than the floor.
        """
        if self._rest:
            piece = self.take(len(view))
            view[: len(piece)] = piece
            return len(piece)
        started = time.monotonic()
        self._within(self._patience.idle)
        count = self.sock.recv_into(view)
        self._pace(count, time.monotonic() - started)
        return count

    def fill(self, view: memoryview) -> int:
        """Body bytes until `view` is full or the peer has closed; how many. See `readinto`.

        TLS hands out 16 KiB at a time, so this loop is most of what Python does for a large blob.
        """
        filled = len(piece := self.take(len(view)))
        view[:filled] = piece
        self._within(self._patience.idle)
        receive, whole = self.sock.recv_into, len(view)
        while filled < whole:
            started = time.monotonic()
            count = receive(view[filled:])
            self._pace(count, time.monotonic() - started)
            if not count:
                break
            filled += count
        return filled

    def line(self) -> bytes:
        """The next line of chunked framing, without its end."""
        while (end := self._rest.find(b"\r\n")) < 0:
            if len(self._rest) > _LINE_LIMIT:
                raise errors.ProtocolError("a chunk's head does not end")
            more = memoryview(bytearray(_LINE_LIMIT))
            rest, self._rest = self._rest, b""
            count = self.readinto(more)
            if not count:
                raise ConnectionResetError("the connection was closed in the middle of the body")
            self._rest = rest + more[:count]
        line = self._rest[:end]
        self._rest = self._rest[end + 2 :]
        return line

    def chunk(self) -> int:
        """The size of the next chunk; 0 after the last one, its trailers read and dropped."""
        found = _CHUNK.fullmatch(self.line())
        if not found:
            raise errors.ProtocolError("a chunk of the answer has no size")
        size = int(found[1], 16)
        if not size:
            for _ in range(100):
                if not self.line():
                    return 0
            raise errors.ProtocolError("the trailers of the answer do not end")
        return size

    def _within(self, seconds: float) -> None:
        """Sets the socket's timeout, which costs a system call each time, if it is another."""
        if seconds != self._timeout:
            self.sock.settimeout(seconds)
            self._timeout = seconds

    def _pace(self, count: int, seconds: float) -> None:
        """Only time spent waiting counts: a slow reader is not the peer's fault."""
        self._waited += seconds
        self._got += count
        if self._waited >= self._patience.idle:
            if self._got < self._patience.floor * self._waited:
                raise TimeoutError(f"{self._got} bytes in {self._waited:.0f} s are too few")
            self._waited, self._got = 0.0, 0


def _parse(data: bytes, method: str) -> Head:
    lines = data.split(b"\r\n")
    status = _STATUS.match(lines[0])
    if not status:
        raise errors.ProtocolError(f"the answer is not HTTP/1.1: {lines[0][:60]!r}")
    code = int(status[2])
    headers: list[tuple[bytes, bytes]] = []
    framing: dict[bytes, list[bytes]] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not name or name[-1:].isspace() or name[:1].isspace():
            raise errors.ProtocolError(f"the answer has a malformed header: {line[:60]!r}")
        value = value.strip()
        headers.append((name, value))
        if (key := name.lower()) in _FRAMING:
            framing.setdefault(key, []).append(value)
    length = 0 if method == "HEAD" or code < 200 or code in (204, 304) else _length(framing)
    return Head(code, headers, length, _keep(status[1], framing, length))


def _length(framing: dict[bytes, list[bytes]]) -> int:
    """How long the body is (RFC 9112, section 6.3)."""
    encodings = b",".join(framing.get(b"transfer-encoding", ())).lower()
    if encodings:
        if encodings.strip() != b"chunked":
            raise errors.ProtocolError(f"the answer is encoded as {encodings[:60]!r}")
        return CHUNKED
    lengths = set(framing.get(b"content-length", ()))
    if not lengths:
        return TO_THE_END
    length = lengths.pop()
    if lengths or not length.isdigit() or len(length) > 18:
        raise errors.ProtocolError(f"the answer's Content-Length {length[:60]!r} is no length")
    return int(length)


def _keep(minor: bytes, framing: dict[bytes, list[bytes]], length: int) -> bool:
    wishes = b",".join(framing.get(b"connection", ())).lower()
    if length == TO_THE_END or b"close" in wishes:
        return False
    return minor == b"1" or b"keep-alive" in wishes
