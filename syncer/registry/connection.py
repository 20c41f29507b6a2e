"""Connections to origins: addresses, proxies, TLS, and one request sent on one of them."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterable
from contextlib import ExitStack
from typing import NamedTuple

import httpx

from syncer import errors
from syncer.registry import certificates, wire

_TOGETHER = 64 * 1024
# What an answer that is already on its way may take to be read after the peer hung up on us.
_LAST_WORDS = 2.0
# Storage behind a registry may copy an upload once more before it answers.
_COMMIT_RATE = 8 * 1024 * 1024


class Origin(NamedTuple):
    """Scheme, host and port: what credentials belong to (RFC 6454)."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: httpx.URL) -> Origin:
        """The origin of `url`."""
        scheme = url.scheme
        return cls(scheme, url.host, url.port or (443 if scheme == "https" else 80))

    @property
    def netloc(self) -> str:
        """`host:port`, the host in brackets where it is an IPv6 address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}"


class Connection:
    """A kept-alive connection to one origin."""

    def __init__(
        self,
        origin: Origin,
        sock: socket.socket,
        patience: wire.Patience,
        proxy: Proxy | None = None,
    ) -> None:
        self.origin = origin
        self.wire = wire.Wire(sock, patience)
        self.idle_since = 0.0
        self._patience = patience
        self._proxy = proxy

    def start(self, method: str, url: httpx.URL) -> bytes:
        """The request line, and what a proxy wants to see (RFC 9112, section 3.2)."""
        verb = method.encode()
        if self._proxy is None:
            return b"%b %b HTTP/1.1\r\n" % (verb, url.raw_path)
        target = b"http://%b%b" % (url.netloc, url.raw_path)
        return b"%b %b HTTP/1.1\r\n%b" % (verb, target, self._proxy.authorization)

    def exchange(self, method: str, head: bytes, length: int, body: Iterable[bytes]) -> wire.Head:
        """Sends one request and returns the head of its answer.

        An answer that comes before the body is sent ends the sending: a refusal is read instead of
        being lost in a reset connection.

        Raises:
            OSError: The connection cannot be used.
            SizeMismatchError: `body` is not `length` bytes long.
        """
        whole = True
        if length or method in _WITH_BODY:
            try:
                whole = self._send(head, length, body)
            except OSError:
                return self._last_words(method)
        else:
            self.wire.send(head)
        patience = self._patience.answer + length / _COMMIT_RATE
        answer = self.wire.head(method, patience)
        return answer if whole else _closing(answer)

    def _send(self, head: bytes, length: int, body: Iterable[bytes]) -> bool:
        """Whether all was sent before the peer answered."""
        left = length
        for chunk in body:
            left -= len(chunk)
            if left < 0:
                break
            if head and len(chunk) <= _TOGETHER:
                self.wire.send(head + chunk)
            elif head:
                self.wire.send(head)
                self.wire.send(chunk)
            else:
                self.wire.send(chunk)
            head = b""
            if left and self.wire.spoke():
                return False
        if left:
            raise errors.SizeMismatchError(
                f"{length} bytes were announced and {'more' if left < 0 else 'fewer'} were there"
            )
        if head:
            self.wire.send(head)
        return True

    def _last_words(self, method: str) -> wire.Head:
        return _closing(self.wire.head(method, _LAST_WORDS))

    def stale(self, oldest: float) -> bool:
        """Whether the connection is no longer good for a request."""
        return self.idle_since < oldest or self.wire.stale()

    def shutdown(self) -> None:
        """Ends whatever another thread waits for on this connection, at once."""
        try:
            # Not SSLSocket.shutdown: that would turn a read under way into a plain-text one.
            socket.socket.shutdown(self.wire.sock, socket.SHUT_RDWR)
        except OSError:
            return

    def close(self) -> None:
        """Closes the socket."""
        self.wire.sock.close()


_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


def _closing(head: wire.Head) -> wire.Head:
    return wire.Head(head.status, head.headers, head.length, keep=False)


class Dialer:
    """Opens connections.

    Args:
        own: The registry's origin; a client certificate is shown to no other.
        ca_file: A PEM file of CAs that are trusted beside the system's; without it those that
            `certs.d` has for the registry.
        client_cert: A PEM file with a client certificate, perhaps with its key; without it that of
            `certs.d`.
        client_key: A PEM file with the key.
        proxy: `http://[user:password@]host:port`; empty for none; None as the environment says.
        patience: How long a peer may take.

    Raises:
        UsageError: The proxy is not one this program can use.
    """

    def __init__(
        self,
        own: Origin,
        *,
        ca_file: str = "",
        client_cert: str = "",
        client_key: str = "",
        proxy: str | None = None,
        patience: wire.Patience,
    ) -> None:
        self._own = own
        self._files = ca_file, client_cert, client_key
        self._patience = patience
        self._environment = urllib.request.getproxies() if proxy is None else {}
        self._proxy = _proxy(proxy) if proxy else None
        self._lock = threading.Lock()
        self._contexts: dict[bool, ssl.SSLContext] = {}

    def dial(self, origin: Origin) -> Connection:
        """A new connection to `origin`.

        Raises:
            OSError: There is none to be had.
            CredentialError: A certificate or key file cannot be used.
        """
        deadline = time.monotonic() + self._patience.connect
        proxy = self.proxy(origin)
        tls = origin.scheme == "https"
        address = (proxy.host, proxy.port) if proxy else (origin.host, origin.port)
        sock = socket.create_connection(address, timeout=self._patience.connect)
        with ExitStack() as undo:
            undo.callback(sock.close)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if tls:
                if proxy:
                    self._tunnel(sock, origin, proxy)
                sock.settimeout(max(0.1, deadline - time.monotonic()))
                sock = self._context(origin).wrap_socket(sock, server_hostname=origin.host)
            undo.pop_all()
        return Connection(origin, sock, self._patience, None if tls else proxy)

    def proxy(self, origin: Origin) -> Proxy | None:
        """The proxy to use for `origin`, or None."""
        if self._proxy or not self._environment:
            return self._proxy
        named = self._environment.get(origin.scheme) or self._environment.get("all")
        if not named or urllib.request.proxy_bypass_environment(  # type: ignore[attr-defined]
            origin.netloc, self._environment
        ):
            return None
        return _proxy(named)

    def _tunnel(self, sock: socket.socket, origin: Origin, proxy: Proxy) -> None:
        sock.sendall(
            b"CONNECT %(to)b HTTP/1.1\r\nHost: %(to)b\r\n%(auth)b\r\n"
            % {b"to": origin.netloc.encode(), b"auth": proxy.authorization}
        )
        head = wire.Wire(sock, self._patience).head("HEAD", self._patience.connect)
        if not 200 <= head.status < 300:
            raise ConnectionRefusedError(f"proxy {proxy.netloc} answered {head.status} to CONNECT")

    def _context(self, origin: Origin) -> ssl.SSLContext:
        own = origin == self._own
        with self._lock:
            if own not in self._contexts:
                self._contexts[own] = self._new_context(own=own)
            return self._contexts[own]

    def _new_context(self, *, own: bool) -> ssl.SSLContext:
        files = self._certificates()
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        try:
            for authority in files.authorities:
                context.load_verify_locations(authority)
            if files.client and own:
                context.load_cert_chain(files.client, files.key or None, password="")
        except OSError as error:
            mine = (files.client, files.key) if own else ()
            names = ", ".join(filter(None, (*files.authorities, *mine)))
            raise errors.CredentialError(
                f"TLS files of {self._own.host} cannot be used ({names}): {error.strerror or error}"
            ) from None
        return context

    def _certificates(self) -> certificates.Certificates:
        """What the rules name; what they do not, as `certs.d` has it."""
        ca_file, cert, key = self._files
        if ca_file and cert:
            return certificates.Certificates((ca_file,), cert, key)
        kept = certificates.found(self._own.host, self._own.port)
        authorities = (ca_file,) if ca_file else kept.authorities
        if cert:
            return certificates.Certificates(authorities, cert, key)
        return certificates.Certificates(authorities, kept.client, kept.key)


class Proxy(NamedTuple):
    """An HTTP proxy and what it wants to see."""

    host: str
    port: int
    authorization: bytes

    @property
    def netloc(self) -> str:
        """`host:port`, for messages."""
        return f"{self.host}:{self.port}"


def _proxy(text: str) -> Proxy:
    try:
        url = httpx.URL(text if "://" in text else f"http://{text}")
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme != "http" or not url.host:
        raise errors.UsageError("a proxy must be written http://[user:password@]host:port")
    secret = base64.b64encode(f"{url.username}:{url.password}".encode())
    header = b"Proxy-Authorization: Basic %b\r\n" % secret if url.userinfo else b""
    return Proxy(url.host, url.port or 80, header)
