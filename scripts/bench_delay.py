"""Far registries on loopback: `bench_delay.py MILLISECONDS PORT...` prints a port for each PORT.

Each of them passes bytes on, both ways, after half of the delay, in order; opening a connection
costs one delay more, as it would over a distance. It does what `tc netem` does where the kernel has
that, but counts for TCP connections one by one.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable


class Pipe(asyncio.Protocol):
    """One end of a connection: what comes in here goes out at the other end, later."""

    def __init__(self, delay: float, opened: Callable[[Pipe], None]) -> None:
        self.delay = delay
        self.opened = opened
        self.transport: asyncio.Transport
        self.other: Pipe | None = None
        self.ready = asyncio.get_running_loop().time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Tells that this end stands."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - create_server makes these
        self.transport = transport
        self.opened(self)

    def data_received(self, data: bytes) -> None:
        """Passes the bytes on when their time has come."""
        self._later(lambda other: other.transport.write(data))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Closes the other end after the last bytes."""
        self._later(lambda other: other.transport.close())

    def _later(self, act: Callable[[Pipe], None]) -> None:
        loop = asyncio.get_running_loop()
        moment = max(loop.time(), self.ready) + self.delay

        def due() -> None:
            if self.other is not None:
                act(self.other)

        loop.call_at(moment, due)


async def serve(delay: float, port: int) -> asyncio.Server:
    """A port of its own in front of `port`."""
    loop = asyncio.get_running_loop()
    waiting = set()

    def opened(near: Pipe) -> None:
        near.ready += 2 * delay  # the connection's own round trip

        def joined(far: Pipe) -> None:
            near.other, far.other = far, near

        dial = loop.create_connection(lambda: Pipe(delay, joined), "127.0.0.1", port)
        task = asyncio.ensure_future(dial)
        waiting.add(task)
        task.add_done_callback(waiting.discard)

    return await loop.create_server(lambda: Pipe(delay, opened), "127.0.0.1", 0, backlog=256)


async def main(milliseconds: float, ports: list[int]) -> None:
    """Serves until it is ended."""
    servers = [await serve(milliseconds / 2000, port) for port in ports]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]), [int(port) for port in sys.argv[2:]]))
