"""How a layout's names are spelled: in `index.json` and on the command line. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath

from syncer import errors, reference
from syncer.reference import Reference

REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"
PREFIX = "oci:"
_HOST_AND_PORT = re.compile(r"[^/:]+:\d+/")

# A repository, and a tag of it or a digest; the repository is "" where a row has no name at all.
Name = tuple[str, str]


def parse(text: str) -> Reference | None:
    """The reference that `text` spells, or None where it does not begin with `oci:`.

    `oci:PATH`, `oci:PATH//REPOSITORY[:TAG]` and, as skopeo has it, `oci:PATH:TAG` or
    `oci:PATH:REPOSITORY:TAG`; each may end in `@DIGEST`. The registry of the reference is
    `oci:PATH/`, so that every reference that is printed can be typed in again.

    Raises:
        UsageError: `text` names no directory, or no repository, tag or digest in it.
    """
    if not text.startswith(PREFIX):
        return None
    rest, digest = _digest(text.removeprefix(PREFIX))
    path, slashes, name = rest.partition("//")
    if not slashes:
        path, colon, name = rest.partition(":")
        if colon and not {":", "/"} & set(name):
            name = f":{name}"
    if not path:
        raise errors.UsageError(
            f"{text!r} names no directory: write oci:PATH or oci:PATH//REPOSITORY:TAG"
        )
    repository, colon, tag = name.partition(":")
    if repository and not reference.is_repository(repository):
        raise errors.UsageError(
            f"{repository!r} in {text!r} is no repository name: lower-case letters, digits and"
            " . _ - between them, parts joined by /"
        )
    if colon and not reference.is_tag(tag):
        raise errors.UsageError(f"{tag!r} in {text!r} is no tag")
    return Reference(f"{PREFIX}{path.rstrip('/')}/", repository, tag, digest)


def _digest(text: str) -> tuple[str, str]:
    """`text` without the digest it ends in, and the digest."""
    rest, at, digest = text.rpartition("@")
    return (rest, digest) if at and reference.is_digest(digest) else (text, "")


def own_repository(name: str) -> str:
    """The repository that plain tags belong to, from a name such as `usb` or `oci:/mnt/usb/`."""
    last = PurePath(name.removeprefix(PREFIX)).name.lower()
    return re.sub(r"[^a-z0-9]+", "-", last).strip("-") or "layout"


def annotate(repository: str, target: str) -> dict[str, str]:
    """What the row of a tag or digest is annotated with, so that `split` gives them back.

    A digest is no tag: it goes where no tool looks for tags, and nowhere for the repository "".
    """
    if reference.is_digest(target):
        return {CONTAINERD_NAME: f"{repository}@{target}"} if repository else {}
    return {REF_NAME: f"{repository}:{target}" if repository else target}


def split(annotations: Mapping[str, str], digest: str, own: str) -> Name | None:
    """What a row with these annotations is called; None where that is no name of ours."""
    name = annotations.get(REF_NAME, "")
    beside = _split(annotations.get(CONTAINERD_NAME, ""))
    if reference.is_tag(name):
        return (beside[0] if beside else own, name)
    return _split(name) if name else beside or ("", digest)


def _split(text: str) -> Name | None:
    text = _HOST_AND_PORT.sub("", text, count=1) if _HOST_AND_PORT.match(text) else text
    rest, digest = _digest(text)
    repository, _, tag = rest.partition(":")
    if not reference.is_repository(repository):
        return None
    if reference.is_tag(tag):
        return repository, tag
    return (repository, digest) if digest and not tag else None
