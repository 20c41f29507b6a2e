"""`index.json`: one row for each name, replaced as a whole under a lock."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from syncer import errors, manifest
from syncer.layout import names
from syncer.layout.disk import Disk
from syncer.layout.names import Name
from syncer.manifest import Descriptor, Manifest

VERSION = "1.0.0"
_LIMIT = 64 * 1024 * 1024
_EMPTY = {"schemaVersion": 2, "mediaType": manifest.OCI_INDEX}


@dataclass(frozen=True)
class Row:
    """A row: what it points at, and its JSON as it stands in the file."""

    descriptor: Descriptor
    text: str

    @property
    def digest(self) -> str:
        """The digest of the manifest it points at."""
        return self.descriptor.digest


Rows = Mapping[Name, Row]


@dataclass(frozen=True)
class _Known:
    raw: bytes
    head: Mapping[str, Any]  # all of the file but its rows
    rows: Rows


class Index:
    """The `index.json` of a layout whose plain tags belong to the repository `own`."""

    def __init__(self, disk: Disk, own: str) -> None:
        self._disk = disk
        self._own = own
        self._path = disk.root / "index.json"
        self._marker = disk.root / "oci-layout"
        self._lock = threading.Lock()
        self._known: _Known | None = None

    def rows(self) -> Rows:
        """Every row by its name, in the order of the file; the same object while it is unchanged.

        Raises:
            NotFoundError: The directory is no layout.
            ContentError: It is, and its index cannot be read.
        """
        return self._load().rows

    @contextmanager
    def editing(self) -> Iterator[dict[Name, Row]]:
        """The rows, to be changed; written when the block ends without error."""
        with self._disk.locked():
            known = self._load()
            rows = dict(known.rows)
            yield rows
            if rows != known.rows:
                self._save(known.head, rows)

    def create(self) -> None:
        """Makes the directory a layout if it is not one."""
        with self._disk.locked():
            if self._disk.read(self._marker, 1) is None:
                if self._disk.read(self._path, 1) is None:
                    self._save(_EMPTY, {})
                self._disk.make(self._disk.root / "blobs")
                with self._disk.replacing(self._marker) as write:
                    write(json.dumps({"imageLayoutVersion": VERSION}).encode())

    def _load(self) -> _Known:
        # Compared by its bytes: two writes within a file system's clock tick look alike to stat.
        raw = self._disk.read(self._path, _LIMIT + 1)
        if raw is None:
            raise self._missing()
        with self._lock:
            if self._known is None or raw != self._known.raw:
                self._check_version()
                self._known = self._parse(raw)
            return self._known

    def _parse(self, raw: bytes) -> _Known:
        if len(raw) > _LIMIT:
            raise errors.InvalidManifestError(f"{self._path} is more than {_LIMIT} bytes")
        try:
            descriptors = manifest.parse(raw, manifest.OCI_INDEX).manifests
            head = json.loads(raw)
            texts = list(map(_json, head.pop("manifests", None) or ()))
        except (errors.InvalidManifestError, RecursionError) as error:
            raise errors.InvalidManifestError(f"{self._path}: {error}") from None
        rows: dict[Name, Row] = {}
        for descriptor, text in zip(descriptors, texts, strict=True):
            name = names.split(descriptor.annotations, descriptor.digest, self._own)
            if name is None or name in rows:
                # Of two with one name the first counts, as elsewhere. The row stays in the file,
                # under what is no tag, and is asked for by digest.
                name = ("", f"row {len(rows)}")
            rows[name] = Row(descriptor, text)
        return _Known(raw, head, rows)

    def _save(self, head: Mapping[str, Any], rows: Rows) -> None:
        lines = ",\n".join(row.text for row in rows.values())
        raw = f'{_json({**_EMPTY, **head})[:-1]},"manifests":[\n{lines}\n]}}\n'.encode()
        with self._disk.replacing(self._path) as write:
            write(raw)
        with self._lock:
            self._known = _Known(raw, head, rows)

    def _check_version(self) -> None:
        raw = self._disk.read(self._marker, manifest.LIMIT)
        if raw is None:
            raise self._missing()
        try:
            body = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise errors.InvalidManifestError(f"{self._marker} is not JSON: {error}") from None
        version = body.get("imageLayoutVersion") if isinstance(body, dict) else None
        if version != VERSION:
            raise errors.UnsupportedContentError(
                f"{self._marker} says version {version!r}; only {VERSION} can be read"
            )

    def _missing(self) -> errors.NotFoundError:
        root = self._disk.root
        why = (
            f"{root} is no OCI image layout: it has no oci-layout and index.json"
            if root.is_dir()
            else f"{root} is not there: it should be a directory with an OCI image layout"
        )
        return errors.NotFoundError(why, registry=self._disk.name)


def row(name: Name, digest: str, content: Manifest) -> Row:
    """A row for a manifest under a name, its repository "" where the tag is to be plain."""
    annotations = names.annotate(*name)
    item: dict[str, Any] = {
        "mediaType": content.media_type,
        "digest": digest,
        "size": content.size,
        **({"artifactType": content.artifact_type} if content.subject else {}),
        **({"annotations": annotations} if annotations else {}),
    }
    return Row(Descriptor(content.media_type, digest, content.size), _json(item))


def _json(item: Mapping[str, Any]) -> str:
    return json.dumps(item, separators=(",", ":"))
