"""Content for the registries of tests: built from seeds, pushed and read without syncer's client.

Everything is deterministic: the same arguments give the same bytes. `http.client` moves it, and
`skopeo_raw` reads it back through a program that is not ours.
"""

from __future__ import annotations

import gzip
import json
import random
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.client import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Client,
    Registry,
    digest_of,
)
from tests.registries import absent

OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
EMPTY = "application/vnd.oci.empty.v1+json"

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Blob:
    """Bytes with a media type, as a config or a layer of a manifest."""

    data: bytes = field(repr=False)
    media_type: str = OCI_LAYER

    @property
    def digest(self) -> str:
        """Digest of the bytes."""
        return digest_of(self.data)

    @property
    def diff_id(self) -> str:
        """Digest of a layer unpacked, as its config names it; that of the bytes where not gzip."""
        packed = self.data.startswith(b"\x1f\x8b")
        return digest_of(gzip.decompress(self.data)) if packed else self.digest

    def descriptor(self, **more: Any) -> Json:
        """What points at it; `more` goes in as it is."""
        size = len(self.data)
        return {"mediaType": self.media_type, "digest": self.digest, "size": size, **more}


EMPTY_BLOB = Blob(b"{}", EMPTY)


@dataclass(frozen=True)
class Content(Blob):
    """A manifest or index with everything that it needs at a registry."""

    blobs: tuple[Blob, ...] = ()
    children: tuple[Content, ...] = ()
    extra: Json = field(default_factory=dict)

    @property
    def body(self) -> Any:
        """The parsed JSON."""
        return json.loads(self.data)

    def everything(self) -> Iterator[Content]:
        """Its children, theirs, and itself last."""
        for child in self.children:
            yield from child.everything()
        yield self


def blob(seed: str, size: int = 100, media_type: str = OCI_LAYER) -> Blob:
    """`size` bytes that depend on `seed` alone; 0 gives the empty blob."""
    return Blob(random.Random(seed).randbytes(size), media_type)


def manifest(
    seed: str = "a",
    *,
    layers: int | tuple[Blob, ...] = 2,
    size: int = 100,
    docker: bool = False,
    platform: str = "linux/amd64",
    created: str = "2026-01-01T00:00:00Z",
    **fields: Any,
) -> Content:
    """A manifest with a config of its own and `layers` layers of `size` bytes.

    `fields` go into the manifest as they are: `annotations`, `artifactType`, `subject`.
    """
    layer_type, config_type = (DOCKER_LAYER, DOCKER_CONFIG) if docker else (OCI_LAYER, OCI_CONFIG)
    if isinstance(layers, int):
        layers = tuple(blob(f"{seed}/{n}", size, layer_type) for n in range(layers))
    config = _config(seed, layers, platform, created, config_type)
    return _manifest(config, layers, DOCKER_MANIFEST if docker else OCI_MANIFEST, **fields)


def artifact(
    subject: Content | None = None,
    *,
    seed: str = "sbom",
    artifact_type: str = "application/vnd.example.sbom",
    layers: int = 1,
    **fields: Any,
) -> Content:
    """An artifact with `artifactType` and the empty config; a referrer when it has a subject."""
    blobs = tuple(blob(f"{seed}/{n}", 50, "application/json") for n in range(layers))
    if subject:
        fields["subject"] = subject.descriptor()
    return _manifest(
        EMPTY_BLOB, blobs or (EMPTY_BLOB,), OCI_MANIFEST, artifactType=artifact_type, **fields
    )


def index(*children: Content, docker: bool = False, **fields: Any) -> Content:
    """An index over `children`, each with the platform its config names; none is an empty index."""
    media_type = DOCKER_LIST if docker else OCI_INDEX
    entries = [child.descriptor(**child.extra) for child in children]
    body = {"schemaVersion": 2, "mediaType": media_type, "manifests": entries, **fields}
    return Content(_json(body), media_type, children=children)


def platforms(
    seed: str = "a",
    names: tuple[str, ...] = ("linux/amd64", "linux/arm64"),
    *,
    docker: bool = False,
    **options: Any,
) -> Content:
    """A multi-platform index: one manifest for each name."""
    children = (
        manifest(f"{seed}/{name}", platform=name, docker=docker, **options) for name in names
    )
    return index(*children, docker=docker)


def attested(seed: str = "a", **options: Any) -> Content:
    """A multi-platform index as buildkit writes it: an attestation beside each platform."""
    children: list[Content] = []
    for child in platforms(seed, **options).children:
        children += [child, _attestation(child)]
    return index(*children)


def versions(
    count: int, *, shared_layers: int = 3, size: int = 100, seed: str = "series"
) -> dict[str, Content]:
    """`count` manifests by tag, `v1.0.0` on: the same base layers, one layer and config each.

    Ten patch versions to a minor version, `created` a day apart.
    """
    base = tuple(blob(f"{seed}/base/{n}", size) for n in range(shared_layers))
    return {
        f"v1.{n // 10}.{n % 10}": manifest(
            f"{seed}/{n}", layers=(*base, blob(f"{seed}/own/{n}", size)), created=_day(n)
        )
        for n in range(count)
    }


def push(
    registry: Registry, repository: str, tag: str | None, content: Content, **access: Any
) -> str:
    """Puts content with all that it needs under a tag (by digest without one); its digest."""
    with Client(registry, **access) as client:
        return _push(client, repository, tag, content)


def _push(client: Client, repository: str, tag: str | None, content: Content) -> str:
    for part in content.everything():
        for item in part.blobs:
            client.push_blob(repository, item.data)
        reference = tag if tag and part is content else part.digest
        client.push_manifest(repository, reference, part.media_type, part.data)
    return content.digest


def series(
    registry: Registry,
    repository: str,
    count: int,
    shared_layers: int = 3,
    *,
    size: int = 100,
    **access: Any,
) -> dict[str, Content]:
    """Pushes `versions(count)`: N tags that share layers, each with one layer and config of its own."""
    found = versions(count, shared_layers=shared_layers, size=size, seed=repository)
    with Client(registry, **access) as client:
        for tag, content in found.items():
            _push(client, repository, tag, content)
    return found


def fetch(
    registry: Registry, repository: str, reference: str, **access: Any
) -> tuple[bytes, str, str]:
    """Bytes, media type and digest of a manifest or index."""
    with Client(registry, **access) as client:
        return client.fetch(repository, reference)


def tags(registry: Registry, repository: str, **access: Any) -> list[str]:
    """All tags of a repository, sorted; none where it is not there."""
    with Client(registry, **access) as client:
        return client.tags(repository)


def skopeo_raw(registry: Registry, repository: str, reference: str, **access: Any) -> bytes:
    """A manifest's bytes as skopeo reads them: a client that shares nothing with ours."""
    skopeo = shutil.which("skopeo")
    if skopeo is None:
        absent("skopeo", required=True)
    client = Client(registry, **access)
    separator = "@" if ":" in reference else ":"
    name = f"docker://{client.host}/{repository}{separator}{reference}"
    command = [skopeo, "inspect", "--raw", "--tls-verify=false", name]
    if client.login:
        command[2:2] = ["--creds", ":".join(client.login)]
    return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout


def _config(
    seed: str, layers: tuple[Blob, ...], platform: str, created: str, media_type: str
) -> Blob:
    system, architecture, *variant = platform.split("/")
    body = {
        "os": system,
        "architecture": architecture,
        **({"variant": variant[0]} if variant else {}),
        "created": created,
        "config": {"Labels": {"seed": seed}},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
    }
    return Blob(_json(body), media_type)


def _manifest(config: Blob, layers: tuple[Blob, ...], media_type: str, **fields: Any) -> Content:
    body = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": config.descriptor(),
        "layers": [layer.descriptor() for layer in layers],
        **fields,
    }
    extra: Json = {}
    if config.media_type in {OCI_CONFIG, DOCKER_CONFIG}:
        about = json.loads(config.data)
        names = ("architecture", "os", "variant")
        extra = {"platform": {name: about[name] for name in names if name in about}}
    return Content(_json(body), media_type, (config, *layers), extra=extra)


def _attestation(of: Content) -> Content:
    made = manifest(
        of.digest,
        layers=(blob(of.digest, 80, "application/vnd.in-toto+json"),),
        platform="unknown/unknown",
    )
    annotations = {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": of.digest,
    }
    return Content(
        made.data,
        made.media_type,
        made.blobs,
        extra={**made.extra, "annotations": annotations},
    )


def _day(number: int) -> str:
    return f"2026-{1 + number // 28 % 12:02}-{1 + number % 28:02}T00:00:00Z"


def _json(body: Json) -> bytes:
    # Spaces, order and a newline that no serialiser would give back: a rewritten copy shows.
    return json.dumps(body, indent=3).encode() + b"\n"
