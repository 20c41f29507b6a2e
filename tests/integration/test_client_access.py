"""Who the client is at real registries: passwords, tokens, mounts across scopes, redirects."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from syncer import credentials, errors, events
from syncer.store import Chunks
from tests import content
from tests.authority import Authority
from tests.clients import descriptor, noise, opened, pushed, read, source
from tests.fake_registry import FakeRegistry
from tests.registries import Factory
from tests.token_server import TokenServer, User


def test_who_we_are_and_what_we_may(
    registry: Factory, repository: str, tmp_path: Path, authority: Authority
) -> None:
    running = registry("docker", users={"ci": "ci-pw"}, tls=authority)
    access: dict[str, Any] = {"ca_file": str(authority.ca_file)}
    with opened(running.url, source=_password(tmp_path, "ci-pw"), **access) as eu:
        assert eu.client.ping() == "user 'ci'"
        for action in ("pull", "push", "delete"):
            assert eu.client.may(repository, action) == ""
        assert eu.client.skew() == pytest.approx(0, abs=30)
        with pytest.raises(errors.UsageError):
            eu.client.may(repository, "fly")
    with opened(running.url, source=_password(tmp_path, "wrong"), **access) as eu:
        with pytest.raises(errors.UnauthorizedError, match="check the password of user 'ci'"):
            eu.client.ping()
        assert "check the password" in eu.client.may(repository, "pull")


def test_tokens_are_fetched_per_scope_and_what_is_missing_is_said(
    registry: Factory, tmp_path: Path
) -> None:
    users = {
        "ci": User({"repository:team/.*": "pull,push"}, "ci-pw"),
    }
    with TokenServer(tmp_path / "tokens", users) as tokens:
        running = registry("docker", token=tokens.trust)
        with opened(running.url, source=_password(tmp_path, "ci-pw")) as eu:
            assert eu.client.ping() == "user 'ci'"
            pushed(eu.client, "team/base", content.manifest(), "v1")
            assert eu.client.tags("team/base") == ["v1"]
            assert eu.client.may("team/base", "push") == ""
            assert "delete" in eu.client.may("team/base", "delete")
            with pytest.raises(errors.DeniedError, match="repository:other/app:pull"):
                eu.client.tags("other/app")
            with pytest.raises(errors.UnsupportedError, match="name them one by one in `repos`"):
                list(eu.client.repositories())
            assert eu.client.capabilities().catalog is False


def test_a_mount_that_the_token_does_not_reach_becomes_an_upload(
    registry: Factory, tmp_path: Path
) -> None:
    users = {"ci": User({"repository:team/.*": "pull,push"}, "ci-pw")}
    data = noise(1000)
    with TokenServer(tmp_path / "tokens", users) as tokens:
        running = registry("docker", token=tokens.trust)
        with opened(running.url, source=_password(tmp_path, "ci-pw")) as eu:
            how = eu.client.put_blob("team/app", descriptor(data), source(data), ["secret/base"])
            assert how == "copied"
            assert eu.client.has_blob("team/app", descriptor(data).digest)


def test_a_token_that_ran_out_is_renewed_before_a_long_upload(
    registry: Factory, tmp_path: Path
) -> None:
    """The upload's bytes go out once: the token is known to be good before the first of them."""
    users = {"ci": User({"repository:team/.*": "pull,push"}, "ci-pw")}
    data, opens = noise(2_000_000), []

    def counted() -> AbstractContextManager[Chunks]:
        opens.append(1)
        return source(data)()

    with TokenServer(tmp_path / "tokens", users) as tokens:
        running = registry("docker", token=tokens.trust)
        with opened(running.url, source=_password(tmp_path, "ci-pw")) as eu:
            pushed(eu.client, "team/app", content.manifest(), "v1")
            eu.shared.authorizer._clock = lambda: time.monotonic() + 250
            before = len(tokens.asked)
            eu.client.put_blob("team/app", descriptor(data), counted)
            assert len(tokens.asked) == before + 1
            assert len(opens) == 1
            assert 401 not in [event.status for event in eu.told(events.RequestDone)][3:]


def test_credentials_stay_behind_when_a_blob_lies_on_another_host(
    registry: Factory, repository: str, tmp_path: Path
) -> None:
    """A registry may send blob reads to its storage: here a server that asks for a password."""
    data = noise(300_000)
    with FakeRegistry() as storage:
        storage.on("GET", "/docker/registry/.*/data", lambda asked: asked.answer(200, data))
        storage.on("HEAD", "/docker/registry/.*/data", lambda asked: asked.answer(200, data))
        redirect = f"http://localhost:{storage.host.split(':')[1]}/"
        running = registry("docker", users={"ci": "ci-pw"}, redirect=redirect)
        with opened(running.url, source=_password(tmp_path, "ci-pw")) as eu:
            eu.client.put_blob(repository, descriptor(data), source(data))
            assert read(eu.client, repository, descriptor(data)) == data
            assert eu.client.has_blob(repository, descriptor(data).digest)
        assert [method for method, _ in storage.asked] == ["GET", "HEAD"]
        assert not any("Authorization" in headers for headers in storage.headers)


def _password(tmp_path: Path, password: str) -> credentials.PasswordFile:
    path = tmp_path / f"password-{password}"
    path.write_text(password)
    path.chmod(0o600)
    return credentials.PasswordFile("ci", path)
