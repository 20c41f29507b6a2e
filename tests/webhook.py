"""A webhook on loopback: remembers what it was sent and answers as told."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tests.registries import wait_for


class Webhook:
    """A context manager; between `with` and its end it takes notices at `url`.

    Attributes:
        status: What it answers to a request that comes now.
        taken: The bodies it answered with a 2xx.
        attempts: How many requests came.
    """

    def __init__(self, path: str = "/hook") -> None:
        self.status = 204
        self.taken: list[dict[str, Any]] = []
        self.attempts = 0
        self._free = threading.Event()
        self._free.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._answer())
        self.url = f"http://127.0.0.1:{self._server.server_port}{path}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=[0.01], daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.resume()
        self._server.shutdown()
        self._server.server_close()

    def pause(self) -> None:
        """Lets requests wait."""
        self._free.clear()

    def resume(self) -> None:
        """Answers them."""
        self._free.set()

    def wait(self, count: int) -> list[dict[str, Any]]:
        """Waits for `count` notices; all there are."""
        wait_for(lambda: len(self.taken) >= count, f"{count} notices, not {self.taken}")
        return self.taken

    def events(self) -> list[tuple[str, str, str]]:
        """What was told: event, rule, kind."""
        return [(each["event"], each["rule"], each["kind"]) for each in self.taken]

    def _answer(hook: Self) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is the request's
        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = hook.status
                hook.attempts += 1
                hook._free.wait()
                if status < 300:
                    hook.taken.append(body)
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        return Answer
