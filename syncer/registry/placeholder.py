"""Deleting one tag where a registry deletes by digest only (distribution 2.8).

A manifest of our own is pushed over the tag and then deleted by its digest: the tag goes with it,
and every other tag on the old digest stays. Where the last step is refused, the tag would be left
on an empty manifest (regclient #96, #258, #819), so it is proven first that it is not.
"""

from __future__ import annotations

import json
import threading
import uuid
from contextlib import nullcontext

from syncer import errors, manifest
from syncer.manifest import Descriptor, Manifest
from syncer.registry import manifests, upload
from syncer.registry.exchange import Exchange

_CONTENT = b"{}"
_CONFIG = Descriptor(manifest.EMPTY_CONFIG, manifest.digest_of(_CONTENT), len(_CONTENT))


def delete_tag(exchange: Exchange, repository: str, tag: str) -> None:
    """Removes `tag` and leaves every other tag alone. Being gone already is fine.

    Raises:
        UnsupportedError: Deleting by digest does not work here either; nothing was changed.
        RegistryError: Something failed; the tag is back where it was, or the sentence says not.
    """
    if manifests.resolve(exchange, repository, tag) is None:
        return
    _prove(exchange, repository)
    before = manifests.read(exchange, repository, tag)
    cover = _placeholder()
    # From here to the end a stop would leave the tag on the placeholder.
    steady = Exchange(exchange.shared, exchange.observer, threading.Event())
    try:
        manifests.put(steady, repository, tag, cover)
        _expect(steady, repository, tag, cover.digest)
        manifests.delete(steady, repository, cover.digest)
        _expect(steady, repository, tag, "")
    except errors.SyncerError as error:
        _restore(steady, repository, tag, before, cover, error)
        raise


def _prove(exchange: Exchange, repository: str) -> None:
    """Shows once that a manifest can be deleted by digest here: one that has no tag."""
    proven = exchange.shared.learned.deletes
    if repository in proven:
        return
    upload.put_blob(
        exchange, repository, _CONFIG, lambda: nullcontext(iter((_CONTENT,))), mount_from=()
    )
    probe = _placeholder()
    manifests.put(exchange, repository, probe.digest, probe)
    manifests.delete(exchange, repository, probe.digest)
    _expect(exchange, repository, probe.digest, "")
    proven.add(repository)


def _expect(exchange: Exchange, repository: str, target: str, digest: str) -> None:
    found = manifests.resolve(exchange, repository, target)
    if (found.digest if found else "") != digest:
        raise errors.UnsupportedError(
            f"{exchange.name}/{repository}: {target} is {found.digest if found else 'gone'} and"
            f" should be {digest or 'gone'}: single tags cannot be deleted safely there",
            registry=exchange.name,
        )


def _restore(
    exchange: Exchange,
    repository: str,
    tag: str,
    before: Manifest,
    cover: Manifest,
    cause: errors.SyncerError,
) -> None:
    """Puts the tag back, unless somebody else has moved it meanwhile."""
    try:
        found = manifests.resolve(exchange, repository, tag)
        if found is None or found.digest == cover.digest:
            manifests.put(exchange, repository, tag, before)
    except errors.SyncerError as error:
        raise errors.RegistryError(
            f"{exchange.name}/{repository}:{tag} may have been left on an empty placeholder"
            f" ({cause}): put {before.digest} back under it ({error})",
            registry=exchange.name,
        ) from error


def _placeholder() -> Manifest:
    """A manifest that nobody else has: nothing can be lost with it."""
    config = {"mediaType": _CONFIG.media_type, "digest": _CONFIG.digest, "size": _CONFIG.size}
    content = {
        "schemaVersion": 2,
        "mediaType": manifest.OCI_MANIFEST,
        "config": config,
        "layers": [config],
        "annotations": {"syncer.placeholder": uuid.uuid4().hex},
    }
    return manifest.parse(json.dumps(content).encode(), manifest.OCI_MANIFEST)
