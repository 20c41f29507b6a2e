"""Real registries as processes on loopback: started by a test, ended with it, all in its directory.

Recipes: reference/registries.md section 6. Each takes port 0 and logs the port it got, so there is
no race for free ports. `setpriv --pdeathsig` ends a registry with the *thread* that started it:
start one from the main thread, as fixtures do.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NoReturn, Self

import bcrypt
import pytest

from tests.authority import Authority

TOOLS = Path(__file__).resolve().parent.parent / ".tools" / "bin"
PATIENCE = 60.0
"""Seconds a registry may take to start, end or log before the test fails."""
PROBE = "tests-probe"
"""User-Agent of our own probes, left out of `requests()`."""


class NotStartedError(Exception):
    """A registry ended or stayed silent instead of listening; carries the end of its log."""


class UnsupportedError(Exception):
    """This kind of registry has no such option."""


def wait_for(condition: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    """Return as soon as `condition` holds; the one way of waiting in the tests.

    Raises:
        TimeoutError: It did not hold within `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {patience:.0f} s for {what}")
        time.sleep(0.005)


def absent(program: str, *, required: bool = False) -> NoReturn:
    """Skips the test for want of a program; in CI a `required` one fails it."""
    reason = f"{program} is not installed; scripts/tools installs it where it can"
    if required and os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass(frozen=True, kw_only=True)
class Token:
    """The token server that a registry sends its clients to."""

    realm: str
    rootcertbundle: Path
    service: str = "test-registry"
    issuer: str = "test-issuer"


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a registry is set up; the default is an open one that lets content be deleted."""

    delete: bool = True
    readonly: bool = False
    users: Mapping[str, str] = field(default_factory=dict)
    tls: Authority | None = None
    clients: Authority | None = None  # who has signed the certificates that clients must show
    token: Token | None = None
    redirect: str = ""
    proxy: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """One line of a registry's access log."""

    method: str
    path: str
    status: int
    agent: str


class RegistryProcess:
    """One registry: a context manager; between `with` and its end it answers at `url`."""

    kind: ClassVar[str]
    program: ClassVar[str]

    def __init__(self, directory: Path, options: Options | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.options = options or Options()
        self.data = directory / "data"
        self.log_file = directory / "registry.log"
        self.log_file.touch()
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._paused = False
        self._forgotten = 0
        self._probes = 0
        self._users = self._write_users()
        self._certificate = self.options.tls.issue() if self.options.tls else None

    @classmethod
    def find(cls) -> str | None:
        """Path of the program, ours first, then the machine's; None where there is none."""
        ours = TOOLS / cls.program
        return str(ours) if os.access(ours, os.X_OK) else shutil.which(cls.program)

    @property
    def host(self) -> str:
        """`127.0.0.1:PORT`, as it stands in a reference."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Scheme and host, without a slash at the end."""
        return f"{'https' if self.options.tls else 'http'}://{self.host}"

    @property
    def ca_file(self) -> Path | None:
        """The authority to trust, where this registry speaks TLS."""
        return self.options.tls.ca_file if self.options.tls else None

    def __enter__(self) -> Self:
        """Start, and wait until `/v2/` answers."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the process; its directory stays for whoever reads the log."""
        self.kill()

    def start(self) -> None:
        """Start on the port it had before, on a free one the first time; wait until it answers.

        Raises:
            NotStartedError: It ended, or did not answer in time.
        """
        deadline = time.monotonic() + PATIENCE
        while not self._spawn():
            # Only a port of before can be taken: by a passing connection, so it comes free again.
            if "address already in use" not in self.log() or time.monotonic() > deadline:
                raise NotStartedError(f"{self.kind} did not start:\n{self.log()}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Ask it to end (SIGTERM) and wait for that; `start()` brings it back with its content."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it without warning (SIGKILL), paused or not."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start on the same port, with the same content."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections are taken by the kernel, nothing is answered."""
        self._signal(signal.SIGSTOP)
        wait_for(self._is_frozen, f"{self.kind} to stop")  # each of its threads, a moment later
        self._paused = True

    def resume(self) -> None:
        """Go on after `pause()`."""
        self._signal(signal.SIGCONT)
        self._paused = False

    def running(self) -> bool:
        """Whether the process lives, paused or not."""
        return self._process is not None and self._process.poll() is None

    def log(self, lines: int = 40) -> str:
        """The last lines it wrote, for the report of a failed test; answers only as access lines."""
        written = self.log_file.read_text(errors="replace").splitlines()
        told = [line[:300] for line in written if '"msg":"response completed"' not in line]
        return "\n".join(told[-lines:])

    def requests(self) -> list[Request]:
        """What it answered since its start or `forget_requests()`, in the order of its log."""
        self._settle()
        with self.log_file.open("rb") as log:
            log.seek(self._forgotten)
            found = [self._parse(line) for line in log.read().decode(errors="replace").splitlines()]
        return [request for request in found if request and request.agent != PROBE]

    def methods(self) -> Counter[str]:
        """`requests()` counted by method."""
        return Counter(request.method for request in self.requests())

    def forget_requests(self) -> None:
        """Count from here on."""
        self._settle()
        self._forgotten = self.log_file.stat().st_size

    def blob_file(self, digest: str) -> Path:
        """The file that holds a blob's or manifest's bytes, to look at or to damage.

        Raises:
            FileNotFoundError: The registry has no such content.
        """
        algorithm, encoded = digest.split(":")
        path = self.data / "docker/registry/v2/blobs" / algorithm / encoded[:2] / encoded / "data"
        if not path.exists():
            raise FileNotFoundError(path)
        return path

    def probe(self, path: str = "/v2/") -> int:
        """Status of a GET of `path`, without credentials; not counted in `requests()`."""
        connection = self.connect()
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"User-Agent": PROBE})
            return connection.getresponse().status

    def connect(self, timeout: float = PATIENCE) -> http.client.HTTPConnection:
        """A connection of the standard library to this registry, its authority trusted."""
        if not self.options.tls:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.options.clients:
            context.load_cert_chain(*self.options.clients.issue("probe"))
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout, context=context)

    def _config(self) -> dict[str, Any]:
        raise NotImplementedError

    def _parse(self, line: str) -> Request | None:
        raise NotImplementedError

    def _listening(self, log: str) -> int:
        raise NotImplementedError

    def _write_users(self) -> Path | None:
        if not self.options.users:
            return None
        path = self.directory / "htpasswd"
        lines = (
            f"{user}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}\n"
            for user, password in self.options.users.items()
        )
        path.write_text("".join(lines))
        return path

    def _spawn(self) -> bool:
        program = self.find()
        if program is None:
            raise NotStartedError(f"{self.program} is not installed; run scripts/tools")
        config = self.directory / "config.json"
        config.write_text(json.dumps(_merge(self._config(), self.options.extra), indent=1))
        start = self.log_file.stat().st_size
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", program, "serve", str(config)],
                # A REGISTRY_* of the caller would override the file; v3 traces unless told not to.
                env={"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"},
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self._wait_ready(start)

    def _wait_ready(self, start: int) -> bool:
        def ready() -> bool:
            written = self.log_file.read_bytes()[start:].decode(errors="replace")
            self.port = self.port or self._listening(written)
            return not self.running() or (self.port > 0 and self._answers())

        try:
            wait_for(ready, f"{self.kind} to listen")
        except TimeoutError as error:
            self.kill()
            raise NotStartedError(f"{error}:\n{self.log()}") from error
        return self.running()

    def _answers(self) -> bool:
        try:
            return self.probe() in (200, 401)
        except OSError:
            return False

    def _settle(self) -> None:
        # The log line of an answer may trail the answer; the line of a later probe ends the wait.
        if not self.running() or self._paused:
            return
        self._probes += 1
        path = f"/v2/?probe={self._probes}"
        self.probe(path)
        wait_for(lambda: path in self.log_file.read_text(errors="replace"), "the access log")

    def _is_frozen(self) -> bool:
        assert self._process
        threads = Path(f"/proc/{self._process.pid}/task").glob("*/stat")
        return all(each.read_text().rpartition(")")[2].split()[0] == "T" for each in threads)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None or not self.running():
            raise NotStartedError(f"{self.kind} is not running")
        self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        self._process.send_signal(signal.SIGCONT)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process, self._paused = None, False


def _merge(base: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in extra.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged
