"""A TCP proxy on loopback that breaks a connection in the middle of a request."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self


class FaultProxy:
    """Passes bytes on to `port`, and cuts the first request that begins with `start` once.

    Args:
        port: Where the registry listens on 127.0.0.1.
        start: How the request begins, such as `b"PATCH "`.
        after: How many bytes of its connection pass before the cut.
    """

    def __init__(self, port: int, start: bytes, after: int) -> None:
        self.done = False
        self._port = port
        self._start = start
        self._after = after
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._run(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        _end(self._listening)
        for each in self._sockets:
            _end(each)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        for each in (self._listening, *self._sockets):
            each.close()

    def _run(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                self._sockets += [near, far]
                self._run(self._pass, near, far)
                self._run(self._pass, far, near)

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        passed, cutting = 0, False
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                cutting = not self.done and (cutting or data.startswith(self._start))
                target.sendall(data)
                passed += len(data)
                if cutting and passed > self._after:
                    self.done = True
                    break
        _end(source)
        _end(target)


def _end(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
