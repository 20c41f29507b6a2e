"""The transport: connections kept and dropped, slow and broken peers, every failure named."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from syncer import errors
from syncer.registry import wire
from syncer.registry.transport import Body
from tests.clients import ask, noise, transport
from tests.fake_registry import Asked, FakeRegistry
from tests.registries import wait_for


def test_a_connection_serves_one_request_after_another() -> None:
    with FakeRegistry() as registry, transport(registry.url) as made:
        for _ in range(5):
            assert ask(made, f"{registry.url}/v2/") == (200, b"{}")
            assert ask(made, f"{registry.url}/v2/", "HEAD") == (200, b"")
        assert registry.connections == 1


def test_an_answer_that_was_not_read_costs_the_connection_and_nothing_else() -> None:
    with FakeRegistry() as registry, transport(registry.url) as made:
        registry.on("GET", "/big", lambda asked: asked.answer(200, noise(5_000_000)))
        response = made.handle_request(httpx.Request("GET", f"{registry.url}/big"))
        response.close()
        assert ask(made, f"{registry.url}/v2/") == (200, b"{}")
        assert registry.connections == 2


def test_a_connection_that_the_server_has_closed_is_noticed_before_it_is_used() -> None:
    def last(asked: Asked) -> None:
        asked.answer(200)
        asked.hang_up()

    with FakeRegistry() as registry, transport(registry.url) as made:
        registry.on("GET", "/last", last)
        ask(made, f"{registry.url}/last")
        wait_for(next(iter(made._live)).wire.stale, "the server to close")
        assert ask(made, f"{registry.url}/v2/", "POST")[0] == 200
        assert registry.methods() == ["GET", "POST"]


@pytest.mark.parametrize(("method", "tries"), [("GET", 2), ("HEAD", 2), ("PUT", 2), ("POST", 1)])
def test_only_what_may_be_done_twice_is_sent_again_on_a_new_connection(
    method: str, tries: int
) -> None:
    """The server takes the request on a kept connection and hangs up: it may have acted on it."""
    with FakeRegistry() as registry, transport(registry.url) as made:
        registry.on(method, "/x", lambda asked: asked.hang_up())
        ask(made, f"{registry.url}/v2/")
        with pytest.raises(errors.UnavailableError):
            ask(made, f"{registry.url}/x", method)
        assert registry.methods()[1:] == [method] * tries


def test_a_stop_ends_a_read_that_waits_and_is_not_sent_again() -> None:
    patient = wire.Patience(answer=30.0, idle=30.0)
    with FakeRegistry() as registry, transport(registry.url, patient) as made:
        asked_for, failed = threading.Event(), []

        def wait(asked: Asked) -> None:
            asked_for.set()
            asked.wait(30)
            asked.hang_up()

        def run() -> None:
            try:
                ask(made, f"{registry.url}/slow")
            except errors.UnavailableError as error:
                failed.append(error)

        registry.on("GET", "/slow", wait)
        ask(made, f"{registry.url}/v2/")
        thread = threading.Thread(target=run)
        thread.start()
        assert asked_for.wait(10)
        began = time.monotonic()
        made.abort()
        thread.join(10)
        assert time.monotonic() - began < 5
        assert len(failed) == 1
        assert registry.methods() == ["GET", "GET"]
        assert ask(made, f"{registry.url}/v2/")[0] == 200


def _trickle(asked: Asked) -> None:
    asked.send(b"HTTP/1.1 200 X\r\nContent-Length: 1000000\r\n\r\n")
    while asked.wait(0.02):
        asked.send(b"x")


def _trickled_head(asked: Asked) -> None:
    asked.send(b"HTTP/1.1 200 X\r\n")
    while asked.wait(0.02):
        asked.send(b"A: b\r\n")


def _silent_body(asked: Asked) -> None:
    asked.send(b"HTTP/1.1 200 X\r\nContent-Length: 10\r\n\r\nhello")
    asked.wait(30)


def _silent(asked: Asked) -> None:
    asked.answered = True
    asked.wait(30)


@pytest.mark.parametrize("misbehave", [_trickle, _trickled_head, _silent_body, _silent])
def test_a_peer_that_is_too_slow_does_not_hang_us(misbehave: Callable[[Asked], None]) -> None:
    patience = wire.Patience(answer=0.3, idle=0.3)
    with FakeRegistry() as registry, transport(registry.url, patience) as made:
        registry.on("GET", "/slow", misbehave)
        with pytest.raises(errors.UnavailableError, match="timed out"):
            ask(made, f"{registry.url}/slow")


def test_a_slow_reader_is_not_the_peers_fault() -> None:
    """Only the time spent waiting for bytes counts against the floor."""
    with FakeRegistry() as registry, transport(registry.url) as made:
        registry.on("GET", "/x", lambda asked: asked.answer(200, noise(2_000_000)))
        response = made.handle_request(httpx.Request("GET", f"{registry.url}/x"))
        body, view = response.stream, memoryview(bytearray(100_000))
        assert isinstance(body, Body)
        total = 0
        while count := body.readinto(view):
            total += count
            threading.Event().wait(0.02)
        assert total == 2_000_000


@pytest.mark.parametrize("reset", [False, True])
def test_a_refusal_that_comes_before_the_body_is_sent_is_read(*, reset: bool) -> None:
    """The 413 is there to be read, although the connection is reset under the upload."""

    def refuse(asked: Asked) -> None:
        asked.fail(413, "SIZE_INVALID")
        asked.hang_up(reset=reset)

    with FakeRegistry() as registry, transport(registry.url) as made:
        registry.on("PUT", "/x", refuse)
        status, body = ask(made, f"{registry.url}/x", "PUT", noise(30_000_000))
        assert status == 413
        assert b"SIZE_INVALID" in body
        assert ask(made, f"{registry.url}/v2/")[0] == 200


def test_a_refusal_ends_the_sending_although_the_server_stays() -> None:
    """It neither reads on nor hangs up: what is still to be sent is not waited for."""
    patient = wire.Patience(answer=20.0, idle=20.0)

    def refuse(asked: Asked) -> None:
        asked.fail(413, "SIZE_INVALID")
        asked.wait(20)

    with FakeRegistry() as registry:
        registry.on("PUT", "/x", refuse)
        with transport(registry.url, patient) as made:
            began = time.monotonic()
            url, data = f"{registry.url}/x", noise(30_000_000)
            chunks = [data[at : at + 100_000] for at in range(0, len(data), 100_000)]
            assert ask(made, url, "PUT", *chunks)[0] == 413
            assert time.monotonic() - began < 10


@pytest.mark.parametrize("count", [5, 2_000_000])
def test_a_body_of_another_length_than_announced_is_an_error_and_costs_the_connection(
    count: int,
) -> None:
    def whole(asked: Asked) -> None:
        assert asked.body  # else an answer may come before the body has ended

    with FakeRegistry() as registry, transport(registry.url) as made:
        registry.on("PUT", "/x", whole)
        with pytest.raises(errors.SizeMismatchError):
            ask(made, f"{registry.url}/x", "PUT", noise(count), **{"Content-Length": "1000000"})
        assert not made._live


def test_a_body_over_the_limit_is_refused_by_its_length_or_while_it_comes() -> None:
    def endless(asked: Asked) -> None:
        asked.send(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n")
        while asked.wait(0):
            asked.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    with FakeRegistry() as registry, transport(registry.url) as made:
        registry.on("GET", "/endless", endless)
        registry.on(
            "GET", "/huge", lambda asked: asked.answer(200, b"", {"Content-Length": "9" * 12})
        )
        for path in ("endless", "huge"):
            with pytest.raises(errors.ProtocolError, match="longer than 1000000 bytes"):
                ask(made, f"{registry.url}/{path}")


def test_a_body_that_breaks_off_is_an_error() -> None:
    def cut(asked: Asked) -> None:
        asked.answer(200, b"hello", {"Content-Length": "10"})
        asked.hang_up()

    with FakeRegistry() as registry, transport(registry.url) as made:
        registry.on("GET", "/x", cut)
        with pytest.raises(errors.UnavailableError, match="middle of the body"):
            ask(made, f"{registry.url}/x")


def test_a_header_with_a_line_break_is_not_sent() -> None:
    with FakeRegistry() as registry, transport(registry.url) as made:
        with pytest.raises(errors.ProtocolError):
            ask(made, f"{registry.url}/x", Authorization="Bearer a\r\nX: y")
        assert registry.asked == []


def _all_below(cls: type[BaseException]) -> Iterator[type[BaseException]]:
    yield cls
    for below in cls.__subclasses__():
        yield from _all_below(below)


@pytest.mark.parametrize(
    "kind",
    sorted(
        {k for k in _all_below(OSError) if k.__module__ in ("builtins", "socket", "ssl")}, key=str
    ),
)
def test_every_failure_of_the_network_has_a_name_and_a_sentence(kind: type[OSError]) -> None:
    with transport("http://eu.example") as made:
        request = httpx.Request("GET", "http://eu.example/v2/?n=1&token=secret")
        error = made.translated(kind(1, "it broke"), request)
        assert isinstance(error, errors.RegistryError)
        assert error.registry == "eu"
        assert str(error).startswith("GET http://eu.example/v2/?n=1: ")
        assert error.temporary == (kind is not ssl.SSLCertVerificationError)


def test_nobody_there_and_no_such_host_are_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with transport("http://127.0.0.1") as made:
        with pytest.raises(errors.UnavailableError, match="connection refused"):
            ask(made, f"http://127.0.0.1:{port}/")
        with pytest.raises(errors.UnavailableError, match=r"host nowhere\.invalid is not found"):
            ask(made, "http://nowhere.invalid/")
        with pytest.raises(errors.UnavailableError):
            ask(made, f"http://{'a' * 70}.example/")
