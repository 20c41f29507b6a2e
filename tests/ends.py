"""The ends of a copy, a registry or an image layout, filled and read without syncer."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests import content
from tests.client import Client
from tests.content import Content
from tests.process import RegistryProcess
from tests.zoo import Zoo, listed

_NAME = "org.opencontainers.image.ref.name"


class End(Protocol):
    """One end."""

    @property
    def url(self) -> str:
        """As it stands in a rules file."""

    def fill(self, repository: str, animals: Zoo) -> None:
        """Puts content there."""

    def tags(self, repository: str) -> set[str]:
        """Every tag."""

    def manifest(self, repository: str, reference: str) -> bytes:
        """The bytes of a manifest under a tag or digest."""

    def blob(self, repository: str, digest: str) -> bytes:
        """The bytes of a blob."""

    def referrers(self, repository: str, subject: str) -> set[str]:
        """Digests of what refers to a digest."""

    def skopeo(self, repository: str, tag: str) -> bytes | None:
        """A manifest's bytes as skopeo reads them; None where it cannot."""


@dataclass(frozen=True)
class Hosted:
    """Content at a registry, read over one connection."""

    registry: RegistryProcess
    client: Client

    @property
    def url(self) -> str:
        """Its address."""
        return self.registry.url

    def fill(self, repository: str, animals: Zoo) -> None:
        """Pushes it."""
        animals.push(self.registry, repository)

    def tags(self, repository: str) -> set[str]:
        """Every tag."""
        return set(self.client.tags(repository))

    def manifest(self, repository: str, reference: str) -> bytes:
        """A manifest's bytes."""
        return self.client.fetch(repository, reference)[0]

    def blob(self, repository: str, digest: str) -> bytes:
        """A blob's bytes."""
        return self.client.blob(repository, digest)

    def referrers(self, repository: str, subject: str) -> set[str]:
        """By the API or the fallback tag."""
        return listed(self.client, repository, subject)

    def skopeo(self, repository: str, tag: str) -> bytes:
        """As skopeo reads it."""
        return content.skopeo_raw(self.registry, repository, tag)


@dataclass(frozen=True)
class OnDisk:
    """Content in an image layout, whose rows are called `repository:tag`."""

    path: Path

    @property
    def url(self) -> str:
        """`oci:` and its path."""
        return f"oci:{self.path}"

    def fill(self, repository: str, animals: Zoo) -> None:
        """Writes it as image-spec "image-layout" says; referrers have rows without a name."""
        rows = [_row(each, f"{repository}:{tag}") for tag, each in animals.tags.items()]
        rows += [_row(each) for each in animals.referrers]
        for part in animals.everything().values():
            self.write(part.data)
            for blob in part.blobs:
                self.write(blob.data)
        self.write_index(rows)

    def write(self, data: bytes, algorithm: str = "sha256") -> str:
        """Keeps bytes under their digest, which is returned."""
        found = hashlib.new(algorithm, data).hexdigest()
        file = self.path / "blobs" / algorithm / found
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return f"{algorithm}:{found}"

    def write_index(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Makes it a layout with these rows."""
        (self.path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        body = {"schemaVersion": 2, "manifests": rows}
        (self.path / "index.json").write_text(json.dumps(body))

    def digests(self, repository: str) -> dict[str, str]:
        """Every tag with its digest."""
        rows = json.loads((self.path / "index.json").read_bytes())["manifests"]
        names = ((row.get("annotations", {}).get(_NAME, ""), row["digest"]) for row in rows)
        return {
            name.removeprefix(f"{repository}:"): digest
            for name, digest in names
            if name.startswith(f"{repository}:")
        }

    def tags(self, repository: str) -> set[str]:
        """Every tag."""
        return set(self.digests(repository))

    def manifest(self, repository: str, reference: str) -> bytes:
        """A manifest's bytes, which must have the digest that they are kept under."""
        return self.blob(repository, self.digests(repository).get(reference, reference))

    def blob(self, repository: str, digest: str) -> bytes:
        """A blob's bytes, which must have the digest that they are kept under."""
        algorithm, _, encoded = digest.partition(":")
        data = (self.path / "blobs" / algorithm / encoded).read_bytes()
        assert hashlib.new(algorithm, data).hexdigest() == encoded
        return data

    def referrers(self, repository: str, subject: str) -> set[str]:
        """Manifests in here that name the subject."""
        found = set()
        for file in (self.path / "blobs" / "sha256").iterdir():
            data = file.read_bytes()
            if subject.encode() in data and data.lstrip().startswith(b"{"):
                body = json.loads(data)
                if (body.get("subject") or {}).get("digest") == subject:
                    found.add(f"sha256:{file.name}")
        return found

    def skopeo(self, repository: str, tag: str) -> bytes | None:
        """As skopeo reads it, which sees no Docker types in a layout."""
        data = self.manifest(repository, tag)
        if b"vnd.docker" in data:
            return None
        name = f"oci:{self.path}:{repository}:{tag}"
        command = ["skopeo", "inspect", "--raw", name]
        return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout


def _row(what: Content, name: str = "") -> dict[str, Any]:
    return {**what.descriptor(), **({"annotations": {_NAME: name}} if name else {})}
