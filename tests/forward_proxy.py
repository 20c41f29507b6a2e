"""A forward proxy on loopback: plain HTTP in absolute form, TLS by CONNECT (RFC 9110, section 9.3.6).

Run as `python -m tests.forward_proxy`: it prints its port, then how each connection begins.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_ROOT = Path(__file__).resolve().parent.parent


class _Request(socketserver.BaseRequestHandler):
    """One connection: to one registry, since syncer keeps connections apart by origin."""

    def handle(self) -> None:
        near: socket.socket = self.request
        head = b""
        while b"\r\n\r\n" not in head:
            piece = near.recv(65536)
            if not piece:
                return
            head += piece
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split()
        _say(f"{method} {target}")
        url = urlsplit(target if method != "CONNECT" else f"//{target}")
        with socket.create_connection((url.hostname, url.port or 80)) as far:
            if method == "CONNECT":
                near.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                far.sendall(head)  # a server takes the absolute form, too
            back = threading.Thread(target=_copy, args=(far, near))
            back.start()
            _copy(near, far)
            back.join()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


@dataclass(frozen=True)
class ForwardProxy:
    """A proxy in a process of its own."""

    process: subprocess.Popen[str]
    url: str

    def ended(self) -> list[str]:
        """Ends it; returns method and target of the first request of each connection it had."""
        self.process.terminate()
        return self.process.communicate(timeout=20)[0].splitlines()


@contextmanager
def running() -> Iterator[ForwardProxy]:
    """A proxy until the block ends."""
    command = [sys.executable, "-m", "tests.forward_proxy"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=_ROOT) as process:
        try:
            assert process.stdout is not None
            yield ForwardProxy(process, f"http://127.0.0.1:{process.stdout.readline().strip()}")
        finally:
            process.kill()


if __name__ == "__main__":
    with _Server(("127.0.0.1", 0), _Request) as server:
        _say(str(server.server_address[1]))
        server.serve_forever()
