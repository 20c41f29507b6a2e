"""A small registry in this process, for what real ones will not do on demand.

By itself it behaves: blobs, uploads, manifests, tags, deletes, referrers. A test puts its quirk in
front with `on`: the first rule that fits a request answers it instead, in any way it likes, down to
single bytes and a reset connection.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import socket
import socketserver
import ssl
import struct
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.authority import Authority
from tests.client import OCI_INDEX, digest_of

Action = Callable[["Asked"], None]


@dataclass
class Repository:
    """What one repository holds."""

    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)


@dataclass
class Rule:
    """A quirk: which requests it answers, and how often."""

    method: str
    path: re.Pattern[str]
    action: Action
    left: float

    def fits(self, asked: Asked) -> bool:
        """Whether it answers this request; counts it."""
        method = self.method in ("*", asked.method)
        fits = self.left > 0 and method and self.path.fullmatch(asked.path)
        self.left -= bool(fits)
        return bool(fits)


class Asked:
    """One request, and the ways to answer it."""

    def __init__(
        self, connection: http.server.BaseHTTPRequestHandler, registry: FakeRegistry
    ) -> None:
        self._connection = connection
        self.registry = registry
        self.method = connection.command
        url = urlsplit(connection.path)
        self.path = url.path
        self.url = connection.path
        self.query = {key: values[0] for key, values in parse_qs(url.query).items()}
        self.headers = dict(connection.headers.items())
        self.length = int(connection.headers.get("Content-Length", 0))
        self._body: bytes | None = None
        self.answered = False

    @property
    def body(self) -> bytes:
        """The request's body, read when first asked for."""
        if self._body is None:
            body = self.read(self.length)
            if len(body) < self.length:
                raise ConnectionResetError("the client broke off")
            self._body = body
        return self._body

    @property
    def certificate(self) -> Any:
        """The client's certificate, where it showed one."""
        connection = self._connection.connection
        return connection.getpeercert() if isinstance(connection, ssl.SSLSocket) else None

    def read(self, count: int) -> bytes:
        """The next bytes of the body."""
        return self._connection.rfile.read(count)

    def answer(
        self,
        status: int,
        body: bytes | str | Mapping[str, Any] = b"",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Answers as a registry does; the body of a HEAD is only measured."""
        content = (
            body
            if isinstance(body, bytes)
            else (body if isinstance(body, str) else json.dumps(body)).encode()
        )
        if self._body is None and self.length:
            self._connection.close_connection = True
        fields = {"Content-Type": "application/json", **(headers or {})}
        if "Transfer-Encoding" not in fields:
            fields.setdefault("Content-Length", str(len(content)))
        lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in fields.items())]
        self.send("\r\n".join([*lines, "", ""]).encode())
        if self.method != "HEAD":
            self.send(content)

    def fail(self, status: int, code: str, headers: Mapping[str, str] | None = None) -> None:
        """Answers with an error body of the distribution-spec."""
        message = code.lower().replace("_", " ")
        self.answer(status, {"errors": [{"code": code, "message": message}]}, headers)

    def send(self, data: bytes) -> None:
        """Sends bytes as they are."""
        self.answered = True
        self._connection.wfile.write(data)

    def hang_up(self, *, reset: bool = False) -> None:
        """Closes the connection, with a RST if wanted."""
        self.answered = True
        self._connection.close_connection = True
        if reset:
            linger = struct.pack("ii", 1, 0)
            self._connection.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    def wait(self, seconds: float) -> bool:
        """Waits, at most until the registry ends; whether it goes on."""
        return not self.registry.ending.wait(seconds)


class FakeRegistry:
    """A registry on loopback; use it as a context manager.

    Args:
        authority: Signs its certificate, when it is to speak TLS.

    Attributes:
        asked: The requests it got, as `(method, path with query)`.
        headers: Their headers, in the same order.
        repositories: What it holds.
        connections: How many connections were made to it.
        notes_subjects: Whether it answers a push with `OCI-Subject`, as one with the API does.
    """

    def __init__(self, authority: Authority | None = None, host: str = "127.0.0.1") -> None:
        self.asked: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.repositories: dict[str, Repository] = {}
        self.ending = threading.Event()
        self.connections = 0
        self.notes_subjects = False
        self._rules: list[Rule] = []
        self._uploads: dict[str, bytearray] = {}
        self._server = _Server(host, self, authority)
        port = self._server.server_address[1]
        self.host = f"{host}:{port}"
        self.url = f"{'https' if authority else 'http'}://{self.host}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        self._server.shutdown()
        self._thread.join()
        self._server.end()

    def on(self, method: str, path: str, action: Action, times: float = float("inf")) -> None:
        """Answers requests whose path matches in full with `action`, the next `times` times.

        `*` is any method. An action that does not answer leaves that to the next rule.
        """
        self._rules.append(Rule(method, re.compile(path), action, times))

    def holds(self, name: str) -> Repository:
        """A repository, made when it is not there."""
        return self.repositories.setdefault(name, Repository())

    def methods(self) -> list[str]:
        """The methods of the requests it got."""
        return [method for method, _ in self.asked]

    def serve(self, asked: Asked) -> None:
        """Answers a request, by a rule or as a registry should."""
        self.asked.append((asked.method, asked.url))
        self.headers.append(asked.headers)
        for rule in self._rules:
            if rule.fits(asked):
                rule.action(asked)
                if asked.answered:
                    return
        self.behave(asked)

    def behave(self, asked: Asked) -> None:
        """Answers as a registry should."""
        for pattern, action in _ROUTES:
            if found := re.fullmatch(pattern, asked.path):
                action(self, asked, *found.groups())
                return
        asked.answer(404, "404 page not found")

    def _base(self, asked: Asked) -> None:
        asked.answer(200, {})

    def _catalog(self, asked: Asked) -> None:
        asked.answer(200, {"repositories": sorted(self.repositories)})

    def _tags(self, asked: Asked, name: str) -> None:
        if name not in self.repositories:
            asked.fail(404, "NAME_UNKNOWN")
            return
        asked.answer(200, {"name": name, "tags": sorted(self.repositories[name].tags) or None})

    def _manifest(self, asked: Asked, name: str, target: str) -> None:
        held = self.holds(name)
        digest = held.tags.get(target, target)
        if asked.method == "PUT":
            digest = digest_of(asked.body)
            held.manifests[digest] = asked.headers["Content-Type"], asked.body
            if ":" not in target:
                held.tags[target] = digest
            headers = {"Docker-Content-Digest": digest, "Location": asked.path}
            if self.notes_subjects and (subject := _subject(asked.body)):
                headers["OCI-Subject"] = subject
            asked.answer(201, b"", headers)
        elif digest not in held.manifests:
            asked.fail(404, "MANIFEST_UNKNOWN")
        elif asked.method == "DELETE":
            if ":" in target:
                del held.manifests[digest]
            held.tags = {
                tag: to
                for tag, to in held.tags.items()
                if tag != target and (to != digest or ":" not in target)
            }
            asked.answer(202)
        else:
            media_type, data = held.manifests[digest]
            asked.answer(200, data, {"Content-Type": media_type, "Docker-Content-Digest": digest})

    def _blob(self, asked: Asked, name: str, digest: str) -> None:
        data = self.holds(name).blobs.get(digest)
        if data is None:
            asked.fail(404, "BLOB_UNKNOWN")
            return
        headers = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": digest}
        if found := re.fullmatch(r"bytes=(\d+)-", asked.headers.get("Range", "")):
            start = int(found[1])
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            asked.answer(206, data[start:], headers)
        else:
            asked.answer(200, data, headers)

    def _begin(self, asked: Asked, name: str) -> None:
        source = self.repositories.get(asked.query.get("from", ""))
        digest = asked.query.get("mount", "")
        if source and digest in source.blobs:
            self.holds(name).blobs[digest] = source.blobs[digest]
            asked.answer(201)
            return
        self.begin(asked, name)

    def begin(self, asked: Asked, name: str, **headers: str) -> None:
        """Opens an upload."""
        session = uuid.uuid4().hex
        self._uploads[session] = bytearray()
        location = f"/v2/{name}/blobs/uploads/{session}?state=a%2Fb"
        asked.answer(202, b"", {"Location": location, "Range": "0-0", **headers})

    def _upload(self, asked: Asked, name: str, session: str) -> None:
        upload = self._uploads.get(session)
        if upload is None or asked.query.get("state") != "a/b":
            asked.fail(404, "BLOB_UPLOAD_UNKNOWN")
            return
        here = {"Location": asked.url}
        if asked.method == "DELETE":
            del self._uploads[session]
            asked.answer(204)
        elif asked.method == "GET":
            asked.answer(204, b"", {**here, "Range": f"0-{max(len(upload) - 1, 0)}"})
        elif asked.method == "PATCH" and not self._in_order(asked, upload):
            asked.fail(416, "BLOB_UPLOAD_INVALID")
        else:
            upload += asked.body
            if asked.method == "PATCH":
                asked.answer(202, b"", {**here, "Range": f"0-{len(upload) - 1}"})
            else:
                self._close(asked, name, session)

    def _close(self, asked: Asked, name: str, session: str) -> None:
        data = bytes(self._uploads.pop(session))
        if digest_of(data) != asked.query["digest"]:
            asked.fail(400, "DIGEST_INVALID")
            return
        self.holds(name).blobs[asked.query["digest"]] = data
        asked.answer(201, b"", {"Docker-Content-Digest": asked.query["digest"]})

    def _in_order(self, asked: Asked, upload: bytearray) -> bool:
        claimed = asked.headers.get("Content-Range", f"{len(upload)}-")
        return claimed.startswith(f"{len(upload)}-")

    def _referrers(self, asked: Asked, name: str, digest: str) -> None:
        found = [
            _entry(media_type, each, data)
            for each, (media_type, data) in self.holds(name).manifests.items()
            if _subject(data) == digest
        ]
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found}
        asked.answer(200, index, {"Content-Type": OCI_INDEX})


def _subject(manifest: bytes) -> str:
    try:
        return str((json.loads(manifest).get("subject") or {}).get("digest", ""))
    except (ValueError, AttributeError):
        return ""


def _entry(media_type: str, digest: str, manifest: bytes) -> dict[str, Any]:
    body = json.loads(manifest)
    entry = {"mediaType": media_type, "digest": digest, "size": len(manifest)}
    artifact_type = body.get("artifactType") or body.get("config", {}).get("mediaType")
    entry |= {"artifactType": artifact_type} if artifact_type else {}
    return entry | {key: body[key] for key in ("annotations",) if key in body}


_NAME = r"/v2/([a-z0-9/._-]+?)"
_ROUTES: tuple[tuple[str, Callable[..., None]], ...] = (
    (r"/v2/", FakeRegistry._base),
    (r"/v2/_catalog", FakeRegistry._catalog),
    (rf"{_NAME}/tags/list", FakeRegistry._tags),
    (rf"{_NAME}/manifests/([^/]+)", FakeRegistry._manifest),
    (rf"{_NAME}/blobs/uploads/", FakeRegistry._begin),
    (rf"{_NAME}/blobs/uploads/([0-9a-f]+)", FakeRegistry._upload),
    (rf"{_NAME}/blobs/([^/]+)", FakeRegistry._blob),
    (rf"{_NAME}/referrers/([^/]+)", FakeRegistry._referrers),
)


class _Connection(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def handle(self) -> None:
        self.server.registry.connections += 1
        try:
            super().handle()
        except (ConnectionError, ssl.SSLError):
            self.close_connection = True  # the client went away, or was shown the door

    def __getattr__(self, name: str) -> Callable[[], None]:
        if not name.startswith("do_"):
            raise AttributeError(name)
        return lambda: self.server.registry.serve(Asked(self, self.server.registry))

    def log_message(self, *_: object) -> None:
        """Stays quiet."""


class _Server(socketserver.ThreadingTCPServer):
    request_queue_size = 64

    def __init__(self, host: str, registry: FakeRegistry, authority: Authority | None) -> None:
        self.registry = registry
        self._open: set[socket.socket] = set()
        super().__init__((host, 0), _Connection)
        if authority:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*authority.issue())
            context.load_verify_locations(authority.ca_file)
            context.verify_mode = ssl.CERT_OPTIONAL
            self.socket = context.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        self.close_request(request)  # without a farewell: a pending RST stays one

    def end(self) -> None:
        """Ends the connections that are still open, and their threads."""
        for each in list(self._open):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(each, socket.SHUT_RDWR)
        self.server_close()
