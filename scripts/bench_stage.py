"""Where a case is played: two registries, perhaps far away, filled as the case says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from scripts.bench_cases import Case
from scripts.bench_seed import Layout, tags_of
from scripts.bench_tools import Task, Tool
from tests.authority import Authority
from tests.registries import DockerRegistry, Options, Request

_HERE = Path(__file__).resolve().parent
_DIGEST = re.compile(r"sha256(?::|%3A)([0-9a-f]{64})")


@dataclass
class Taken:
    """What one run of one tool took.

    Attributes:
        wall, cpu: Seconds.
        rss: Peak memory in MB.
        sides: Requests by method, at the source and at the target.
        read, written: Bytes of blobs and manifests that left the source and reached the target.
        start: Seconds before and after the run proper, where the tool says; else None.
    """

    wall: float
    cpu: float
    rss: float
    sides: Mapping[str, Counter[str]] = field(default_factory=dict)
    read: int = 0
    written: int = 0
    start: float | None = None

    @property
    def requests(self) -> int:
        """Requests to both sides."""
        return sum(sum(side.values()) for side in self.sides.values())


class FailedRunError(Exception):
    """The tool failed, or did not do all of its task; the message says which."""


class Stage:
    """The registries of one case. A context manager."""

    def __init__(self, case: Case, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.case = case
        self.directory = directory
        self.layout = Layout(directory / "content")
        case.seed(self.layout)
        authority = Authority(directory / "authority") if case.tls else None
        self._kept = directory / "target"
        roots = {
            "source": self.layout.root,
            "target": self.layout.root if case.filled else self._kept,
        }
        self.registries = {
            side: DockerRegistry(directory / f"registry-{side}", _options(root, authority))
            for side, root in roots.items()
        }
        self._stack = ExitStack()
        self._ports: list[int] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if self.case.tiny:
                for _ in self.registries:
                    program = ["bench_tiny.py", str(self.case.tiny)]
                    self._ports += stack.enter_context(_serving(program))
            else:
                for registry in self.registries.values():
                    stack.enter_context(registry)
                    self._ports.append(registry.port)
            if self.case.delay:
                program = ["bench_delay.py", str(self.case.delay), *map(str, self._ports)]
                self._ports = stack.enter_context(_serving(program))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, tool: Tool) -> Taken:
        """One run, from a fresh start of both registries to the count of what they were asked.

        Raises:
            FailedRunError: There is nothing to count.
        """
        task = self._task(tool)
        if not self.case.filled:
            shutil.rmtree(self._kept, ignore_errors=True)
        tool.prepare(task, filled=self.case.filled)
        if not self.case.tiny:
            for registry in self.registries.values():
                registry.stop()
                os.truncate(registry.log_file, 0)
                registry.start()
        os.sync()  # what the one before has written is no load for this one
        taken, output = _spawn(tool.command(task), task)
        if tool.name == "syncer":
            taken.start = taken.wall - json.loads(output)["seconds"]
        if not self.case.tiny:
            self._count(taken)
            self._check()
        return taken

    def _task(self, tool: Tool) -> Task:
        directory = self.directory / tool.name.replace(" ", "")
        directory.mkdir(exist_ok=True)
        hosts = [f"127.0.0.1:{port}" for port in self._ports]
        ca_file = self.registries["source"].ca_file
        return Task(directory, hosts[0], hosts[1], list(self.layout.repositories), ca_file)

    def _count(self, taken: Taken) -> None:
        asked = {side: registry.requests() for side, registry in self.registries.items()}
        taken.sides = {
            side: Counter(each.method for each in requests) for side, requests in asked.items()
        }
        taken.read = sum(self._size(each, "GET", (200, 206)) for each in asked["source"])
        taken.written = sum(self._size(each, "PUT", (201,)) for each in asked["target"])

    def _size(self, request: Request, method: str, ok: tuple[int, ...]) -> int:
        """What a request moved; manifests are so small that theirs are left out."""
        if request.method != method or request.status not in ok:
            return 0
        found = _DIGEST.search(request.path)
        return self.layout.sizes.get(f"sha256:{found[1]}", 0) if found else 0

    def _check(self) -> None:
        for repository, count in self.layout.repositories.items():
            root = self.layout.root if self.case.filled else self._kept
            if (there := tags_of(root, repository)) != count:
                raise FailedRunError(f"{repository} has {there} of {count} tags at the target")


def _options(root: Path, authority: Authority | None) -> Options:
    place = {"storage": {"filesystem": {"rootdirectory": str(root)}}}
    return Options(tls=authority, extra=place)


def _spawn(command: list[str], task: Task) -> tuple[Taken, str]:
    result, output, said = (task.directory / name for name in ("took.json", "stdout", "stderr"))
    environment = {**os.environ, **task.environment}
    with output.open("wb") as out, said.open("wb") as err:
        subprocess.run(
            [sys.executable, "-IS", _HERE / "bench_spawn.py", result, *command],
            check=True,
            stdout=out,
            stderr=err,
            env=environment,
        )
    took: dict[str, Any] = json.loads(result.read_text())
    if took.pop("code"):
        raise FailedRunError(f"{' '.join(command)}:\n{said.read_text()[-2000:]}")
    return Taken(**took), output.read_text()


@contextmanager
def _serving(program: list[str]) -> Iterator[list[int]]:
    """The ports that a program of ours prints; it ends with the block."""
    command = ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, str(_HERE / program[0])]
    with subprocess.Popen([*command, *program[1:]], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout  # noqa: S101 - a pipe was asked for
            yield [int(port) for port in process.stdout.readline().split()]
        finally:
            process.kill()
