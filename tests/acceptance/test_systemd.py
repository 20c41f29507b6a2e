"""The units as systemd sees them, and the daemon under what they forbid."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from syncer.cli.session import DEFAULT_CONFIG
from syncer.rules.model import DEFAULT_STATE
from tests.content import series
from tests.daemon import PROGRAM, SyncerDaemon, registries, rule
from tests.registries import Factory, absent

UNITS = Path(__file__).parents[2] / "systemd"
SERVICES = ["syncer.service", "syncer@.service"]
_REFUSE_EXEC_GAIN = (65, 1)  # prctl: PR_SET_MDWE, what MemoryDenyWriteExecute= stands for


@pytest.fixture
def analyze(tmp_path: Path) -> Callable[..., str]:
    """Runs systemd-analyze over the units, their programs replaced by one that is there."""
    program = shutil.which("systemd-analyze")
    if program is None:
        absent("systemd-analyze")
    for unit in UNITS.iterdir():
        text = re.sub(r"=/opt/syncer/bin/\w+", "=/bin/true", unit.read_text())
        (tmp_path / unit.name).write_text(text)

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [program, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={"PATH": os.environ["PATH"], "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


@pytest.mark.parametrize("unit", ["syncer.service", "syncer@x.service", "syncer@x.timer"])
def test_the_units_are_clean(analyze: Callable[..., str], unit: str) -> None:
    assert analyze("verify", "--man=no", unit) == ""


@pytest.mark.parametrize("unit", SERVICES)
def test_exposure_is_at_most_one_and_a_half(analyze: Callable[..., str], unit: str) -> None:
    told = analyze("security", "--offline=true", "--threshold=15", f"./{unit}")
    exposure = re.search(r"Overall exposure level .*: ([\d.]+)", told)
    assert exposure
    assert 0 < float(exposure[1]) <= 1.5


@pytest.mark.parametrize("unit", SERVICES)
def test_programs_files_and_directories_are_those_of_the_program(unit: str) -> None:
    service = _service(unit)
    program, *arguments = service["ExecStart"][0].split()
    assert Path(program).name in {"syncer", "syncerd"}
    assert (PROGRAM.parent / Path(program).name).exists()
    assert arguments[-2] == "-c"
    assert arguments[-1].startswith("${CONFIGURATION_DIRECTORY}/")
    assert Path(DEFAULT_CONFIG) == Path("/etc", service["ConfigurationDirectory"][0], "rules.toml")
    assert Path(DEFAULT_STATE).parent == Path("/var/lib", service["StateDirectory"][0])
    assert service["User"] == ["syncer"]
    assert "u syncer " in (UNITS / "syncer.sysusers").read_text()


def test_a_wrong_file_is_not_tried_again_and_work_held_by_another_is_no_failure() -> None:
    assert _service("syncer.service")["RestartPreventExitStatus"] == ["78"]
    assert _service("syncer@.service")["SuccessExitStatus"] == ["75"]


def test_both_services_have_the_same_sandbox() -> None:
    first, second = (
        (UNITS / unit).read_text().split("\n[Install]")[0].partition("\nCapability")[2]
        for unit in SERVICES
    )
    assert first.strip() == second.strip() != ""


def test_the_daemon_works_where_memory_cannot_become_executable(
    tmp_path: Path, make_registry: Factory, repository: str
) -> None:
    """`MemoryDenyWriteExecute=yes`, by the kernel's own switch."""
    if ctypes.CDLL(None).prctl(66, 0, 0, 0, 0) < 0:
        pytest.skip("this kernel has no PR_SET_MDWE")
    source, target = make_registry(name="a"), make_registry(name="b")
    series(source, repository, 2)
    rules = registries(a=source, b=target) + rule("mirror", [repository])
    deny = f"import ctypes, os, sys; ctypes.CDLL(None).prctl{(*_REFUSE_EXEC_GAIN, 0, 0, 0)} and 1/0"
    command = [sys.executable, "-c", f"{deny}; os.execv(sys.argv[1], sys.argv[1:])", str(PROGRAM)]
    with SyncerDaemon(tmp_path, rules, command=command) as daemon:
        daemon.logged("run.finished", outcome="ok")
        daemon.send(signal.SIGTERM)
        assert daemon.wait() == 0


def _service(unit: str) -> dict[str, list[str]]:
    """The settings of `[Service]`; each may stand there several times."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in (UNITS / unit).read_text().splitlines():
        name, equals, value = line.partition("=")
        if line.startswith("["):
            section = line
        elif section == "[Service]" and equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found
