"""`syncer`, the command line: options, tables, progress, JSON and exit codes; no logic.

Each command is a module of this package, imported when it is asked for, and imports what is heavy
(rich, pydantic, SQLModel, the registry client) when it runs. That keeps `--help` under 0.3 s.
"""

from __future__ import annotations

import gc
import importlib
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from syncer.cli import boundary, command, signals
from syncer.cli.session import Session

# In the order of the help.
_COMMANDS = (
    "check",
    "plan",
    "sync",
    "copy",
    "prune",
    "apply",
    "why",
    "undo",
    "verify",
    "ls",
    "status",
    "history",
)


class Commands(click.Group):
    """The commands, each in the module of its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The names, in the order of the help."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of that name."""
        if cmd_name not in _COMMANDS:
            return None
        found: click.Command = importlib.import_module(f"syncer.cli.{cmd_name}").command
        return found


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: ARG001, FBT001
    if value:
        from importlib import metadata

        click.echo(f"syncer {metadata.version('syncer')}")
        ctx.exit()


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    params=command.common(),
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Show the version and exit.",
)
def syncer() -> None:
    """Keeps container registries in step and in bounds, from one rules file.

    REF names a registry of that file, then repository and tag: us/prod/app:v1.4.2
    """


def run(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit code."""
    session = Session()
    before = signal.signal(signal.SIGTERM, signals.interrupt)
    try:
        return boundary.guarded(
            lambda: syncer.main(list(arguments), "syncer", standalone_mode=False, obj=session),
            session,
            as_json="--json" in arguments,
        )
    finally:
        signal.signal(signal.SIGTERM, before)


def main() -> NoReturn:
    """The entry point of the `syncer` program."""
    # Imports alone make eighty thousand objects that stay: collect less often.
    gc.set_threshold(100_000, 20)
    code = run(sys.argv[1:])
    gc.freeze()  # the interpreter's last collection would walk all of them, which takes 50 ms
    sys.exit(code)
