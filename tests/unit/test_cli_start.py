"""What a command imports before it does anything, and how the process ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from syncer import cli, errors
from syncer.cli import boundary, command
from syncer.cli.session import Session
from syncer.report import EXIT_CODES
from tests.program import PROGRAM, syncer

HEAVY = ["sqlmodel", "sqlalchemy", "httpx", "rich", "pydantic", "structlog", "re2"]
RULES = 'schema = 1\n[registry.eu]\nurl = "https://eu.example.com"\n'


def imported(*arguments: str) -> set[str]:
    """The modules a command line has imported when it ends."""
    code = (
        "import sys\nfrom syncer import cli\ncli.run(sys.argv[1:])\n"
        "print('\\nmodules:', *sys.modules)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True
    )
    return set(ended.stdout.rpartition("modules: ")[2].split())


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["sync", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    assert imported(*arguments).isdisjoint(HEAVY)


def test_check_touches_neither_the_state_nor_the_network(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(RULES)
    assert imported("-c", str(rules), "check").isdisjoint({"sqlmodel", "sqlalchemy", "httpx"})


@pytest.mark.parametrize("name", cli._COMMANDS)
def test_the_help_of_every_command_ends_with_its_exit_statuses(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([name, "--help"]) == 0
    before, found, statuses = capsys.readouterr().out.partition("\nExit status:\n")
    assert (bool(found), before.startswith(f"Usage: syncer {name} ")) == (True, True)
    codes = {int(line.split()[0]) for line in statuses.splitlines() if line[2:3].isdigit()}
    assert {0, 1, 2, 130} <= codes <= command.EXITS.keys()


def test_every_outcome_of_a_run_has_an_exit_status_of_the_table() -> None:
    assert set(EXIT_CODES.values()) <= command.EXITS.keys()


def test_every_error_class_ends_with_a_status_of_the_table() -> None:
    def tree(kind: type[errors.SyncerError]) -> set[int]:
        return {kind.exit_code}.union(*(tree(each) for each in kind.__subclasses__()))

    assert tree(errors.SyncerError) <= command.EXITS.keys()


def end_of(error: BaseException, *, verbose: bool = False) -> int:
    def fail() -> int:
        raise error

    return boundary.guarded(fail, Session(verbose=verbose), as_json=False)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError("no"), 2),
        (errors.RefusedError("no"), 5),
        (errors.HeldError("no"), 75),
        (errors.StateError("no"), 1),
        (errors.UnauthorizedError("no"), 1),
    ],
)
def test_an_error_is_one_sentence_and_the_status_of_its_class(
    error: errors.SyncerError, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert end_of(error) == code
    assert capsys.readouterr() == ("", "syncer: error: no\n")


def test_causes_are_told_once_and_secrets_never(capsys: pytest.CaptureFixture[str]) -> None:
    low = errors.UnavailableError("https://u:hunter22@x.example: refused")
    high = errors.StateError("eu is not reached")
    high.__cause__ = low
    end_of(high)
    told = "syncer: error: eu is not reached: https://u:***@x.example: refused\n"
    assert capsys.readouterr().err == told


def test_what_nobody_expected_is_a_line_and_a_traceback_only_with_v(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert end_of(ZeroDivisionError("oh")) == 1
    line = "syncer: error: unexpected ZeroDivisionError: oh"
    assert capsys.readouterr().err == f"{line}; run again with -v for the traceback\n"
    assert end_of(ZeroDivisionError("oh"), verbose=True) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"{line}\n")
    assert "Traceback (most recent call last)" in err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_ctrl_c_where_nothing_runs_is_130(
    error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    assert end_of(error) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_who_closes_stdout_early_hears_nothing_about_it(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(RULES)
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [PROGRAM, "-c", rules, "check"], check=False, stdout=writing, stderr=subprocess.PIPE
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_the_installed_program_tells_its_version() -> None:
    ended = syncer("--version")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("syncer 0.")
