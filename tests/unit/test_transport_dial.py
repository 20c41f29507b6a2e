"""How connections are made: proxies, TLS, certificates."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from syncer import errors
from syncer.registry.connection import Dialer, Origin
from syncer.registry.transport import Body
from tests.authority import Authority
from tests.clients import PATIENCE, ask, noise, transport
from tests.fake_registry import Asked, FakeRegistry


def test_plain_requests_go_through_a_proxy_in_absolute_form() -> None:
    """The proxy's own credentials go to it, and only to it."""
    with FakeRegistry() as proxy, FakeRegistry() as registry:
        at = f"http://me:p%40ss@{proxy.host}"
        with transport(registry.url, proxy=at) as made:
            assert ask(made, f"{registry.url}/v2/?n=1") == (200, b"{}")
        assert proxy.asked == [("GET", f"{registry.url}/v2/?n=1")]
        assert proxy.headers[0]["Proxy-Authorization"] == "Basic bWU6cEBzcw=="
        assert registry.asked == []


class Tunnel:
    """A proxy that knows CONNECT: joins two sockets, once."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.heads: list[bytes] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._serve)]
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        self._listening.close()

    def _serve(self) -> None:
        near, _ = self._listening.accept()
        with near:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += near.recv(1)
            self.heads.append(head)
            near.sendall(b"HTTP/1.1 %d X\r\n\r\n" % self.status)
            if self.status == 200:
                host, _, port = head.split()[1].decode().rpartition(":")
                with socket.create_connection((host, int(port))) as far:
                    back = threading.Thread(target=_copy, args=(far, near))
                    self._threads.append(back)
                    back.start()
                    _copy(near, far)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):  # either end may go first
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def test_tls_goes_through_a_proxy_by_connect(authority: Authority) -> None:
    ca_file = str(authority.ca_file)
    with FakeRegistry(authority) as registry, Tunnel() as tunnel:
        with transport(registry.url, proxy=tunnel.url, ca_file=ca_file) as made:
            assert ask(made, f"{registry.url}/v2/") == (200, b"{}")
        assert tunnel.heads[0].startswith(b"CONNECT %b HTTP/1.1\r\n" % registry.host.encode())
        assert registry.asked == [("GET", "/v2/")]


def test_a_proxy_that_refuses_is_named(authority: Authority) -> None:
    with (
        Tunnel(status=407) as tunnel,
        transport("https://eu.example", proxy=tunnel.url) as made,
        pytest.raises(errors.UnavailableError, match="answered 407 to CONNECT"),
    ):
        ask(made, "https://eu.example/v2/")


def test_the_environment_names_the_proxy_and_what_goes_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("HTTPS_PROXY", "http://secure.example")
    monkeypatch.setenv("no_proxy", "127.0.0.1,.internal.example")

    def proxy_of(url: str, **options: Any) -> str:
        origin = Origin.of(httpx.URL(url))
        proxy = Dialer(origin, patience=PATIENCE, **options).proxy(origin)
        return proxy.netloc if proxy else ""

    assert proxy_of("http://eu.example") == "proxy.example:3128"
    assert proxy_of("https://eu.example") == "secure.example:80"
    assert proxy_of("http://127.0.0.1:5000") == ""
    assert proxy_of("https://a.internal.example") == ""
    assert proxy_of("https://eu.example", proxy="") == ""
    assert proxy_of("https://a.internal.example", proxy="other.example:1") == "other.example:1"


@pytest.mark.parametrize(
    "proxy", ["socks5://proxy.example", "https://proxy.example", "http://", "ftp://x"]
)
def test_a_proxy_we_cannot_use_is_refused(proxy: str) -> None:
    with pytest.raises(errors.UsageError, match="a proxy must be written"):
        Dialer(Origin("https", "eu.example", 443), proxy=proxy, patience=PATIENCE)


def test_a_private_ca_is_trusted_when_named_and_only_then(authority: Authority) -> None:
    with FakeRegistry(authority) as registry:
        with transport(registry.url, ca_file=str(authority.ca_file)) as made:
            for _ in range(3):
                assert ask(made, f"{registry.url}/v2/") == (200, b"{}")
        assert registry.connections == 1
        with transport(registry.url) as made:
            with pytest.raises(errors.RegistryError, match=r"not trusted.*ca_file") as caught:
                ask(made, f"{registry.url}/v2/")
            assert not caught.value.temporary


def test_a_registry_without_tls_is_told_from_one_that_is_away() -> None:
    with FakeRegistry() as registry, transport(registry.url) as made:
        with pytest.raises(errors.RegistryError, match="does not speak TLS") as caught:
            ask(made, f"https://{registry.host}/v2/")
        assert not caught.value.temporary


def test_a_large_body_comes_and_goes_over_tls(authority: Authority) -> None:
    data = noise(3_000_000)
    with FakeRegistry(authority) as registry:
        registry.on("PUT", "/x", lambda asked: asked.answer(200, asked.body))
        with transport(registry.url, ca_file=str(authority.ca_file)) as made:
            request = httpx.Request(
                "PUT",
                f"{registry.url}/x",
                headers={"Content-Length": str(len(data))},
                stream=httpx.ByteStream(data),
            )
            body = made.handle_request(request).stream
            assert isinstance(body, Body)
            assert body.read(len(data)) == data


def test_a_client_certificate_is_shown_to_the_registry_and_to_nobody_else(
    authority: Authority,
) -> None:
    certificate, key = map(str, authority.issue("client"))
    with FakeRegistry(authority) as registry, FakeRegistry(authority) as other:
        seen = {}

        def note(asked: Asked) -> None:
            seen[asked.registry] = bool(asked.certificate)

        for each in (registry, other):
            each.on("GET", "/v2/", note)
        with transport(
            registry.url, ca_file=str(authority.ca_file), client_cert=certificate, client_key=key
        ) as made:
            for each in (registry, other):
                ask(made, f"{each.url}/v2/")
        assert seen == {registry: True, other: False}


@pytest.mark.parametrize("option", ["ca_file", "client_cert"])
def test_a_missing_tls_file_is_named(tmp_path: Path, option: str) -> None:
    options: dict[str, Any] = {option: str(tmp_path / "gone.pem")}
    with socket.create_server(("127.0.0.1", 0)) as there:
        url = f"https://127.0.0.1:{there.getsockname()[1]}"
        with (
            transport(url, **options) as made,
            pytest.raises(errors.CredentialError, match=r"gone\.pem.*No such file"),
        ):
            ask(made, url)
