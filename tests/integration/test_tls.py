"""Registries behind TLS with an authority of their own, and those that want a client certificate."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from syncer import errors
from syncer.registry import certificates
from tests import content
from tests.authority import Authority
from tests.clients import opened, pushed
from tests.operator import Operator
from tests.registries import Factory, RegistryProcess

MIRROR = """
[[replicate]]
name = "mirror"
source = "eu"
target = "us"
repos = ["prod/**"]
"""


@pytest.fixture
def directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Where certificates by host are looked for: podman's place, then docker's."""
    made = tmp_path / "containers", tmp_path / "docker"
    monkeypatch.setattr(certificates, "DIRECTORIES", made)
    return made


def keep(directory: Path, *files: tuple[Path, str]) -> None:
    """Puts files into a directory under new names."""
    directory.mkdir(parents=True, exist_ok=True)
    for file, name in files:
        shutil.copy(file, directory / name)


@pytest.fixture
def closed(make_registry: Factory, authority: Authority) -> RegistryProcess:
    """A registry that takes nobody without a certificate of `authority`."""
    return make_registry(tls=authority, clients=authority)


def test_rules_name_the_authority_and_the_client_certificate(
    tmp_path: Path, make_registry: Factory, closed: RegistryProcess, authority: Authority
) -> None:
    us = make_registry(tls=authority)
    certificate, key = authority.issue("rules")
    both = tmp_path / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    mine = f"auth = 'anonymous'\nca_file = '{authority.ca_file}'\n"
    operator = Operator(
        tmp_path,
        {"eu": closed, "us": us},
        MIRROR,
        extra={"eu": f"{mine}client_cert = '{both}'", "us": mine},
    )
    with opened(closed.url, ca_file=str(authority.ca_file), client_cert=str(both)) as eu:
        made = content.platforms("tls")
        pushed(eu.client, "prod/tls", made, "v1")

    report = operator.sync()

    assert report.outcome == "ok", report.as_dict()
    assert content.skopeo_raw(us, "prod/tls", "v1") == made.data


@pytest.mark.parametrize("which", [0, 1])
def test_certs_d_has_the_authority_and_the_client_certificate(
    directories: tuple[Path, Path], closed: RegistryProcess, authority: Authority, which: int
) -> None:
    certificate, key = authority.issue("client")
    at = directories[which] / closed.host
    keep(at, (authority.ca_file, "ca.crt"), (certificate, "me.cert"), (key, "me.key"))

    with opened(closed.url) as found:
        assert found.client.ping() == "anonymous"


def test_of_two_directories_the_first_that_has_the_host_counts(
    directories: tuple[Path, Path], make_registry: Factory, authority: Authority
) -> None:
    registry = make_registry(tls=authority)
    keep(directories[0] / registry.host)
    keep(directories[1] / registry.host, (authority.ca_file, "ca.crt"))

    with opened(registry.url) as found, pytest.raises(errors.RegistryError, match="not trusted"):
        found.client.ping()


def test_what_the_rules_name_comes_before_certs_d(
    tmp_path: Path,
    directories: tuple[Path, Path],
    closed: RegistryProcess,
    authority: Authority,
) -> None:
    """Each by itself: a `ca_file` leaves the client certificate of certs.d in force."""
    other = Authority(tmp_path / "other")
    certificate, key = authority.issue("client")
    keep(
        directories[1] / closed.host,
        (other.ca_file, "ca.crt"),
        (certificate, "me.cert"),
        (key, "me.key"),
    )

    with opened(closed.url) as found, pytest.raises(errors.RegistryError, match=r"certs\.d"):
        found.client.ping()
    with opened(closed.url, ca_file=str(authority.ca_file)) as found:
        assert found.client.ping() == "anonymous"
    theirs, their_key = map(str, other.issue("client"))
    with (
        opened(
            closed.url,
            ca_file=str(authority.ca_file),
            client_cert=theirs,
            client_key=their_key,
        ) as found,
        pytest.raises(errors.RegistryError, match="wants a client certificate"),
    ):
        found.client.ping()


@pytest.mark.usefixtures("directories")
def test_a_registry_that_wants_a_certificate_says_so_once(
    closed: RegistryProcess, authority: Authority
) -> None:
    with opened(closed.url, ca_file=str(authority.ca_file)) as found:
        with pytest.raises(errors.RegistryError, match="name yours in client_cert") as caught:
            found.client.ping()
        assert not caught.value.temporary
        assert found.waits == []


def test_a_certificate_without_its_key_is_named(
    directories: tuple[Path, Path], make_registry: Factory, authority: Authority
) -> None:
    registry = make_registry(tls=authority)
    certificate, _ = authority.issue("client")
    keep(directories[0] / registry.host, (certificate, "me.cert"))

    with (
        opened(registry.url) as found,
        pytest.raises(errors.CredentialError, match=r"me\.cert has no me\.key beside it"),
    ):
        found.client.ping()


@pytest.mark.parametrize(
    ("host", "port", "names"),
    [
        ("eu.example", 443, ["eu.example", "eu.example:443"]),
        ("eu.example", 5000, ["eu.example:5000"]),
        ("::1", 5000, ["[::1]:5000"]),
        (
            "registry-1.docker.io",
            443,
            ["registry-1.docker.io", "registry-1.docker.io:443", "docker.io", "docker.io:443"],
        ),
    ],
)
def test_a_directory_is_named_like_the_registry(
    directories: tuple[Path, Path], host: str, port: int, names: list[str]
) -> None:
    for name in reversed(names):
        keep(directories[1] / name)
        (directories[1] / name / "ca.crt").touch()
        found = certificates.found(host, port)
        assert found.authorities == (str(directories[1] / name / "ca.crt"),)
    assert certificates.found("other.example", port) == certificates.Certificates()
