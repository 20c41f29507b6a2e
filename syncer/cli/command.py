"""The shape every command shares: common options anywhere on the line, exit statuses in the help."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

EXITS = {
    0: "done",
    1: "failed: nothing succeeded",
    2: "the command line is wrong",
    3: "partial: part of the work was left undone",
    4: "changes are pending",
    5: "refused by a guard; nothing of that was done",
    75: "all of it is held by another run",
    78: "the rules file is wrong",
    130: "interrupted",
}


class Command(click.Command):
    """A command that also takes `-c` and `-v` after its name, and ends its help with its exits.

    Args:
        exits: The statuses it may end with, beside 0, 1, 2 and 130.
        words: What a status means here, where that differs from `EXITS`.
    """

    def __init__(
        self,
        *args: Any,
        exits: Sequence[int] = (),
        words: dict[int, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.params += common()
        self._exits = {0, 1, 2, 130, *exits}
        self._words = EXITS | (words or {})

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command, after telling the session its name."""
        ctx.obj.command = self.name or ""
        return super().invoke(ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the table of exit statuses."""
        super().format_epilog(ctx, formatter)
        with formatter.section("Exit status"):
            formatter.write_dl([(str(code), self._words[code]) for code in sorted(self._exits)])


def common() -> list[click.Parameter]:
    """The options that may stand before or after the command's name."""
    return [
        click.Option(
            ["-c", "--config"],
            metavar="FILE",
            expose_value=False,
            callback=_keep,
            help="The rules file.  [default: $SYNCER_CONFIG, else /etc/syncer/rules.toml]",
        ),
        click.Option(
            ["-v", "--verbose"],
            is_flag=True,
            expose_value=False,
            callback=_keep,
            help="Show the log, and tracebacks of errors.",
        ),
    ]


def _keep(ctx: click.Context, param: click.Parameter, value: str | bool | None) -> None:  # noqa: FBT001
    if value and param.name:
        setattr(ctx.obj, param.name, value)


def as_json(function: Any) -> Any:
    """The option `--json`."""
    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        help="Print one JSON object on stdout.",
    )(function)


def repo_glob(function: Any) -> Any:
    """The option `--repo`."""
    return click.option(
        "--repo", metavar="GLOB", help="Only source repositories that GLOB matches."
    )(function)
