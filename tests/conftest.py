"""Fixtures for every test: a clean environment, hypothesis' profile, registries on loopback."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import structlog

from tests.authority import Authority
from tests.registries import KINDS, Factory, Options, RegistryProcess, UnsupportedError, absent

# The same examples every time; `--hypothesis-profile thorough` is for a run of its own.
for _profile, _examples in (("thorough", 2000), ("syncer", 100)):
    hypothesis.settings.register_profile(
        _profile, max_examples=_examples, derandomize=True, deadline=None, database=None
    )
hypothesis.settings.load_profile("syncer")

_STARTED = pytest.StashKey[list[RegistryProcess]]()
_LEAKY = re.compile(
    r"(?i)(https?|all|no|ftp)_proxy|SYNCER_.*|REGISTRY_AUTH_FILE|CREDENTIALS_DIRECTORY"
    r"|NOTIFY_SOCKET|WATCHDOG_.*|SSL_CERT_.*|XDG_.*|DOCKER_.*|NO_COLOR|FORCE_COLOR"
)


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home; nothing of the caller's proxies, credentials or settings reaches a test."""
    for name in [name for name in os.environ if _LEAKY.fullmatch(name)]:
        monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("DOCKER_CONFIG", str(home / ".docker"))
    for name in ("CONFIG", "STATE", "DATA", "CACHE", "RUNTIME"):
        suffix = "DIR" if name == "RUNTIME" else "HOME"
        monkeypatch.setenv(f"XDG_{name}_{suffix}", str(home / name.lower()))
    return home


@pytest.fixture(autouse=True)
def quiet_log() -> Iterator[None]:
    """Logging as it is before any test configures it: no test writes to another's stream."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def registry(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Factory]:
    """Starts registries for this test alone: `registry("docker", readonly=True)`."""
    with ExitStack() as running:

        def start(kind: str = "docker", **options: Any) -> RegistryProcess:
            started = _start(running, tmp_path_factory.mktemp(kind), kind, options)
            request.node.stash.setdefault(_STARTED, []).append(started)
            return started

        yield start


@pytest.fixture(scope="session")
def shared_registries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Factory]:
    """The running registries behind `make_registry`."""
    known: dict[str, RegistryProcess] = {}
    with ExitStack() as running:

        def get(kind: str = "docker", **options: Any) -> RegistryProcess:
            key = repr((kind, sorted(options.items())))
            if key not in known:
                directory = tmp_path_factory.mktemp(f"shared-{kind}")
                options.pop("name", None)
                known[key] = _start(running, directory, kind, options)
            return known[key]

        yield get


@pytest.fixture
def make_registry(request: pytest.FixtureRequest, shared_registries: Factory) -> Factory:
    """Registries shared by the session: same arguments, same process; `name=` tells two apart.

    Use `repository` for a name of the test's own, and leave nothing stopped or paused.
    """

    def get(kind: str = "docker", **options: Any) -> RegistryProcess:
        found = shared_registries(kind, **options)
        request.node.stash.setdefault(_STARTED, []).append(found)
        return found

    return get


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The certificate authority of the session."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def repository(request: pytest.FixtureRequest) -> str:
    """A repository name that no other test uses."""
    return f"t/{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:16]}"


def _start(
    running: ExitStack, directory: Path, kind: str, options: dict[str, Any]
) -> RegistryProcess:
    registry = KINDS[kind]
    if registry.find() is None:
        absent(registry.program, required=kind == "docker")
    try:
        return running.enter_context(registry(directory, Options(**options)))
    except UnsupportedError as error:
        pytest.skip(str(error))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Adds the end of each registry's log to the report of a failed test."""
    report = yield
    if report.failed:
        for started in item.stash.get(_STARTED, []):
            report.sections.append((f"{started.kind} {started.host}", started.log()))
    return report
