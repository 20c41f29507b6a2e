"""Who we are at a registry: every form the rules file has, and what is wrong with it in words."""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer import errors
from syncer.credentials import (
    ANONYMOUS,
    Anonymous,
    Credential,
    DockerConfig,
    EnvironmentVariable,
    PasswordFile,
    SystemdCredential,
    docker,
)
from syncer.registry.tokens import basic

SECRET = "s3cret-of-the-test"
HOST = "registry.example.com:5000"
ENTRY = {"auth": base64.b64encode(f"ci:{SECRET}".encode()).decode()}
CI = Credential("ci", SECRET)

Write = Callable[[Any], Path]
Program = Callable[[str, str], Path]


@pytest.fixture
def config(tmp_path: Path) -> Write:
    def write(content: Any) -> Path:
        path = tmp_path / "config.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        path.chmod(0o600)
        return path

    return write


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Installs `docker-credential-NAME`; what it was started with and told is kept per call."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")

    def install(name: str, body: str) -> Path:
        calls = tmp_path / f"{name}.calls"
        path = directory / f"docker-credential-{name}"
        path.write_text(f'#!/bin/sh\nserver=$(cat)\necho "$* $server" >>{calls}\n{body}\n')
        path.chmod(0o755)
        return calls

    return install


def said(user: str, secret: str = SECRET) -> str:
    return f"echo '{json.dumps({'ServerURL': 'x', 'Username': user, 'Secret': secret})}'"


NOT_FOUND = "echo 'credentials not found in native keychain'; exit 1"


def fails(source: Any, *words: str) -> str:
    """The sentence of the CredentialError that reading gives; never with the secret in it."""
    with pytest.raises(errors.CredentialError) as caught:
        source.read()
    sentence = str(caught.value)
    assert SECRET not in sentence
    assert "\n" not in sentence
    for word in words:
        assert word in sentence
    return sentence


def test_a_credential_shows_its_user_and_no_secret() -> None:
    shown = repr(Credential("ci", SECRET, SECRET, origin="FILE"))
    assert "ci" in shown
    assert "FILE" in shown
    assert SECRET not in shown


def test_where_it_came_from_does_not_make_another_credential() -> None:
    assert Credential("ci", SECRET, origin="here", notice="said") == CI


@pytest.mark.parametrize(
    ("credential", "who", "remedy"),
    [
        (Credential("ci", "x", origin="F"), "user 'ci'", "check the password of user 'ci' in F"),
        (
            Credential(identity_token="x", origin="F"),
            "the identity token",
            "log in again to renew the identity token in F",
        ),
        (ANONYMOUS, "anonymous", "name a user for it in the rules file"),
        (
            Credential(notice="no entry"),
            "anonymous",
            "name a user for it in the rules file (no entry)",
        ),
    ],
)
def test_a_refused_credential_says_what_to_do(
    credential: Credential, who: str, remedy: str
) -> None:
    assert (credential.who, credential.remedy) == (who, remedy)


def test_anonymous_is_nobody_and_has_nothing_to_say() -> None:
    found = Anonymous().read("app", fresh=True)
    assert found == ANONYMOUS
    assert found.anonymous
    assert not found.notice


# --- docker and podman files


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (ENTRY, CI),
        ({"username": "ci", "password": SECRET}, CI),
        ({"auth": base64.b64encode(b"ci:a:b").decode()}, Credential("ci", "a:b")),
        ({**ENTRY, "identitytoken": "T"}, Credential("ci", SECRET, "T")),
        ({"identitytoken": "T"}, Credential(identity_token="T")),
        (
            {"auth": base64.b64encode(b"<token>:").decode(), "identitytoken": "T"},
            Credential(identity_token="T"),
        ),
        ({"username": "<token>", "password": "T"}, Credential(identity_token="T")),
        ({"auth": base64.b64encode(b"ci:pw\0\0").decode()}, Credential("ci", "pw")),
    ],
)
def test_every_form_of_an_entry_is_read(
    config: Write, entry: dict[str, str], expected: Credential
) -> None:
    path = config({"auths": {HOST: entry}})
    found = DockerConfig(HOST, path).read()
    assert found == expected
    assert found.origin == str(path)


@pytest.mark.parametrize(
    ("host", "key"),
    [
        *(
            (host, key)
            for host in ("docker.io", "index.docker.io", "registry-1.docker.io")
            for key in (
                "docker.io",
                "index.docker.io",
                "registry-1.docker.io",
                "https://index.docker.io/v1/",
            )
        ),
        (HOST, f"https://{HOST}"),
        (HOST, f"http://{HOST}/v2/"),
        (HOST, f"{HOST}/v1/"),
        ("Registry.Example.com", "registry.example.COM"),
        ("registry.example.com", "registry.example.com:443"),
    ],
)
def test_one_registry_goes_by_several_names(config: Write, host: str, key: str) -> None:
    assert DockerConfig(host, config({"auths": {key: ENTRY}})).read() == CI


@pytest.mark.parametrize("key", ["registry.example.com", "example.com:5000", f"x{HOST}", ""])
def test_another_host_or_port_is_another_registry(config: Write, key: str) -> None:
    path = config({"auths": {key: ENTRY}})
    found = DockerConfig(HOST, path).read()
    assert found == ANONYMOUS
    assert found.notice == f"no entry for {HOST} in {path}: anonymous"


NAMES = st.sampled_from(["a", "b", "ab"])
PATHS = st.lists(NAMES, max_size=3).map("/".join)


@given(st.sets(PATHS), PATHS)
def test_the_longest_namespace_that_holds_the_repository_wins(
    namespaces: set[str], repository: str
) -> None:
    keys = [f"h/{namespace}" if namespace else "h" for namespace in namespaces]
    parts = repository.split("/") if repository else []
    holding = [
        name
        for name in namespaces
        if (name.split("/") if name else []) == parts[: len(name.split("/")) if name else 0]
    ]
    expected = max(holding, key=lambda name: (len(name.split("/")), len(name)), default=None)
    found = docker._fitting(keys, "h", repository)
    assert len(found) == len(holding)
    assert (found[0].partition("/")[2] if found else None) == expected


def test_podman_logins_by_namespace_are_told_apart(config: Write) -> None:
    other = {"username": "other", "password": "x"}
    source = DockerConfig(HOST, config({"auths": {HOST: ENTRY, f"{HOST}/team": other}}))
    assert source.read("team/app").username == "other"
    assert source.read("teams/app") == CI
    assert source.read() == CI


def test_a_file_is_read_again_each_time(config: Write) -> None:
    source = DockerConfig(HOST, config({"auths": {}}))
    assert source.read().anonymous
    config({"auths": {HOST: ENTRY}})
    assert source.read() == CI


def test_a_file_that_all_can_read_is_noticed_and_used(config: Write) -> None:
    path = config({"auths": {HOST: ENTRY}})
    path.chmod(0o644)
    found = DockerConfig(HOST, path).read()
    assert found == CI
    assert found.notice == f"{path} can be read by every user of this host: chmod o-r {path}"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not JSON (line 1)"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is no JSON object"),
        (f'"{SECRET}"', "is no JSON object"),
        ({"auths": [SECRET]}, "auths is no JSON object"),
        ({"auths": {HOST: SECRET}}, f"auths['{HOST}'] is no JSON object"),
        ({"auths": {HOST: {"auth": f"%{SECRET}"}}}, "is not base64 of USER:PASSWORD"),
        (
            {"auths": {HOST: {"auth": base64.b64encode(SECRET.encode()).decode()}}},
            "is not base64 of USER:PASSWORD",
        ),
        ({"auths": {HOST: {"password": [SECRET]}}}, ".password is no string"),
        ({"auths": {HOST: {"password": f"{SECRET}\n{SECRET}"}}}, "holds a line break"),
        ({"auths": {HOST: {"identitytoken": f"{SECRET}\ud800"}}}, "control character"),
        ({"credHelpers": {HOST: "../../bin/x"}}, "is no name of a program"),
        ({"credsStore": [SECRET]}, "credsStore is no name of a program"),
        (" " * (1 << 20) + "{}", "is larger than 1 MiB"),
    ],
)
def test_a_damaged_file_is_named_and_its_content_is_not(
    config: Write, content: Any, words: str
) -> None:
    path = config(content)
    fails(DockerConfig(HOST, path), str(path), words)


def test_a_damaged_entry_of_another_host_is_left_alone(config: Write) -> None:
    assert DockerConfig(HOST, config({"auths": {"other": 5, HOST: ENTRY}})).read() == CI


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just(ENTRY["auth"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "auths",
                    "credHelpers",
                    HOST,
                    "docker.io",
                    "auth",
                    "username",
                    "password",
                    "identitytoken",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(content=JSON)
def test_any_json_gives_a_credential_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, content: Any
) -> None:
    path = tmp_path_factory.mktemp("any") / "config.json"
    path.write_text(json.dumps(content))
    try:
        found = DockerConfig(HOST, path).read("app")
        said = basic(found)
    except errors.CredentialError as error:
        said = str(error)
    assert "\n" not in said


# --- the default places


def place(path: Path, entry: Mapping[str, str], host: str = HOST) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"auths": {host: entry}}))
    path.chmod(0o600)


def test_docker_comes_first_and_podman_when_docker_knows_nothing(home: Path) -> None:
    place(home / "runtime/containers/auth.json", {"username": "podman", "password": "x"})
    source = DockerConfig(HOST)
    assert source.read().username == "podman"
    place(home / ".docker/config.json", ENTRY, host="other.example.com")
    assert source.read().username == "podman"
    place(home / ".docker/config.json", ENTRY)
    assert source.read() == CI


def test_the_variables_replace_the_usual_places(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As docker and podman do: who points elsewhere does not want the old logins."""
    place(home / ".docker/config.json", ENTRY)
    place(home / "runtime/containers/auth.json", ENTRY)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    assert DockerConfig(HOST).read() == ANONYMOUS
    place(tmp_path / "auth.json", {"username": "podman", "password": "x"})
    assert DockerConfig(HOST).read().username == "podman"
    monkeypatch.delenv("DOCKER_CONFIG")
    assert DockerConfig(HOST).read() == CI


def test_nothing_anywhere_is_anonymous_and_says_so() -> None:
    found = DockerConfig(HOST).read()
    assert found == ANONYMOUS
    assert found.notice == f"no entry for {HOST} in any docker or podman configuration: anonymous"


def test_a_file_named_in_the_rules_must_be_there(tmp_path: Path) -> None:
    path = tmp_path / "none.json"
    fails(DockerConfig(HOST, path), f"cannot read {path}: No such file or directory")


# --- the programs that files name


def test_a_program_is_told_the_host_on_stdin_and_nothing_else(
    config: Write, program: Program
) -> None:
    calls = program("one", said("ci"))
    path = config({"credHelpers": {HOST: "one"}, "credsStore": "absent", "auths": {HOST: {}}})
    found = DockerConfig(HOST, path).read()
    assert found == CI
    assert found.origin == f"docker-credential-one (named in {path})"
    assert calls.read_text() == f"get {HOST}\n"


def test_the_program_for_all_hosts_goes_before_entries(config: Write, program: Program) -> None:
    program("all", said("ci"))
    path = config({"credsStore": "all", "auths": {HOST: {"username": "old", "password": "x"}}})
    assert DockerConfig(HOST, path).read() == CI


def test_programs_know_docker_hub_by_its_old_name(config: Write, program: Program) -> None:
    calls = program("all", said("ci"))
    assert DockerConfig("registry-1.docker.io", config({"credsStore": "all"})).read() == CI
    assert calls.read_text() == "get https://index.docker.io/v1/\n"


def test_a_program_may_hold_an_identity_token(config: Write, program: Program) -> None:
    program("all", said("<token>"))
    found = DockerConfig(HOST, config({"credsStore": "all"})).read()
    assert found == Credential(identity_token=SECRET)


@pytest.mark.parametrize("body", [NOT_FOUND, said("", "")])
def test_what_a_program_does_not_know_is_looked_up_in_the_file(
    config: Write, program: Program, body: str
) -> None:
    program("all", body)
    assert DockerConfig(HOST, config({"credsStore": "all"})).read() == ANONYMOUS
    assert DockerConfig(HOST, config({"credsStore": "all", "auths": {HOST: ENTRY}})).read() == CI


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("echo 'the keyring is locked'; exit 3", "(exit 3): the keyring is locked"),
        (f"{said('ci')}; exit 1", "(exit 1)"),
        (f"echo line; echo {SECRET}; exit 1", "(exit 1)"),
        (f"echo {SECRET}", "is not JSON"),
        (f"echo '[\"{SECRET}\"]'", "is no JSON object"),
        ("echo '{\"Secret\": 5}'", ".Secret is no string"),
    ],
)
def test_a_failing_program_is_named_and_its_output_is_not(
    config: Write, program: Program, body: str, words: str
) -> None:
    program("bad", body)
    fails(DockerConfig(HOST, config({"credsStore": "bad"})), "docker-credential-bad", words)


def test_a_program_that_is_not_installed_is_named(config: Write) -> None:
    path = config({"credsStore": "absent"})
    sentence = fails(DockerConfig(HOST, path))
    assert sentence == (
        f"cannot run docker-credential-absent (named in {path}): No such file or directory"
    )


def test_a_program_that_hangs_is_given_up(
    config: Write, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker, "_PATIENCE", 0.2)
    program("slow", "exec sleep 60")
    fails(DockerConfig(HOST, config({"credsStore": "slow"})), "did not answer within")


def test_a_program_runs_once_until_its_answer_is_refused(config: Write, program: Program) -> None:
    calls = program("all", said("ci"))
    source = DockerConfig(HOST, config({"credsStore": "all"}))
    together = threading.Barrier(8)

    def read(_: int) -> Credential:
        together.wait()
        return source.read("app")

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(read, range(8))) == {CI}
    assert len(calls.read_text().splitlines()) == 1
    program("all", said("new"))
    assert source.read() == CI
    assert source.read(fresh=True).username == "new"
    assert source.read().username == "new"
    assert SECRET not in repr(source)


# --- files, variables, systemd


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (f"{SECRET}\n", SECRET),
        (f"{SECRET}\r\n", SECRET),
        (SECRET, SECRET),
        (" a b ", " a b "),
        ("pässwörd\n", "pässwörd"),
    ],
)
def test_a_password_file_is_taken_without_its_last_newline(
    tmp_path: Path, content: str, expected: str
) -> None:
    path = tmp_path / "password"
    path.write_text(content)
    path.chmod(0o600)
    found = PasswordFile("ci", path).read()
    assert found == Credential("ci", expected)
    assert (found.origin, found.notice) == (str(path), "")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (f"{SECRET}\nsecond".encode(), "holds a line break"),
        (f"{SECRET}\0".encode(), "control character"),
        (b"\xff" + SECRET.encode(), "is not UTF-8 text"),
        (b"x" * ((1 << 20) + 1), "is larger than 1 MiB"),
    ],
)
def test_what_is_no_password_is_not_sent(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "password"
    path.write_bytes(content)
    fails(PasswordFile("ci", path), str(path), words)


def test_a_password_file_that_all_can_read_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text(SECRET)
    source = PasswordFile("ci", path)
    for mode in (0o600, 0o640):
        path.chmod(mode)
        assert not source.read().notice
    path.chmod(0o604)
    assert source.read().notice.startswith(f"{path} can be read by every user")


def test_a_missing_password_file_is_named(tmp_path: Path) -> None:
    fails(PasswordFile("ci", tmp_path), f"cannot read {tmp_path}: Is a directory")


def test_a_variable_is_read_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    source = EnvironmentVariable("ci", "SYNCER_TEST_PASSWORD")
    fails(source, "the environment variable SYNCER_TEST_PASSWORD is not set")
    monkeypatch.setenv("SYNCER_TEST_PASSWORD", "")
    fails(source, "SYNCER_TEST_PASSWORD is empty")
    monkeypatch.setenv("SYNCER_TEST_PASSWORD", SECRET)
    assert source.read() == CI


def test_a_systemd_credential_is_a_file_of_logins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    place(tmp_path / "auth.json", ENTRY)
    assert SystemdCredential("auth.json", HOST).read() == CI
    assert SystemdCredential("auth.json", "other").read().notice.startswith("no entry for other")


def test_a_systemd_credential_with_a_user_is_the_bare_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "eu-password").write_text(f"{SECRET}\n")
    assert SystemdCredential("eu-password", HOST, "ci").read() == CI


def test_outside_systemd_a_credential_says_how_to_get_it() -> None:
    fails(SystemdCredential("eu", HOST), "'eu'", "LoadCredential=eu:FILE")


@pytest.mark.parametrize("name", ["", ".", "..", "../shadow", "a/b", "a\0", "a b", "x" * 256])
def test_a_systemd_credential_cannot_name_a_file_elsewhere(name: str) -> None:
    with pytest.raises(errors.CredentialError, match="is no credential name"):
        SystemdCredential(name, HOST)
