"""Where words go: results on stdout, everything else on stderr, and both readable when piped.

Colours only on a terminal without `NO_COLOR`; no line is wrapped or padded in a pipe. Who closes
stdout early (`| head`) is not told about it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

# Wide enough that nothing is wrapped where there is no screen to fit.
_PIPE_WIDTH = 100_000
STYLES = {
    "ok": "green",
    "empty": "yellow",
    "held": "yellow",
    "partial": "yellow",
    "refused": "red",
    "failed": "red",
    "wrong": "red",
    "conflict": "yellow",
    "interrupted": "yellow",
    "running": "cyan",
}


def on(stream: IO[str]) -> Console:
    """A console over `stream` as it is now; tests and pipes replace the streams of `sys`."""
    from rich.console import Console

    return Console(
        file=stream,
        width=None if stream.isatty() else _PIPE_WIDTH,
        highlight=False,
        markup=False,
        emoji=False,
    )


def say(text: str = "", style: str = "") -> None:
    """A line of the result."""
    _print(sys.stdout, text, style)


def tell(text: str, style: str = "") -> None:
    """A line that is not the result, on stderr."""
    _print(sys.stderr, text, style)


def outcome(word: str, rest: str) -> None:
    """A line that begins with an outcome in its colour: `ok: ...`."""
    if not sys.stdout.isatty():
        say(f"{word}: {rest}")
        return
    from rich.text import Text

    _print(sys.stdout, Text.assemble((word, f"bold {STYLES.get(word, '')}".strip()), f": {rest}"))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, indent: int = 0) -> None:
    """Rows under their heads on stdout; a head that begins with `>` is a column of numbers.

    A column that is empty in every row is left out. Words that name an outcome get its colour.
    """
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    body = [[str(cell) for cell in row] for row in rows]
    used = [number for number in range(len(heads)) if any(row[number] for row in body)]
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number in used:
        head = heads[number]
        made.add_column(
            head.removeprefix(">"), justify="right" if head[0] == ">" else "left", overflow="fold"
        )
    for row in body:
        made.add_row(*(Text(row[number], STYLES.get(row[number], "")) for number in used))
    _print(sys.stdout, Padding(made, (0, 0, 0, indent)))


def emit(value: Any) -> None:
    """`value` as the one JSON object of stdout."""
    _write(sys.stdout, json.dumps(value, indent=2, ensure_ascii=False, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    return str(value)


def _print(stream: IO[str], what: RenderableType, style: str = "") -> None:
    if isinstance(what, str) and not stream.isatty():
        _write(stream, f"{what}\n")  # spares the import of rich where it would add nothing
        return
    console = on(stream)
    if isinstance(what, str):
        what = _hanging(what, style)
    with console.capture() as captured:
        console.print(what)
    lines = captured.get().splitlines()
    _write(stream, "".join(f"{line.rstrip()}\n" for line in lines))


def _hanging(line: str, style: str) -> RenderableType:
    """A line that is wrapped, where it must be, below its own beginning."""
    from rich.padding import Padding
    from rich.text import Text

    text = line.lstrip(" ")
    return Padding(Text(text, style), (0, 0, 0, len(line) - len(text)))


def _write(stream: IO[str], text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        _hush(stream)


def _hush(stream: IO[str]) -> None:
    """Lets whatever else is written to a closed pipe disappear."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
