"""One of every kind of artifact that registries hold, and the fallback tags referrers need."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tests import content
from tests.client import ACCEPT, OCI_INDEX, OCI_MANIFEST, Client, Registry
from tests.content import EMPTY_BLOB, OCI_CONFIG, Blob, Content

# distribution and skopeo take 4 MiB and not a byte more.
LARGEST = 4 * 1024 * 1024
_FILLER = "org.example.filler"


@dataclass(frozen=True)
class Zoo:
    """Content by tag, and the referrers that have none.

    Attributes:
        tags: What is pushed under a tag.
        referrers: What refers to something of `tags`, or to another referrer before it.
    """

    tags: Mapping[str, Content]
    referrers: tuple[Content, ...] = ()

    def everything(self) -> dict[str, Content]:
        """Each manifest and index by digest."""
        tops = (*self.tags.values(), *self.referrers)
        return {part.digest: part for top in tops for part in top.everything()}

    def push(self, registry: Registry, repository: str) -> None:
        """Puts all of it into a repository."""
        for tag, each in self.tags.items():
            content.push(registry, repository, tag, each)
        for each in self.referrers:
            attach(registry, repository, each)


def attach(registry: Registry, repository: str, referrer: Content) -> None:
    """Pushes a referrer by digest as the distribution-spec wants it: listed by its subject."""
    content.push(registry, repository, None, referrer)
    subject = referrer.body["subject"]["digest"]
    with Client(registry) as client:
        if client.request("GET", f"/v2/{repository}/referrers/{subject}")[0] == 200:
            return
        tag = subject.replace(":", "-")
        standing = _standing(client, repository, tag)
        entry = referrer.descriptor(
            artifactType=_artifact_type(referrer.body),
            annotations=referrer.body.get("annotations", {}),
        )
        whole = content.index()
        body = whole.body | {"manifests": [*standing, entry]}
        client.push_manifest(repository, tag, OCI_INDEX, json.dumps(body).encode())


def listed(client: Client, repository: str, subject: str) -> set[str]:
    """Digests of what refers to `subject`, by the API or by the fallback tag."""
    status, _, body = client.request("GET", f"/v2/{repository}/referrers/{subject}")
    if status == 200:
        entries = json.loads(body)["manifests"]
    else:
        entries = _standing(client, repository, subject.replace(":", "-"))
    return {entry["digest"] for entry in entries}


def referrers(registry: Registry, repository: str, subject: str) -> set[str]:
    """As `listed`, over a connection of its own."""
    with Client(registry) as client:
        return listed(client, repository, subject)


def zoo(repository: str = "zoo") -> Zoo:
    """The animals; `repository` makes their digests differ from those of another zoo."""
    seed = repository
    plain = content.manifest(f"{seed}/plain")
    multi = content.platforms(f"{seed}/multi", ("linux/amd64", "linux/arm64", "linux/arm/v7"))
    signed = content.manifest(f"{seed}/signed")
    signature = content.artifact(
        signed, seed=f"{seed}/sig", artifact_type="application/vnd.example.signature"
    )
    tags = {
        "plain": plain,
        "same-again": plain,
        "multi": multi,
        "signed": signed,
        **dict(_indexes(seed, multi)),
        **dict(_manifests(seed)),
        **dict(_cosign(seed, signed)),
    }
    referrers = (
        signature,
        content.artifact(signed, seed=f"{seed}/sbom", annotations={"org.example.kind": "SBOM ☂"}),
        content.artifact(signature, seed=f"{seed}/countersignature"),
        content.artifact(multi, seed=f"{seed}/of-index"),
        content.artifact(multi.children[1], seed=f"{seed}/of-child"),
        content.index(content.manifest(f"{seed}/in-referrer"), subject=plain.descriptor()),
    )
    return Zoo(tags, referrers)


def _indexes(seed: str, multi: Content) -> Iterator[tuple[str, Content]]:
    yield "docker-list", content.platforms(f"{seed}/docker-list", docker=True)
    yield "nested", content.index(multi, content.manifest(f"{seed}/nested"))
    yield "deep", content.index(content.index(content.index(content.manifest(f"{seed}/deep"))))
    yield "attested", content.attested(f"{seed}/attested")
    yield "empty-index", content.index()
    yield (
        "annotated-index",
        content.index(
            content.manifest(f"{seed}/annotated"),
            artifactType="application/vnd.example.bundle",
            annotations={"a": "<&>", "b": "☂"},
            unknown={"field": [1, 2.50, None]},
        ),
    )


def _manifests(seed: str) -> Iterator[tuple[str, Content]]:
    base = content.manifest(f"{seed}/fields")
    layer, empty = content.blob(f"{seed}/layer"), content.blob("", 0)
    yield "docker", content.manifest(f"{seed}/docker", docker=True)
    yield "artifact", content.artifact(seed=f"{seed}/artifact")
    yield "artifact-without-layers", content.artifact(seed=f"{seed}/bare", layers=0)
    yield "zero-byte", content.manifest(f"{seed}/zero", layers=(empty, layer))
    yield "twice", content.manifest(f"{seed}/twice", layers=(layer, layer))
    yield "no-layers", content.manifest(f"{seed}/none", layers=())
    yield "unknown-types", typed(f"{seed}/unknown", "application/vnd.example.what+json", "x/y")
    yield "wasm", typed(f"{seed}/wasm", "application/vnd.wasm.config.v0+json", "application/wasm")
    yield "annotated", content.manifest(f"{seed}/annotated", annotations={"k": "v", "<é>": "\n"})
    yield "unknown-fields", _with(base, unknown={"z": 1, "a": 1e3})
    yield "untyped", _without_type(base)
    body = base.body
    body["layers"][0] |= {
        "data": base64.b64encode(base.blobs[1].data).decode(),
        "annotations": {"in": "descriptor"},
    }
    yield "data-field", replace(base, data=json.dumps(body).encode())
    yield "large", large(seed)


def _cosign(seed: str, signed: Content) -> Iterator[tuple[str, Content]]:
    for suffix in ("sig", "att", "sbom"):
        tag = f"{signed.digest.replace(':', '-')}.{suffix}"
        yield tag, typed(f"{seed}/{suffix}", OCI_CONFIG, f"application/vnd.example.{suffix}")


def typed(seed: str, config: str, layer: str) -> Content:
    """A manifest whose config and layer have these media types."""
    blobs = (Blob(b'{"seed": "%s"}' % seed.encode(), config), content.blob(seed, 60, layer))
    body = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": blobs[0].descriptor(),
        "layers": [blobs[1].descriptor()],
    }
    return Content(json.dumps(body, indent=1).encode(), OCI_MANIFEST, blobs)


def cache(seed: str) -> Content:
    """A build cache as buildkit exports it by default: an index that lists blobs."""
    blobs = (
        content.blob(f"{seed}/cache", 80),
        content.blob(f"{seed}/cache-config", 40, "application/vnd.buildkit.cacheconfig.v0"),
    )
    whole = content.index()
    body = whole.body | {"manifests": [blob.descriptor() for blob in blobs]}
    return replace(whole, data=json.dumps(body, indent=2).encode(), blobs=blobs)


def large(seed: str, size: int = LARGEST) -> Content:
    """A manifest of `size` bytes."""
    base = content.manifest(f"{seed}/large", annotations={_FILLER: ""})
    found = content.manifest(f"{seed}/large", annotations={_FILLER: "x" * (size - len(base.data))})
    assert len(found.data) == size
    return found


def _with(base: Content, **fields: Any) -> Content:
    return replace(base, data=json.dumps(base.body | fields, indent=5).encode() + b"\r\n")


def _without_type(base: Content) -> Content:
    body = {key: value for key, value in base.body.items() if key != "mediaType"}
    return replace(base, data=json.dumps(body).encode())


def _standing(client: Client, repository: str, tag: str) -> list[Any]:
    path = f"/v2/{repository}/manifests/{tag}"
    status, _, body = client.request("GET", path, Accept=ACCEPT)
    return list(json.loads(body)["manifests"]) if status == 200 else []


def _artifact_type(body: Mapping[str, Any]) -> str:
    config = body.get("config", EMPTY_BLOB.descriptor())
    return str(body.get("artifactType") or config["mediaType"])
