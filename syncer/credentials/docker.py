"""Docker's `config.json` and podman's `auth.json`, and the programs they name.

Sources: docker/cli `cli/config/configfile`, docker/docker-credential-helpers "Development",
containers-auth.json(5).
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from syncer import errors, log
from syncer.credentials import credential, files

_HUB = "docker.io"
_HUB_HOSTS = frozenset({_HUB, "index.docker.io", "registry-1.docker.io"})
_HUB_SERVER = "https://index.docker.io/v1/"  # the name under which `docker login` stores it
_PROGRAM = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_NOT_FOUND = "credentials not found"
_PATIENCE = 30.0  # seconds a program may take: some of them ask a cloud's API
_IDENTITY = "<token>"  # the user name that marks a secret as an identity token


@dataclass(frozen=True)
class DockerConfig:
    """The entry for `host` in a docker or podman file, or in the default places.

    Those are `$DOCKER_CONFIG/config.json` (else `~/.docker/config.json`), then
    `$REGISTRY_AUTH_FILE` (else `$XDG_RUNTIME_DIR/containers/auth.json`): the first that has an
    entry. In a file, the program for the host (`credHelpers`), then the one for all hosts
    (`credsStore`), then `auths`, as docker does. What a program said is remembered until it is
    refused.
    """

    host: str
    path: Path | None = None
    _said: dict[tuple[str, str], credential.Credential | None] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _lock: threading.Lock = field(
        default_factory=threading.Lock, init=False, repr=False, compare=False
    )

    def read(self, repository: str = "", *, fresh: bool = False) -> credential.Credential:
        """The entry that fits best; anonymous, with a notice, when there is none."""
        paths = [self.path] if self.path else [path for path in _default_paths() if _exists(path)]
        for path in paths:
            if found := self._look(path, repository, fresh=fresh):
                return found
        where = ", ".join(map(str, paths)) or "any docker or podman configuration"
        return replace(
            credential.ANONYMOUS,
            origin=where,
            notice=f"no entry for {self.host} in {where}: anonymous",
        )

    def _look(self, path: Path, repository: str, *, fresh: bool) -> credential.Credential | None:
        text, notice = files.read_text(path)
        config = _Config(path, text)
        program = config.program(self.host, repository)
        if program and (found := self._ask(program, path, fresh=fresh)):
            return found
        entry = config.entry(self.host, repository)
        return replace(entry, notice=notice) if entry else None

    def _ask(
        self, program: tuple[str, str], path: Path, *, fresh: bool
    ) -> credential.Credential | None:
        with self._lock:
            if fresh or program not in self._said:
                self._said[program] = _run(*program, path)
            return self._said[program]


class _Config:
    """One file, checked as far as it is used."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        try:
            self._content = _object(json.loads(text), f"{path}")
        except (ValueError, RecursionError) as error:
            place = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
            raise errors.CredentialError(f"{path} is not JSON{place}") from None

    def program(self, host: str, repository: str) -> tuple[str, str] | None:
        """The program to ask and the name it knows the host by."""
        named = self._section("credHelpers")
        key = next(iter(_fitting(named, host, repository)), "")
        name = named[key] if key else self._content.get("credsStore")
        if not name:
            return None
        if not isinstance(name, str) or not _PROGRAM.fullmatch(name):
            what = f"credHelpers[{key!r}]" if key else "credsStore"
            raise errors.CredentialError(f"{self._path}: {what} is no name of a program")
        server, namespace = _parts(key or host)
        if server == _HUB:
            return name, _HUB_SERVER
        return name, f"{host}/{namespace}" if namespace else host

    def entry(self, host: str, repository: str) -> credential.Credential | None:
        """What `auths` holds in clear."""
        auths = self._section("auths")
        found = (self._credential(key, auths[key]) for key in _fitting(auths, host, repository))
        return next((one for one in found if not one.anonymous), None)

    def _section(self, name: str) -> Mapping[str, Any]:
        return _object(self._content.get(name) or {}, f"{self._path}: {name}")

    def _credential(self, key: str, part: Any) -> credential.Credential:
        where = f"{self._path}: auths[{key!r}]"
        values = _object(part, where)
        user, password, auth, identity = (
            _string(values, name, where)
            for name in ("username", "password", "auth", "identitytoken")
        )
        if auth:
            user, password = _decode(auth, where)
        if user == _IDENTITY:
            user, password, identity = "", "", identity or password
        return credential.Credential(user, password, identity, origin=str(self._path))


def _default_paths() -> list[Path]:
    get = os.environ.get
    docker = get("DOCKER_CONFIG") or ((home := get("HOME")) and f"{home}/.docker")
    runtime = get("XDG_RUNTIME_DIR")
    podman = get("REGISTRY_AUTH_FILE") or (runtime and f"{runtime}/containers/auth.json")
    return [Path(path) for path in (docker and f"{docker}/config.json", podman) if path]


def _exists(path: Path) -> bool:
    """False only when it is not there; one that cannot be looked at is read, and that fails."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _parts(key: str) -> tuple[str, str]:
    """Host and namespace of a key: `https://index.docker.io/v1/`, `host:5000`, `host/team/app`."""
    _, scheme, rest = key.rpartition("://")
    host, _, path = rest.lower().partition("/")
    host = _HUB if host in _HUB_HOSTS else host.removesuffix(":443")
    path = path.strip("/")
    return host, "" if scheme or path in ("v1", "v2") else path


def _fitting(keys: Iterable[str], host: str, repository: str) -> list[str]:
    """The keys for `host`, those with the longest namespace that `repository` is in first."""
    wanted, _ = _parts(host)
    found = [
        (len(namespace), key == host, key)
        for key in keys
        for server, namespace in [_parts(key)]
        if server == wanted and (not namespace or f"{repository}/".startswith(f"{namespace}/"))
    ]
    return [key for _, _, key in sorted(found, reverse=True)]


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if isinstance(value, dict):
        return value
    raise errors.CredentialError(f"{where} is no JSON object")


def _string(values: Mapping[str, Any], name: str, where: str) -> str:
    value = values.get(name) or ""
    if isinstance(value, str):
        return credential.sendable(value, f"{where}.{name}")
    raise errors.CredentialError(f"{where}.{name} is no string")


def _decode(auth: str, where: str) -> tuple[str, str]:
    try:
        text = base64.b64decode(auth, validate=True).decode()
    except (binascii.Error, ValueError):
        raise errors.CredentialError(f"{where}.auth is not base64 of USER:PASSWORD") from None
    user, colon, password = credential.sendable(text.rstrip("\0"), f"{where}.auth").partition(":")
    if not colon:
        raise errors.CredentialError(f"{where}.auth is not base64 of USER:PASSWORD")
    return user, password


def _run(name: str, server: str, path: Path) -> credential.Credential | None:
    """What `docker-credential-NAME get` says of `server`; None when it knows nothing of it."""
    program = f"docker-credential-{name}"
    where = f"{program} (named in {path})"
    try:
        done = subprocess.run(
            [program, "get"],
            input=server.encode(),
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise errors.CredentialError(
            f"{where} did not answer within {_PATIENCE:.0f} seconds when asked for {server}"
        ) from None
    except OSError as error:
        raise errors.CredentialError(f"cannot run {where}: {error.strerror}") from None
    if done.returncode == 0:
        return _answer(done.stdout, where)
    said = done.stdout.decode(errors="replace").strip()
    if _NOT_FOUND in said.lower():
        return None
    # By the protocol what it prints now is its error, one line; anything else is not repeated.
    line = "" if not said or said.startswith("{") or "\n" in said else f": {log.mask(said[:200])}"
    raise errors.CredentialError(f"{where} failed for {server} (exit {done.returncode}){line}")


def _answer(data: bytes, where: str) -> credential.Credential | None:
    try:
        values = _object(json.loads(data), f"the answer of {where}")
    except (ValueError, RecursionError):
        raise errors.CredentialError(f"the answer of {where} is not JSON") from None
    user, secret = (
        _string(values, key, f"the answer of {where}") for key in ("Username", "Secret")
    )
    if not secret:
        return None
    if user == _IDENTITY:
        return credential.Credential(identity_token=secret, origin=where)
    return credential.Credential(user, secret, origin=where)
