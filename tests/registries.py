"""Kinds of real registry, as `tests.process` runs them: Debian's 2.8.2, distribution v3, zot."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.authority import Authority
from tests.process import (
    NotStartedError,
    Options,
    RegistryProcess,
    Request,
    Token,
    UnsupportedError,
    absent,
    wait_for,
)

__all__ = [
    "KINDS",
    "Authority",
    "DistributionV3",
    "DockerRegistry",
    "Factory",
    "NotStartedError",
    "Options",
    "RegistryProcess",
    "Request",
    "Token",
    "UnsupportedError",
    "Zot",
    "absent",
    "distributions",
    "every_kind",
    "wait_for",
]

_COMBINED = re.compile(
    r'\S+ - \S+ \[[^]]+\] "(?P<method>[A-Z]+) (?P<path>\S+) HTTP/[\d.]+" (?P<status>\d{3}) \d+'
    r' "[^"]*" "(?P<agent>[^"]*)"'
)


class Distribution(RegistryProcess):
    """What the two lines of CNCF distribution share: the config file and the logs."""

    def _config(self) -> dict[str, Any]:
        options = self.options
        config: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "info", "formatter": "json", "accesslog": {"disabled": False}},
            "storage": {
                "filesystem": {"rootdirectory": str(self.data)},
                "delete": {"enabled": options.delete},
                "redirect": {"disable": not options.redirect},
                "maintenance": {
                    "uploadpurging": {"enabled": False},
                    "readonly": {"enabled": options.readonly},
                },
            },
            # With a secret of its own, upload sessions outlive a restart.
            "http": {"addr": self.host, "secret": "test-secret"},
        }
        if self._certificate:
            certificate, key = map(str, self._certificate)
            config["http"]["tls"] = {"certificate": certificate, "key": key}
        if options.clients:
            config["http"]["tls"]["clientcas"] = [str(options.clients.ca_file)]
        if self._users:
            config["auth"] = {"htpasswd": {"realm": "test", "path": str(self._users)}}
        if options.token:
            config["auth"] = {"token": {k: str(v) for k, v in vars(options.token).items()}}
        if options.redirect:
            redirect = {"name": "redirect", "options": {"baseurl": options.redirect}}
            config["middleware"] = {"storage": [redirect]}
        if options.proxy:
            config["proxy"] = {"remoteurl": options.proxy}
        return config

    def _listening(self, log: str) -> int:
        found = re.search(r"listening on 127\.0\.0\.1:(\d+)", log)
        return int(found[1]) if found else 0

    def _parse(self, line: str) -> Request | None:
        found = _COMBINED.match(line)
        if not found:
            return None
        return Request(found["method"], found["path"], int(found["status"]), found["agent"])


class DockerRegistry(Distribution):
    """Debian's distribution 2.8.2: no delete by tag, listings without order or pages."""

    kind = "docker"
    program = "docker-registry"


class DistributionV3(Distribution):
    """Distribution v3.1.1, built by scripts/tools where Go is present."""

    kind = "distribution"
    program = "registry"


class Zot(RegistryProcess):
    """zot v2.1.20, built by scripts/tools where Go is present: referrers API, tag deletes."""

    kind = "zot"
    program = "zot"

    def _config(self) -> dict[str, Any]:
        options = self.options
        missing = [
            name
            for name in ("readonly", "clients", "token", "redirect", "proxy")
            if getattr(options, name)
        ]
        if missing or not options.delete:
            raise UnsupportedError(f"zot is not set up here for {missing or 'delete=False'}")
        server: dict[str, Any] = {
            "address": "127.0.0.1",
            "port": str(self.port),
            "compat": ["docker2s2"],
        }
        if self._certificate:
            certificate, key = map(str, self._certificate)
            server["tls"] = {"cert": certificate, "key": key}
        if self._users:
            server["auth"] = {"htpasswd": {"path": str(self._users)}}
        return {
            "distSpecVersion": "1.1.1",
            # One file per repository and blob: damage to one does not reach the others.
            "storage": {"rootDirectory": str(self.data), "gc": False, "dedupe": False},
            "http": server,
            "log": {"level": "info"},
        }

    def blob_file(self, digest: str) -> Path:
        """The first repository's file with these bytes, as zot keeps them per repository."""
        algorithm, encoded = digest.split(":")
        for path in sorted(self.data.glob(f"**/blobs/{algorithm}/{encoded}")):
            return path
        raise FileNotFoundError(f"{digest} in {self.data}")

    def _listening(self, log: str) -> int:
        for line in log.splitlines():
            if "kernel chosen port" in line:
                return int(json.loads(line)["port"])
        return 0

    def _parse(self, line: str) -> Request | None:
        if '"HTTP API"' not in line:
            return None
        entry = json.loads(line)
        agent = entry["headers"].get("User-Agent", [""])[0]
        return Request(entry["method"], entry["path"], entry["statusCode"], agent)


class Factory(Protocol):
    """What the fixtures `registry` and `make_registry` give: call it for a running registry."""

    def __call__(self, kind: str = "docker", **options: Any) -> RegistryProcess:
        """Options are the fields of `Options`; a kind without a program here skips the test."""
        ...


KINDS: Mapping[str, type[RegistryProcess]] = {
    cls.kind: cls for cls in (DockerRegistry, DistributionV3, Zot)
}

every_kind = pytest.mark.parametrize("kind", sorted(KINDS))
"""Runs a test once for each kind; it asks for `kind` and hands it to a factory."""
distributions = pytest.mark.parametrize("kind", ["docker", "distribution"])
"""The same without zot."""
