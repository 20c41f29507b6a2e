"""The installed `syncer` as a subprocess, as an operator's shell runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = Path(sys.executable).with_name("syncer")
_PATIENCE = 60


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one object on stdout."""
        return json.loads(self.out)


def start(*arguments: str | Path, config: Path | None = None) -> subprocess.Popen[str]:
    """Starts a command; its output is piped."""
    options = ["-c", str(config)] if config else []
    return subprocess.Popen(
        [PROGRAM, *options, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"COLUMNS": "80"},
    )


def end(process: subprocess.Popen[str]) -> Ended:
    """Waits for a command's end."""
    try:
        out, err = process.communicate(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"no end within {_PATIENCE} s: {out}{err}") from None
    return Ended(process.returncode, out, err)


def syncer(*arguments: str | Path, config: Path | None = None) -> Ended:
    """Runs a command to its end."""
    return end(start(*arguments, config=config))
