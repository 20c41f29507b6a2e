"""Content written straight into the file system of distribution, for what pushing is too slow for."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from pathlib import Path

from tests import client, content
from tests.content import Blob, Content

_PIECE = 8 * 1024 * 1024


class Layout:
    """A registry's root directory, as distribution 2 and 3 keep it.

    Attributes:
        root: The directory.
        sizes: The size of every blob and manifest, by digest.
        repositories: What there is, with the number of tags.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sizes: dict[str, int] = {}
        self.repositories: dict[str, int] = {}
        self._base = root / "docker/registry/v2"

    def tag(self, repository: str, tag: str, made: Content) -> None:
        """Stores a manifest and its blobs under a tag."""
        for blob in made.blobs:
            self._store(blob)
            self._link(repository, f"_layers/{_path(blob.digest)}", blob.digest)
        self._store(made)
        self._name(repository, tag, made.digest)

    def large(self, repository: str, tag: str, sizes: list[int], *, zeros: bool = False) -> None:
        """Stores a manifest over blobs of these sizes: noise, or zeros that take no room on disk."""
        config = content.blob("large", 100, content.OCI_CONFIG)
        blobs = [self._noise(f"{tag}/{n}", size, zeros=zeros) for n, size in enumerate(sizes)]
        for digest in (config.digest, *(blob["digest"] for blob in blobs)):
            self._link(repository, f"_layers/{_path(digest)}", digest)
        body = {
            "schemaVersion": 2,
            "mediaType": client.OCI_MANIFEST,
            "config": config.descriptor(),
            "layers": blobs,
        }
        made = Content(json.dumps(body).encode(), client.OCI_MANIFEST)
        self._store(config)
        self._store(made)
        self._name(repository, tag, made.digest)

    def _name(self, repository: str, tag: str, digest: str) -> None:
        named = f"_manifests/tags/{tag}"
        self._link(repository, f"_manifests/revisions/{_path(digest)}", digest)
        self._link(repository, f"{named}/index/{_path(digest)}", digest)
        self._link(repository, f"{named}/current", digest)
        self.repositories[repository] = self.repositories.get(repository, 0) + 1

    def _store(self, blob: Blob) -> None:
        if blob.digest not in self.sizes:
            self._data(blob.digest).write_bytes(blob.data)
            self.sizes[blob.digest] = len(blob.data)

    def _noise(self, seed: str, size: int, *, zeros: bool) -> content.Json:
        dice, digest = random.Random(seed), hashlib.sha256()  # noqa: S311 - content, no secret
        written = self.root / "being-written"
        written.parent.mkdir(parents=True, exist_ok=True)
        with written.open("wb") as file:
            for start in range(0, size, _PIECE):
                count = min(_PIECE, size - start)
                piece = bytes(count) if zeros else dice.randbytes(count)
                digest.update(piece)
                file.seek(count, 1) if zeros else file.write(piece)
            file.truncate(size)
        name = f"sha256:{digest.hexdigest()}"
        shutil.move(written, self._data(name))
        self.sizes[name] = size
        return {"mediaType": content.OCI_LAYER, "digest": name, "size": size}

    def _data(self, digest: str) -> Path:
        algorithm, encoded = digest.split(":")
        path = self._base / "blobs" / algorithm / encoded[:2] / encoded / "data"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _link(self, repository: str, place: str, digest: str) -> None:
        link = self._base / "repositories" / repository / place / "link"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.write_text(digest)


def tags_of(root: Path, repository: str) -> int:
    """How many tags a repository below `root` has."""
    place = root / "docker/registry/v2/repositories" / repository / "_manifests/tags"
    return sum(1 for _ in place.iterdir()) if place.is_dir() else 0


def _path(digest: str) -> str:
    return digest.replace(":", "/")
