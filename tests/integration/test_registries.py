"""The registries of the tests do what their options say, and their content arrives as built."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import content
from tests.authority import Authority
from tests.client import ACCEPT, Client, ask, delete
from tests.content import Content
from tests.registries import (
    DockerRegistry,
    Factory,
    NotStartedError,
    Token,
    absent,
    distributions,
    every_kind,
    wait_for,
)

SHAPES: dict[str, Callable[[], Content]] = {
    "manifest": content.manifest,
    "docker manifest": lambda: content.manifest(docker=True),
    "platforms": content.platforms,
    "docker platforms": lambda: content.platforms(docker=True),
    "attested": content.attested,
    "nested index": lambda: content.index(content.platforms(), content.manifest()),
    "empty index": content.index,
    "artifact": content.artifact,
    "referrer": lambda: content.artifact(content.manifest()),
    "artifact without layers": lambda: content.artifact(layers=0),
    "empty blob": lambda: content.manifest(layers=(content.blob("z", 0),)),
}


@every_kind
@pytest.mark.parametrize("shape", SHAPES)
def test_content_comes_back_byte_for_byte(
    kind: str, shape: str, make_registry: Factory, repository: str
) -> None:
    registry = make_registry(kind)
    made = SHAPES[shape]()

    digest = content.push(registry, repository, "v1", made)

    assert content.fetch(registry, repository, "v1") == (made.data, made.media_type, digest)
    assert content.skopeo_raw(registry, repository, "v1") == made.data
    assert content.skopeo_raw(registry, repository, digest) == made.data


def test_the_same_seed_gives_the_same_bytes() -> None:
    for make in SHAPES.values():
        assert make() == make()
    assert content.manifest("a").digest != content.manifest("b").digest


@every_kind
def test_a_series_shares_its_base_and_nothing_else(
    kind: str, make_registry: Factory, repository: str
) -> None:
    registry = make_registry(kind)

    made = content.series(registry, repository, 12, shared_layers=3)

    assert content.tags(registry, repository) == sorted(made)
    assert {"v1.0.0", "v1.1.1"} < set(made)
    assert len({blob.digest for version in made.values() for blob in version.blobs}) == 3 + 12 + 12


@every_kind
def test_requests_are_counted_by_method_without_our_own_probes(
    kind: str, registry: Factory
) -> None:
    running = registry(kind)
    assert running.requests() == []

    content.push(running, "a", "v1", content.manifest(layers=1))
    assert running.methods() == {"POST": 2, "PUT": 3}

    running.forget_requests()
    content.fetch(running, "a", "v1")
    assert [(r.method, r.path, r.status, r.agent) for r in running.requests()] == [
        ("GET", "/v2/a/manifests/v1", 200, "tests-content")
    ]


@every_kind
def test_a_registry_keeps_port_and_content_over_a_restart(kind: str, registry: Factory) -> None:
    running = registry(kind)
    url = running.url
    made = content.manifest()
    content.push(running, "a", "v1", made)

    running.restart()
    assert running.url == url
    running.kill()
    assert not running.running()
    with pytest.raises(ConnectionRefusedError):
        running.probe()
    running.start()

    assert content.fetch(running, "a", "v1")[0] == made.data


def test_a_paused_registry_takes_connections_and_answers_after_resume(registry: Factory) -> None:
    running = registry()
    running.pause()
    connection = running.connect(timeout=0.2)
    connection.request("GET", "/v2/")
    with pytest.raises(TimeoutError):
        connection.getresponse()
    connection.close()

    running.resume()
    assert running.probe() == 200


@every_kind
def test_blob_file_is_what_the_registry_serves(kind: str, registry: Factory) -> None:
    running = registry(kind)
    made = content.manifest(layers=1)
    content.push(running, "a", "v1", made)
    layer = made.blobs[1]

    assert running.blob_file(layer.digest).read_bytes() == layer.data
    running.blob_file(layer.digest).unlink()

    assert ask(running, "GET", f"/v2/a/blobs/{layer.digest}")[0] == 404
    with pytest.raises(FileNotFoundError):
        running.blob_file(layer.digest)


@every_kind
def test_content_can_be_deleted_by_default(kind: str, registry: Factory) -> None:
    running = registry(kind)
    digest = content.push(running, "a", "v1", content.manifest())

    assert delete(running, "a", digest) == 202
    assert ask(running, "GET", "/v2/a/manifests/v1", Accept=ACCEPT)[0] == 404


@pytest.mark.parametrize(("kind", "status"), [("docker", 400), ("distribution", 202), ("zot", 202)])
def test_only_docker_cannot_delete_by_tag(
    kind: str, status: int, make_registry: Factory, repository: str
) -> None:
    registry = make_registry(kind)
    content.push(registry, repository, "v1", content.manifest())

    assert delete(registry, repository, "v1") == status


@distributions
def test_delete_off_answers_405(kind: str, registry: Factory) -> None:
    running = registry(kind, delete=False)
    digest = content.push(running, "a", "v1", content.manifest())

    assert delete(running, "a", digest) == 405


@distributions
def test_readonly_answers_405_to_a_push(kind: str, registry: Factory) -> None:
    running = registry(kind, readonly=True)

    assert ask(running, "POST", "/v2/a/blobs/uploads/")[0] == 405


@every_kind
def test_users_need_their_password(kind: str, registry: Factory) -> None:
    running = registry(kind, users={"ann": "right"})

    content.push(running, "a", "v1", content.manifest())

    assert ask(running.url, "GET", "/v2/")[0] == 401
    with Client(running.url, login=("ann", "wrong")) as intruder:
        assert intruder.request("GET", "/v2/")[0] == 401
    assert content.skopeo_raw(running, "a", "v1") == content.manifest().data


@every_kind
def test_tls_is_trusted_through_the_authority_alone(
    kind: str, registry: Factory, authority: Authority, tmp_path: Path
) -> None:
    running = registry(kind, tls=authority)

    content.push(running, "a", "v1", content.manifest())
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        content.tags(running.url, "a", ca_file=Authority(tmp_path).ca_file)

    assert content.tags(running.url.replace("127.0.0.1", "localhost"), "a", ca_file=running.ca_file)


@distributions
def test_token_challenge_names_realm_service_and_scope(
    kind: str, registry: Factory, authority: Authority
) -> None:
    token = Token(realm="http://127.0.0.1:9/token", rootcertbundle=authority.ca_file)
    running = registry(kind, token=token)

    status, headers, _ = ask(running, "GET", "/v2/a/tags/list")

    assert status == 401
    assert headers["WWW-Authenticate"].startswith(
        'Bearer realm="http://127.0.0.1:9/token",service="test-registry",scope="repository:a:pull"'
    )


@distributions
def test_redirect_sends_blob_reads_elsewhere(kind: str, registry: Factory) -> None:
    running = registry(kind, redirect="http://localhost:9/")
    made = content.manifest(layers=1)
    content.push(running, "a", "v1", made)
    digest = made.blobs[1].digest

    status, headers, _ = ask(running, "GET", f"/v2/a/blobs/{digest}")

    encoded = digest.removeprefix("sha256:")
    assert status == 307
    assert headers["Location"].startswith("http://localhost:9/")
    assert headers["Location"].endswith(f"blobs/sha256/{encoded[:2]}/{encoded}/data")


@distributions
def test_proxy_pulls_through_and_takes_no_push(kind: str, registry: Factory) -> None:
    origin = registry()
    made = content.manifest()
    content.push(origin, "a", "v1", made)
    running = registry(kind, proxy=origin.url)

    assert content.fetch(running, "a", "v1")[0] == made.data
    assert ask(running, "POST", "/v2/a/blobs/uploads/")[0] == 405


def test_extra_settings_are_merged_into_the_config(registry: Factory) -> None:
    running = registry(extra={"http": {"headers": {"X-Extra": ["yes"]}}})

    assert ask(running, "GET", "/v2/")[1]["X-Extra"] == "yes"


def test_a_registry_that_cannot_start_says_what_it_logged(registry: Factory) -> None:
    with pytest.raises(NotStartedError, match="configuration error"):
        registry(extra={"http": {"tls": {"certificate": "missing"}}, "storage": {"x": {}}})


def test_a_registry_does_not_outlive_a_killed_owner(tmp_path: Path) -> None:
    """SIGKILL leaves the owner no time to tidy up; the kernel ends the registry."""
    script = (
        "import pathlib, sys, signal\n"
        "from tests.registries import DockerRegistry\n"
        f"registry = DockerRegistry(pathlib.Path({str(tmp_path)!r}))\n"
        "registry.start()\n"
        "print(registry.port, flush=True)\n"
        "signal.pause()\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert owner.stdout
    orphan = DockerRegistry(tmp_path / "unused")
    orphan.port = int(owner.stdout.readline())
    assert orphan.probe() == 200

    owner.send_signal(signal.SIGKILL)
    owner.communicate()

    def gone() -> bool:
        try:
            orphan.probe()
        except OSError:
            return True
        return False

    wait_for(gone, "the registry to end with its owner")


def test_a_missing_program_skips_a_test_and_in_ci_fails_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="docker-registry is not installed"):
        absent("docker-registry", required=True)

    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="docker-registry is not installed"):
        absent("docker-registry", required=True)
    with pytest.raises(pytest.skip.Exception):
        absent("zot")


@pytest.fixture(scope="module")
def settings_of_the_caller() -> Iterator[list[str]]:
    """What the shell of whoever starts pytest may hold."""
    names = ["HTTPS_PROXY", "http_proxy", "SYNCER_CONFIG", "REGISTRY_AUTH_FILE"]
    with pytest.MonkeyPatch.context() as environment:
        for name in names:
            environment.setenv(name, "http://192.0.2.1:1")
        yield names


def test_settings_of_the_caller_do_not_reach_a_test(
    settings_of_the_caller: list[str], home: Path
) -> None:
    assert not set(settings_of_the_caller) & set(os.environ)
    assert Path.home() == home
    assert Path(os.environ["DOCKER_CONFIG"]).parent == home
