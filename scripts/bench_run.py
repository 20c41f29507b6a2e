"""Runs cases: every tool in turn, round after round, so that all meet the same machine."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from scripts import bench_plan, bench_request, bench_table
from scripts.bench_cases import CASES, QUICK, Case
from scripts.bench_stage import FailedRunError, Stage, Taken
from scripts.bench_tools import SYNCER, Tool

_PATIENCE = 5
_OTHERS = {
    "start": "syncer --help, and what Python itself takes",
    "request": bench_request.TITLE,
    "plan-1000000": bench_plan.TITLE,
}


def main(arguments: Sequence[str]) -> None:
    """Measures what the command line asks for and prints a table for each case."""
    options = _options(arguments)
    if options.list:
        for name, title in _titles().items():
            print(f"{name:16} {title}{' (quick)' if name in QUICK else ''}")
        return
    print(_machine(), flush=True)
    kept: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.directory) as directory:
        for name in options.case or QUICK:
            if name == "start":
                print(_start(options.rounds), flush=True)
            elif name == "request":
                print(bench_request.report(Path(directory)), flush=True)
            elif name == "plan-1000000":
                print(bench_plan.report(Path(directory)), flush=True)
            else:
                results = _play(CASES[name], Path(directory) / name, options)
                kept[name] = {tool: [asdict(run) for run in runs] for tool, runs in results.items()}
    if options.json:
        options.json.write_text(json.dumps(kept, indent=1))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("case", nargs="*", choices=[*_titles(), []], metavar="CASE")
    parser.add_argument("--list", action="store_true", help="name the cases")
    parser.add_argument("--rounds", type=int, default=5, help="how often each tool runs (5)")
    parser.add_argument("--tool", action="append", default=[], help="only tools of this name")
    parser.add_argument("--directory", type=Path, help="where the registries keep their content")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every single result")
    return parser.parse_args(arguments)


def _titles() -> dict[str, str]:
    return {name: case.title for name, case in CASES.items()} | _OTHERS


def _play(case: Case, directory: Path, options: argparse.Namespace) -> dict[str, list[Taken]]:
    tools = [tool for tool in case.tools if tool.found() and _wanted(tool, options)]
    results: dict[str, list[Taken]] = {tool.name: [] for tool in tools}
    with Stage(case, directory) as stage:
        for number in range(case.rounds or options.rounds):
            turn = number % len(tools)
            for tool in (*tools[turn:], *tools[:turn]):
                if not (results[tool.name] and tool.name in case.once):
                    results[tool.name].append(_run(stage, tool))
    print(file=sys.stderr)
    print(f"\n{bench_table.table(case, results)}\n")
    print("\n".join(bench_table.verdicts(case, results)), flush=True)
    return results


def _run(stage: Stage, tool: Tool) -> Taken:
    """A run that succeeds; a peer may fail before, which is said, and is not counted."""
    for _ in range(_PATIENCE):
        try:
            taken = stage.run(tool)
        except FailedRunError as error:
            print(f"\n{tool.name} failed: {error}", file=sys.stderr, flush=True)
            if tool.name == "syncer":
                break
        else:
            print(f"{tool.name} {taken.wall:.2f} s", end="; ", file=sys.stderr, flush=True)
            return taken
    sys.exit(f"{tool.name} does not do this task")


def _wanted(tool: Tool, options: argparse.Namespace) -> bool:
    return not options.tool or tool.name in (*options.tool, "syncer")


def _start(rounds: int) -> str:
    """How long `syncer --help` takes beside the interpreter alone."""
    commands = {
        "syncer --help": [SYNCER, "--help"],
        "python -c pass": [sys.executable, "-c", "pass"],
    }
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(max(rounds, 10)):
        for name, command in commands.items():
            began = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            taken[name].append(time.perf_counter() - began)
    found = {name: median(each) for name, each in taken.items()}
    word = "met" if found["syncer --help"] <= 0.3 else "missed"
    lines = [f"- {name}: {seconds:.3f} s" for name, seconds in found.items()]
    return "\n".join(("\n### Start\n", *lines, f"- bar 0.3 for syncer --help: {word}"))


def _machine() -> str:
    """The day, the machine and the versions, in lines of Markdown."""
    model = next(
        (
            line.partition(": ")[2]
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    tools: dict[str, Tool] = {}
    for case in CASES.values():
        tools |= {str(tool.found()): tool for tool in case.tools if tool.found()}
    load = os.getloadavg()[0]
    registry = subprocess.run(["docker-registry", "--version"], capture_output=True, text=True)  # noqa: S607, PLW1510 - without it nothing starts
    return "\n".join(
        (
            (
                f"{dt.datetime.now(dt.UTC):%F %R}Z, {os.cpu_count()} cores of {model}, load"
                f" {load:.1f}, Linux {platform.release()}, Python {platform.python_version()}"
            ),
            *(tool.version() for tool in tools.values()),
            registry.stdout.strip(),
        )
    )


if __name__ == "__main__":
    main(sys.argv[1:])
