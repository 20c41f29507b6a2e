"""The bytes of HTTP/1.1: heads, framing, chunks; what is malformed is refused."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer import errors
from syncer.registry import wire
from tests.clients import PATIENCE


@contextmanager
def peer(script: Callable[[socket.socket], None]) -> Iterator[wire.Wire]:
    """A wire whose other end runs `script`, then hangs up."""
    here, there = socket.socketpair()

    def run() -> None:
        with there:
            script(there)

    thread = threading.Thread(target=run)
    thread.start()
    with here:
        yield wire.Wire(here, PATIENCE)
    thread.join(10)
    assert not thread.is_alive()


def head_of(data: bytes, method: str = "GET") -> wire.Head:
    with peer(lambda there: there.sendall(data)) as line:
        return line.head(method, 2.0)


def test_a_head_is_status_headers_and_the_length_of_the_body() -> None:
    head = head_of(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A:  b c \r\n\r\nhello")
    assert (head.status, head.length, head.keep) == (200, 5, True)
    assert list(head.headers) == [(b"Content-Length", b"5"), (b"X-A", b"b c")]


@pytest.mark.parametrize(
    ("text", "method", "length", "keep"),
    [
        ("200 OK\r\nContent-Length: 5", "HEAD", 0, True),
        ("204 No Content", "DELETE", 0, True),
        ("304 Not Modified\r\nContent-Length: 9", "GET", 0, True),
        ("200 OK\r\nTransfer-Encoding: Chunked", "GET", wire.CHUNKED, True),
        ("200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3", "GET", wire.CHUNKED, True),
        ("200 OK", "GET", wire.TO_THE_END, False),
        ("200 OK\r\nContent-Length: 5\r\nConnection: Close", "GET", 5, False),
        ("200\r\nContent-Length: 5\r\nContent-Length: 5", "GET", 5, True),
    ],
)
def test_the_body_is_framed_as_rfc_9112_says(
    text: str, method: str, length: int, *, keep: bool
) -> None:
    head = head_of(f"HTTP/1.1 {text}\r\n\r\n".encode(), method)
    assert (head.length, head.keep) == (length, keep)


def test_http_1_0_ends_the_connection_unless_it_says_otherwise() -> None:
    assert not head_of(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n").keep
    assert head_of(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n").keep


def test_informational_answers_are_passed_over() -> None:
    assert head_of(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 X\r\n\r\n").status == 201


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 999 X\r\n\r\n",
        b"HTTP/1.1 200 X\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 X\r\nA: b\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 X\r\nA : b\r\n\r\n",
        b"HTTP/1.1 200 X\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 X\r\nContent-Length: 1_0\r\n\r\n",
        b"HTTP/1.1 200 X\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 X\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 X\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 X\r\nA: " + b"a" * wire.HEAD_LIMIT * 2,
    ],
)
def test_what_is_not_http_is_a_protocol_error(data: bytes) -> None:
    with pytest.raises(errors.ProtocolError):
        head_of(data)


@given(
    body=st.binary(max_size=300),
    cuts=st.lists(st.integers(1, 40), max_size=20),
    sends=st.lists(st.integers(1, 60), max_size=20),
    room=st.integers(1, 80),
)
def test_a_chunked_body_arrives_whole_however_it_is_cut(
    body: bytes, cuts: list[int], sends: list[int], room: int
) -> None:
    framed, rest = b"", body
    for cut in [*cuts, len(body) or 1]:
        piece, rest = rest[:cut], rest[cut:]
        if piece:
            framed += b"%x;ext=1\r\n%b\r\n" % (len(piece), piece)
    framed += b"0\r\nTrailer: x\r\n\r\n"

    def send(there: socket.socket) -> None:
        left = b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n" + framed
        for size in [*sends, len(left)]:
            if left:
                there.sendall(left[:size])
            left = left[size:]

    with peer(send) as line:
        assert line.head("GET", 2.0).length == wire.CHUNKED
        found, view = b"", memoryview(bytearray(room))
        while size := line.chunk():
            while size:
                count = line.readinto(view[:size])
                found += view[:count]
                size -= count
            assert line.line() == b""
    assert found == body


@pytest.mark.parametrize(
    "framed", [b"xyz\r\n", b"-5\r\n", b"\r\n", b"f" * 20 + b"\r\n", b"0\r\n" + b"a: b\r\n" * 200]
)
def test_broken_chunks_are_a_protocol_error(framed: bytes) -> None:
    with peer(lambda there: there.sendall(framed)) as line, pytest.raises(errors.ProtocolError):
        line.chunk()
