"""Manifests and indexes: parsed for what they name, kept as the bytes they came in. Pure.

Source: OCI image-spec 1.1 "manifest", "image-index", "descriptor"; Docker schema 2.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from syncer import errors, reference

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"
EMPTY_CONFIG = "application/vnd.oci.empty.v1+json"

MANIFEST_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_LIST})
SCHEMA1_TYPES = frozenset({DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED})
# Without the full list an OCI tag is a 404 on distribution; schema 1 is asked for to be named.
ACCEPT = ", ".join(
    (
        OCI_MANIFEST,
        OCI_INDEX,
        DOCKER_MANIFEST,
        DOCKER_LIST,
        f"{DOCKER_SCHEMA1_SIGNED};q=0.1",
        f"{DOCKER_SCHEMA1};q=0.1",
        "*/*;q=0.1",
    )
)
# The spec asks registries to take 4 MiB; twice that is read before giving up.
LIMIT = 8 * 1024 * 1024
MAX_DESCRIPTORS = 100_000
_EMPTY: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Descriptor:
    """A pointer to content: its type, digest and size in bytes (image-spec "descriptor")."""

    media_type: str
    digest: str
    size: int
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=lambda: _EMPTY, hash=False)
    platform: str = ""
    urls: tuple[str, ...] = ()

    @property
    def is_index(self) -> bool:
        """Whether this points at an index or manifest list."""
        return self.media_type in INDEX_TYPES

    @property
    def is_manifest(self) -> bool:
        """Whether this points at something that is pushed as a manifest, or once was."""
        return self.media_type in MANIFEST_TYPES | INDEX_TYPES | SCHEMA1_TYPES

    @property
    def is_foreign(self) -> bool:
        """Whether the content lies elsewhere by design (non-distributable layers)."""
        return ".nondistributable." in self.media_type or ".foreign." in self.media_type


@dataclass(frozen=True)
class Manifest:
    """A manifest or an index, with the exact bytes it was read as.

    Attributes:
        raw: The bytes; what is pushed is these and no others.
        media_type: The type the registry served them as.
        digest: The digest of `raw`.
        config: The config blob; None for an index.
        layers: The layer blobs of a manifest.
        manifests: The children of an index.
        subject: What this refers to, or None.
        artifact_type: `artifactType`, else the config's media type.
        annotations: The manifest's own annotations.
    """

    raw: bytes = field(repr=False)
    media_type: str
    digest: str
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] = ()
    manifests: tuple[Descriptor, ...] = ()
    subject: Descriptor | None = None
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=lambda: _EMPTY, hash=False)

    @property
    def is_index(self) -> bool:
        """Whether this is an index or manifest list."""
        return self.media_type in INDEX_TYPES

    @property
    def size(self) -> int:
        """The number of bytes of the manifest itself."""
        return len(self.raw)

    @property
    def descriptor(self) -> Descriptor:
        """A descriptor of this manifest, as a referrers list holds it."""
        return Descriptor(
            self.media_type, self.digest, self.size, self.artifact_type, self.annotations
        )

    def blobs(self) -> Iterator[Descriptor]:
        """The blobs this manifest names, each digest once: config first, then layers."""
        seen: set[str] = set()
        for descriptor in (*((self.config,) if self.config else ()), *self.layers):
            if descriptor.digest not in seen:
                seen.add(descriptor.digest)
                yield descriptor


def digest_of(raw: bytes, algorithm: str = "sha256") -> str:
    """The digest of `raw`.

    Raises:
        UnsupportedContentError: The algorithm is not one of this program's.
    """
    return f"{algorithm}:{hasher(algorithm, raw).hexdigest()}"


def hasher(algorithm: str, raw: bytes = b"") -> hashlib._Hash:
    """A running hash for a digest algorithm of the image-spec."""
    if algorithm not in ("sha256", "sha512"):
        raise errors.UnsupportedContentError(f"digest algorithm {algorithm!r} is not supported")
    return hashlib.new(algorithm, raw)


def parse(raw: bytes, media_type: str, digest: str = "") -> Manifest:
    """The manifest in `raw`.

    Args:
        raw: The bytes as served.
        media_type: The `Content-Type` they were served with; parameters are ignored.
        digest: The digest they were asked by, where there was one.

    Raises:
        DigestMismatchError: `raw` has another digest.
        InvalidManifestError: `raw` is no manifest, or its `mediaType` contradicts `media_type`.
        UnsupportedContentError: A type that cannot be copied as it is, such as Docker schema 1.
    """
    actual = digest_of(raw, digest.partition(":")[0] or "sha256")
    if digest and actual != digest:
        raise errors.DigestMismatchError(f"asked for manifest {digest}, received {actual}")
    media_type = media_type.partition(";")[0].strip()
    if media_type in SCHEMA1_TYPES:
        raise errors.UnsupportedContentError(
            f"manifest {actual} is Docker schema 1, which no current registry takes"
        )
    body = _object(raw, actual)
    declared = body.get("mediaType", "")
    if media_type not in MANIFEST_TYPES | INDEX_TYPES:
        media_type = declared or media_type
    if declared and declared != media_type:
        raise errors.InvalidManifestError(
            f"manifest {actual} says it is {declared} and was served as {media_type}"
        )
    if media_type in INDEX_TYPES:
        return _index(raw, body, media_type, actual)
    if media_type in MANIFEST_TYPES:
        return _manifest(raw, body, media_type, actual)
    raise errors.UnsupportedContentError(f"manifest {actual} has the unknown type {media_type!r}")


def referrers_index(standing: Manifest | None, found: Iterable[Descriptor]) -> Manifest | None:
    """The index of referrers that a fallback tag should name, or None when `standing` has all.

    What stands is kept as it is; what is missing is added behind it with its artifact type and
    annotations (distribution-spec 1.1, "Pushing Manifests with Subject").

    Args:
        standing: The index under the tag now; None when there is none.
        found: The referrers it should list.

    Raises:
        InvalidManifestError: What stands under the tag is no index.
    """
    if standing is not None and not standing.is_index:
        raise errors.InvalidManifestError(
            f"a fallback tag names {standing.digest}, which is no index: referrers cannot be added"
        )
    listed = {each.digest for each in standing.manifests} if standing else set()
    missing = [each for each in found if each.digest not in listed]
    if standing is not None and not missing:
        return None
    body: dict[str, Any] = json.loads(standing.raw) if standing else {"schemaVersion": 2}
    body["mediaType"] = standing.media_type if standing else OCI_INDEX
    body["manifests"] = [*(body.get("manifests") or ()), *map(_entry, missing)]
    return parse(json.dumps(body, separators=(",", ":")).encode(), body["mediaType"])


def _entry(found: Descriptor) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "mediaType": found.media_type,
        "digest": found.digest,
        "size": found.size,
    }
    if found.artifact_type:
        entry["artifactType"] = found.artifact_type
    if found.annotations:
        entry["annotations"] = dict(found.annotations)
    return entry


def _object(raw: bytes, digest: str) -> dict[str, Any]:
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise errors.InvalidManifestError(f"manifest {digest} is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise errors.InvalidManifestError(f"manifest {digest} is not a JSON object")
    return body


def _index(raw: bytes, body: dict[str, Any], media_type: str, digest: str) -> Manifest:
    if "layers" in body or "config" in body:
        raise errors.InvalidManifestError(f"index {digest} also has layers or a config")
    return Manifest(
        raw,
        media_type,
        digest,
        manifests=_descriptors(body.get("manifests"), f"index {digest}"),
        subject=_subject(body, digest),
        artifact_type=_text(body, "artifactType"),
        annotations=_annotations(body),
    )


def _manifest(raw: bytes, body: dict[str, Any], media_type: str, digest: str) -> Manifest:
    if "manifests" in body:
        raise errors.InvalidManifestError(f"manifest {digest} also lists manifests")
    config = _descriptor(body.get("config"), f"config of manifest {digest}")
    return Manifest(
        raw,
        media_type,
        digest,
        config=config,
        layers=_descriptors(body.get("layers"), f"manifest {digest}"),
        subject=_subject(body, digest),
        artifact_type=_text(body, "artifactType") or config.media_type,
        annotations=_annotations(body),
    )


def _subject(body: dict[str, Any], digest: str) -> Descriptor | None:
    subject = body.get("subject")
    return None if subject is None else _descriptor(subject, f"subject of manifest {digest}")


def _descriptors(items: Any, where: str) -> tuple[Descriptor, ...]:
    if items is None:
        return ()
    if not isinstance(items, list) or len(items) > MAX_DESCRIPTORS:
        raise errors.InvalidManifestError(f"{where} has no usable list of descriptors")
    return tuple(_descriptor(item, where) for item in items)


def _descriptor(item: Any, where: str) -> Descriptor:
    match item:
        case {"mediaType": str(media_type), "digest": str(digest), "size": int(size)} if (
            reference.is_digest(digest) and size >= 0
        ):
            return Descriptor(
                media_type,
                digest,
                size,
                artifact_type=_text(item, "artifactType"),
                annotations=_annotations(item),
                platform=_platform(item.get("platform")),
                urls=tuple(url for url in item.get("urls") or () if isinstance(url, str)),
            )
    raise errors.InvalidManifestError(f"{where} has a descriptor without type, digest or size")


def _platform(item: Any) -> str:
    if not isinstance(item, dict):
        return ""
    parts = (item.get("os"), item.get("architecture"), item.get("variant"))
    return "/".join(part for part in parts if isinstance(part, str) and part)


def _text(item: dict[str, Any], key: str) -> str:
    value = item.get(key)
    return value if isinstance(value, str) else ""


def _annotations(item: dict[str, Any]) -> Mapping[str, str]:
    value = item.get("annotations")
    if not isinstance(value, dict):
        return _EMPTY
    return {key: text for key, text in value.items() if isinstance(text, str)}
