"""The programs that are compared: how each is told to bring one registry in step with another."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.process import TOOLS

ROOT = Path(__file__).resolve().parent.parent
SYNCER = str(ROOT / ".venv/bin/syncer")


@dataclass(frozen=True)
class Task:
    """What is to be brought in step.

    Attributes:
        directory: Where a tool's configuration goes.
        source: HOST:PORT.
        target: HOST:PORT.
        repositories: All of them are copied, under the same names.
        ca_file: The authority both registries are signed by; None without TLS.
    """

    directory: Path
    source: str
    target: str
    repositories: Sequence[str]
    ca_file: Path | None = None

    @property
    def environment(self) -> Mapping[str, str]:
        """What Go programs and Python's ssl need to trust both registries."""
        return {"SSL_CERT_FILE": str(self.ca_file)} if self.ca_file else {}

    def write(self, name: str, text: str) -> str:
        """A file in the directory; its path."""
        path = self.directory / name
        path.write_text(text)
        return str(path)


class Tool:
    """A program; the columns of a table are named after it."""

    name: str

    def found(self) -> str | None:
        """Its path, ours first, then the machine's; None where it is not installed."""
        ours = TOOLS / self.name.split()[0]
        return str(ours) if ours.exists() else shutil.which(ours.name)

    def version(self) -> str:
        """The line it says its version in."""
        return _version([str(self.found()), "--version"])

    def command(self, task: Task) -> list[str]:
        """The command line that does the task."""
        raise NotImplementedError

    def prepare(self, task: Task, *, filled: bool) -> None:
        """Makes ready for a run that is not counted as a part of it."""


class Syncer(Tool):
    """syncer, with the defaults of its rules file."""

    name = "syncer"

    def found(self) -> str | None:
        """The one of this tree."""
        return SYNCER

    def command(self, task: Task) -> list[str]:
        """`syncer sync`, which says on stdout what it did."""
        return [SYNCER, "-c", str(task.directory / "rules.toml"), "sync", "--json"]

    def prepare(self, task: Task, *, filled: bool) -> None:
        """Writes the rules; the state is empty for a cold run, else it knows the last one."""
        state = task.directory / "state.db"
        rules = task.write("rules.toml", _rules(task, state))
        if not filled:
            for path in task.directory.glob(f"{state.name}*"):
                path.unlink()
            subprocess.run([SYNCER, "-c", rules, "status"], check=True, capture_output=True)
        elif not state.exists():
            subprocess.run(self.command(task), check=True, capture_output=True)


class Regsync(Tool):
    """regsync, with its defaults."""

    name = "regsync"

    def version(self) -> str:
        """Its tag."""
        return _version([str(self.found()), "version"])

    def command(self, task: Task) -> list[str]:
        """`regsync once`."""
        tls = {"tls": "enabled"} if task.ca_file else {"tls": "disabled"}
        config = {
            "version": 1,
            "creds": [{"registry": host, **tls} for host in (task.source, task.target)],
            "sync": [
                {
                    "source": f"{task.source}/{name}",
                    "target": f"{task.target}/{name}",
                    "type": "repository",
                }
                for name in task.repositories
            ],
        }
        path = task.write("regsync.yml", json.dumps(config))  # JSON is YAML
        return [str(self.found()), "--verbosity", "warn", "once", "-c", path]


@dataclass
class Crane(Tool):
    """crane, with a number of workers."""

    jobs: int
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = f"crane -j{self.jobs}"

    def version(self) -> str:
        """Its tag."""
        return f"crane {_version([str(self.found()), 'version'])}"

    def command(self, task: Task) -> list[str]:
        """`crane copy -a`, for one repository after another."""
        insecure = "" if task.ca_file else " --insecure"
        copies = (
            f"{self.found()} copy{insecure} -a -j {self.jobs} {task.source}/{name} {task.target}/{name}"
            for name in task.repositories
        )
        return ["sh", "-ec", "\n".join(copies)]


class Skopeo(Tool):
    """`skopeo sync`."""

    name = "skopeo"

    def command(self, task: Task) -> list[str]:
        """From a list of repositories; it puts them below one prefix by their last names."""
        verify = bool(task.ca_file)
        wanted = {"images": {name: [] for name in task.repositories}, "tls-verify": verify}
        path = task.write("skopeo.yml", json.dumps({task.source: wanted}))
        (prefix,) = {name.rpartition("/")[0] for name in task.repositories}
        flags = [f"--src-tls-verify={verify}".lower(), f"--dest-tls-verify={verify}".lower()]
        to = f"{task.target}/{prefix}"
        return [str(self.found()), "sync", "--src", "yaml", "--dest", "docker", *flags, path, to]


def _version(command: list[str]) -> str:
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    return ended.stdout.splitlines()[0]


def _rules(task: Task, state: Path) -> str:
    scheme = "https" if task.ca_file else "http"
    ca_file = f'ca_file = "{task.ca_file}"\n' if task.ca_file else ""
    registries = "".join(
        f'[registry.{name}]\nurl = "{scheme}://{host}"\nauth = "anonymous"\n{ca_file}'
        for name, host in (("source", task.source), ("target", task.target))
    )
    rule = (
        '[[replicate]]\nname = "bench"\nsource = "source"\ntarget = "target"\n'
        f"repos = {json.dumps(list(task.repositories))}\ntags = ['*']\n"
    )
    return f'schema = 1\n[state]\nurl = "sqlite:///{state}"\n{registries}{rule}'
