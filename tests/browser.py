"""Headless Chromium over its debugging pipe: what a page looks like, without another library."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.registries import absent


class Browser:
    """One tab. A context manager; needs `chromium`, and skips the test without it."""

    def __init__(self, directory: Path) -> None:
        program = shutil.which("chromium")
        if program is None:
            absent("chromium")
        self._command = [
            program,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--remote-debugging-pipe",
            f"--user-data-dir={directory / 'profile'}",
            "about:blank",
        ]
        self._numbers = itertools.count(1)
        self._events: list[dict[str, Any]] = []
        self._session = ""

    def __enter__(self) -> Self:
        """Starts it and opens a tab."""
        # Chromium reads commands from descriptor 3 and writes answers to descriptor 4.
        inside, self._write = os.pipe()
        self._read, outside = os.pipe()

        shell = ["bash", "-c", f'exec "$@" 3<&{inside} 4>&{outside}', "chromium"]
        self._process = subprocess.Popen(
            [*shell, *self._command],
            pass_fds=(inside, outside),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(inside)
        os.close(outside)
        self._answers = os.fdopen(self._read, "rb")
        target = self._send("Target.createTarget", url="about:blank")["targetId"]
        attached = self._send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._send(f"{domain}.enable")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()
        self._answers.close()
        os.close(self._write)

    def open(self, url: str, width: int, *, dark: bool = False) -> None:
        """Loads a page into a window of so many pixels."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._send("Emulation.setEmulatedMedia", features=features)
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 700}
        self._send("Emulation.setDeviceMetricsOverride", **size)
        self._events.clear()
        self._send("Page.navigate", url=url)
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._receive()

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self._send("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    def complaints(self) -> list[str]:
        """What the console said since the page was opened."""
        return [
            event["params"]["entry"]["text"]
            for event in self._events
            if event["method"] == "Log.entryAdded"
        ]

    def requests(self) -> list[str]:
        """The addresses asked for since the page was opened."""
        return [
            event["params"]["request"]["url"]
            for event in self._events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def picture(self, path: Path) -> None:
        """Saves the whole page as a PNG."""
        taken = self._send("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(taken["data"]))

    def _send(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        command: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._write, json.dumps(command).encode() + b"\0")
        while (answer := self._receive()).get("id") != number:
            pass
        assert "error" not in answer, answer
        found: dict[str, Any] = answer["result"]
        return found

    def _receive(self) -> dict[str, Any]:
        message = b""
        while not message.endswith(b"\0"):
            byte = self._answers.read(1)
            assert byte, "chromium ended"
            message += byte
        found: dict[str, Any] = json.loads(message[:-1])
        if "method" in found:
            self._events.append(found)
        return found
