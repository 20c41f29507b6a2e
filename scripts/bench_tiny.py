"""A registry that only answers what an idle sync asks: `bench_tiny.py TAGS` prints its port.

One repository, bench/app, with tags v0 to v(TAGS-1); each points to a digest of its own. No real
registry could be filled with a hundred thousand tags in the time a benchmark has.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys

PAGE = 1000
_TYPE = b"Content-Type: application/vnd.oci.image.manifest.v1+json\r\n"


class Tiny(asyncio.Protocol):
    """One connection; requests come without a body."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.rest = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps where answers go."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - create_server makes these
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answers every request that has come whole."""
        *heads, self.rest = (self.rest + data).split(b"\r\n\r\n")
        for head in heads:
            method, path, _ = head.split(b" ", 2)
            self.transport.write(self.answer(method, path))

    def answer(self, method: bytes, path: bytes) -> bytes:
        """The whole answer to a request."""
        if b"/tags/list" in path:
            return self.page(path)
        if b"/manifests/" in path:
            body = b'{"schemaVersion":2,"annotations":{"tag":"%b"}}' % path.rpartition(b"/")[2]
            digest = hashlib.sha256(body).hexdigest().encode()
            named = b"Docker-Content-Digest: sha256:%b\r\n" % digest
            return answer(b"200 OK", _TYPE + named, b"" if method == b"HEAD" else body, len(body))
        if path.startswith(b"/v2/?") or path == b"/v2/":
            return answer(b"200 OK", b"", b"{}")
        return answer(b"404 Not Found", b"", b"{}")

    def page(self, path: bytes) -> bytes:
        """A page of tags, and where the next one is."""
        last = path.partition(b"last=v")[2].partition(b"&")[0]
        first = int(last) + 1 if last else 0
        end = min(first + PAGE, self.count)
        tags = [f"v{number}" for number in range(first, end)]
        body = json.dumps({"name": "bench/app", "tags": tags}).encode()
        following = f'Link: </v2/bench/app/tags/list?n={PAGE}&last=v{end - 1}>; rel="next"\r\n'
        return answer(b"200 OK", following.encode() if end < self.count else b"", body)


def answer(status: bytes, headers: bytes, body: bytes, length: int | None = None) -> bytes:
    """An answer's bytes."""
    size = len(body) if length is None else length
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n%b\r\n%b" % (status, size, headers, body)


async def main(count: int) -> None:
    """Serves until it is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Tiny(count), "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
