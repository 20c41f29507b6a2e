"""A registry client of the standard library, so that tests do not lean on the client they test."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import ssl
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from tests.registries import RegistryProcess

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
ACCEPT = f"{OCI_MANIFEST}, {OCI_INDEX}, {DOCKER_MANIFEST}, {DOCKER_LIST}"

Registry = str | RegistryProcess
"""A registry process, with its users and authority, or a URL, with `login=`, `token=`, `ca_file=`."""


def digest_of(data: bytes) -> str:
    """`sha256:...` of these bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Client:
    """One kept-alive connection to a registry, and the few calls that tests need."""

    def __init__(
        self,
        registry: Registry,
        *,
        login: tuple[str, str] | None = None,
        token: str = "",
        ca_file: Path | None = None,
    ) -> None:
        if isinstance(registry, RegistryProcess):
            ca_file = ca_file or registry.ca_file
            login = login or next(iter(registry.options.users.items()), None)
            registry = registry.url
        url = urlsplit(registry)
        self.host = url.netloc
        self.login = login
        self._pushed: set[tuple[str, str]] = set()
        if url.scheme == "https":
            context = ssl.create_default_context(cafile=ca_file)
            self._http: http.client.HTTPConnection = http.client.HTTPSConnection(
                url.netloc, timeout=30, context=context
            )
        else:
            self._http = http.client.HTTPConnection(url.netloc, timeout=30)
        self._headers = {"User-Agent": "tests-content"}
        if login:
            self._headers["Authorization"] = (
                f"Basic {base64.b64encode(':'.join(login).encode()).decode()}"
            )
        elif token:
            self._headers["Authorization"] = f"Bearer {token}"

    def request(
        self, method: str, path: str, body: bytes = b"", **headers: str
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Status, headers and body of the answer, whatever its status; redirects are not followed.

        Header names are written with `_` for `-`.
        """
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        self._http.request(method, path, body or None, {**self._headers, **sent})
        response = self._http.getresponse()
        return response.status, response.headers, response.read()

    def expect(
        self, status: int, method: str, path: str, body: bytes = b"", **headers: str
    ) -> tuple[http.client.HTTPMessage, bytes]:
        """Headers and body of an answer that must have this status."""
        got, answered, data = self.request(method, path, body, **headers)
        assert got == status, f"{method} {self.host}{path}: {got}, not {status}: {data[:300]!r}"
        return answered, data

    def push_blob(self, repository: str, data: bytes) -> None:
        """POST and PUT, once per repository and digest."""
        digest = digest_of(data)
        if (repository, digest) in self._pushed:
            return
        start, _ = self.expect(202, "POST", f"/v2/{repository}/blobs/uploads/", Content_Length="0")
        location = urlsplit(start["Location"])
        query = f"{location.query}&digest={digest}".lstrip("&")
        self.expect(
            201,
            "PUT",
            f"{location.path}?{query}",
            data,
            Content_Type="application/octet-stream",
            Content_Length=str(len(data)),
        )
        self._pushed.add((repository, digest))

    def push_manifest(self, repository: str, reference: str, media_type: str, data: bytes) -> None:
        """PUT by tag or digest; what it points to must be there."""
        path = f"/v2/{repository}/manifests/{reference}"
        self.expect(201, "PUT", path, data, Content_Type=media_type)

    def fetch(self, repository: str, reference: str) -> tuple[bytes, str, str]:
        """Bytes, media type and digest of a manifest, the digest computed from the bytes."""
        path = f"/v2/{repository}/manifests/{reference}"
        headers, data = self.expect(200, "GET", path, Accept=ACCEPT)
        return data, headers["Content-Type"], digest_of(data)

    def has(self, repository: str, reference: str) -> bool:
        """Whether a manifest answers by tag or digest."""
        path = f"/v2/{repository}/manifests/{reference}"
        return self.request("HEAD", path, Accept=ACCEPT)[0] == 200

    def blob(self, repository: str, digest: str) -> bytes:
        """Bytes of a blob."""
        return self.expect(200, "GET", f"/v2/{repository}/blobs/{digest}")[1]

    def tags(self, repository: str) -> list[str]:
        """All tags, sorted; none for a repository that is not there."""
        path = f"/v2/{repository}/tags/list?n=1000"
        found: list[str] = []
        while path:
            status, headers, body = self.request("GET", path)
            if status == 404:
                return []
            assert status == 200, body
            found += json.loads(body)["tags"] or []
            link = headers["Link"] or ""
            path = link[link.find("<") + 1 : link.find(">")] if link else ""
        return sorted(found)

    def delete(self, repository: str, reference: str) -> int:
        """Status of a DELETE of a manifest by tag or digest."""
        return self.request("DELETE", f"/v2/{repository}/manifests/{reference}")[0]

    def __enter__(self) -> Self:
        """Itself; the connection opens with the first request."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._http.close()


def ask(
    registry: Registry, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Status, headers and body of one request, as the registry's first user where it has any."""
    with Client(registry) as client:
        return client.request(method, path, body, **headers)


def delete(registry: Registry, repository: str, reference: str, **access: Any) -> int:
    """Status of a DELETE of a manifest by tag or digest."""
    with Client(registry, **access) as client:
        return client.delete(repository, reference)
