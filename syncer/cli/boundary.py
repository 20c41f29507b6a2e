"""Where every command ends: errors become a sentence and an exit code, tracebacks only with `-v`."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from typing import Any

import click

from syncer import errors
from syncer.cli import console
from syncer.cli.session import Session

_OUTCOMES = {3: "partial", 5: "refused", 75: "held", 130: "interrupted"}


def guarded(call: Callable[[], int | None], session: Session, *, as_json: bool) -> int:
    """Runs `call` and returns the exit code; whatever it raises is told on stderr.

    Args:
        call: The command.
        session: Says, once the command line is read, what command it is and whether `-v` was given.
        as_json: Whether stdout must get an object that says what went wrong.
    """
    entries: list[dict[str, Any]] = []
    try:
        return call() or 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        console.tell("interrupted")
        code = 130
    except Exception as error:  # noqa: BLE001 - the one boundary of the process
        code, entries = _explain(error, verbose=session.verbose)
    if as_json:
        outcome = _OUTCOMES.get(code, "failed")
        console.emit({"command": session.command, "outcome": outcome, "errors": entries})
    return code


def _explain(error: Exception, *, verbose: bool) -> tuple[int, list[dict[str, Any]]]:
    """Tells what went wrong; returns the exit code and what JSON says about it."""
    code, hint = 1, ""
    entries: list[dict[str, Any]] = []
    if isinstance(error, errors.RulesError):
        _tell_rules(error)
        code, entries = error.exit_code, list(_problems(error))
    else:
        if isinstance(error, errors.SyncerError):
            code, message, name = error.exit_code, sentence(error), error.code
        else:
            message, name = (
                f"unexpected {type(error).__name__}: {_masked(str(error))}",
                "UNEXPECTED",
            )
            hint = "" if verbose else "; run again with -v for the traceback"
        console.tell(f"syncer: error: {message}{hint}")
        entries = [_entry("", name, message)]
    if verbose:
        console.tell(_masked("".join(traceback.format_exception(error))))
    return code, entries


def sentence(error: errors.SyncerError) -> str:
    """The error and those it came from, in one sentence, nothing said twice."""
    parts = [str(error)]
    cause = error.__cause__
    while isinstance(cause, errors.SyncerError):
        if str(cause) not in parts[-1]:
            parts.append(str(cause))
        cause = cause.__cause__
    return _masked(": ".join(parts))


def _tell_rules(error: errors.RulesError) -> None:
    for problem in error.problems:
        line = f":{problem}" if problem.line else f": {problem.message}"
        console.tell(f"{error.file}{line}")
    count = len(error.problems)
    problems = "1 problem" if count == 1 else f"{count} problems"
    console.tell(f"syncer: error: {problems} in {error.file}; nothing was started")


def _problems(error: errors.RulesError) -> Iterator[dict[str, Any]]:
    for problem in error.problems:
        place = (
            f"{error.file}:{problem.line} {problem.path}".strip() if problem.line else error.file
        )
        yield _entry(place, error.code, problem.message)


def _entry(reference: str, code: str, message: str) -> dict[str, Any]:
    return {"rule": "", "reference": reference, "code": code, "message": message}


def _masked(text: str) -> str:
    from syncer import log

    return log.mask(text)
