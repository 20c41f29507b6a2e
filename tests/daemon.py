"""`syncerd` as systemd runs it: a process with a notify socket, watched from outside."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.registries import RegistryProcess, wait_for

PROGRAM = Path(sys.executable).with_name("syncerd")


class SyncerDaemon:
    """One syncerd, started with `start` or `with`; killed at the latest with its test.

    Args:
        directory: Where its rules, state and log are.
        rules: The rules file, but for `schema`, `[state]` and where it listens.
        daemon: Lines for the `[daemon]` table.
        environment: More for its environment.
        command: What to start in the place of the program, with the same arguments.
    """

    def __init__(
        self,
        directory: Path,
        rules: str = "",
        *,
        daemon: str = "",
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] = (str(PROGRAM),),
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.config = directory / "rules.toml"
        self.state = directory / "state" / "state.db"
        self.log_file = directory / "syncerd.log"
        self.messages: list[str] = []
        self._daemon = daemon
        self._environment = dict(environment or {})
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self.write(rules)

    def __enter__(self) -> Self:
        """Starts it and waits until it is ready."""
        self.start()
        self.until("READY=1")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Kills it; shows its log when the test failed."""
        self.kill()
        if error:
            error.add_note(self.log_file.read_text())

    def write(self, rules: str) -> None:
        """Puts another rules file in the place of the one before."""
        self.config.write_text(
            f'schema = 1\n[state]\nurl = "sqlite:///{self.state}"\n'
            f'[daemon]\nlisten = "127.0.0.1:0"\n{self._daemon}\n{rules}'
        )

    def start(self) -> None:
        """Starts it, with a log and messages of its own."""
        self.log_file.write_text("")
        self.messages = []
        path = self.directory / "notify"
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listener.bind(str(path))
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *self._command, "-c", self.config],
                env={**os.environ, "NOTIFY_SOCKET": str(path), **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        threading.Thread(target=self._listen, args=[listener, self.messages], daemon=True).start()

    def kill(self) -> None:
        """SIGKILL, as a power cut does it."""
        if self._process and self._process.poll() is None:
            self._process.kill()
        self.wait()

    def send(self, number: signal.Signals) -> None:
        """Sends a signal."""
        assert self._process
        self._process.send_signal(number)

    def wait(self, seconds: float = 60) -> int:
        """Waits for its end; its exit code."""
        if self._process is None:
            return 0
        return self._process.wait(seconds)

    def until(self, message: str, count: int = 1) -> None:
        """Waits until it has sent a notification that has this line `count` times."""
        wait_for(
            lambda: self.count(message) >= count or self._ended(),
            f"{message}; so far {self.messages}",
        )
        assert self.count(message) >= count, f"it ended:\n{self.log_file.read_text()}"

    def count(self, message: str) -> int:
        """How many notifications had this line."""
        return sum(message in each.splitlines() for each in list(self.messages))

    def log(self, event: str = "", **values: Any) -> list[dict[str, Any]]:
        """The lines of its log; only those of one event and with these values, if given."""
        lines = [line for line in self.log_file.read_text().splitlines() if line.startswith("{")]
        found = [json.loads(line) for line in lines]
        return [
            line
            for line in found
            if event in ("", line["event"]) and values.items() <= line.items()
        ]

    def logged(self, event: str, count: int = 1, **values: Any) -> list[dict[str, Any]]:
        """Waits for `count` such lines and returns them."""
        wait_for(lambda: len(self.log(event, **values)) >= count or self._ended(), event)
        found = self.log(event, **values)
        assert len(found) >= count, f"no {event}:\n{self.log_file.read_text()}"
        return found

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process
        return self._process.pid

    @property
    def url(self) -> str:
        """Where its status page is, without a slash at the end."""
        (ready,) = self.logged("daemon.ready")
        return str(ready["url"]).rstrip("/")

    def get(self, path: str, **headers: str) -> tuple[int, Mapping[str, str], str]:
        """Status, headers and body of a GET from its listener."""
        return self.ask("GET", path, **headers)

    def ask(self, method: str, path: str, **headers: str) -> tuple[int, Mapping[str, str], str]:
        """Status, headers and body of a request to its listener."""
        host = self.url.removeprefix("http://")
        with contextlib.closing(http.client.HTTPConnection(host, timeout=20)) as connection:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read().decode()

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    @staticmethod
    def _listen(listener: socket.socket, messages: list[str]) -> None:
        with listener:
            while True:
                messages.append(listener.recv(4096).decode())


def wait_for_request(registry: RegistryProcess) -> None:
    """Waits until somebody has a connection to a registry, which may be paused."""
    port = f":{registry.port:04X}"

    def connected() -> bool:
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return any(row[2].endswith(port) and row[3] == "01" for row in rows)

    wait_for(connected, f"a connection to {registry.host}")


def registries(**running: RegistryProcess) -> str:
    """`[registry.NAME]` tables."""
    return "".join(
        f'[registry.{name}]\nurl = "{registry.url}"\nauth = "anonymous"\ntimeout = "5s"\n'
        for name, registry in running.items()
    )


def rule(name: str, repos: Sequence[str], **keys: str) -> str:
    """A `[[replicate]]` rule from registry `a` to `b`, every hour; `keys` are TOML values."""
    values = {
        "source": '"a"',
        "target": '["b"]',
        "repos": json.dumps(list(repos)),
        "schedule": '"every 1h"',
        **keys,
    }
    return f'[[replicate]]\nname = "{name}"\n' + "".join(
        f"{key} = {value}\n" for key, value in values.items()
    )
