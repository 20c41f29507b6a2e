"""Platforms, and indexes trimmed to some of them. Pure.

A platform is `os/architecture[/variant]` as in image-spec "image-index". One that is asked for
without a variant stands for all of them; `arm64` and `arm64/v8` are the same, and so are `arm` and
`arm/v7`, `amd64` and `amd64/v1`, as containerd has it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence

from syncer import errors, manifest
from syncer.manifest import Descriptor, Manifest

# What buildkit annotates an attestation with: the digest of the manifest that it is about.
ATTESTS = "vnd.docker.reference.digest"
_PLATFORM = re.compile(r"[a-z0-9._-]+(/[a-z0-9._-]+){1,2}")
_IMPLIED = {"amd64": "v1", "arm64": "v8", "arm": "v7"}
# Rows that say these are for no platform: attestations, artifacts, indexes in an index.
_NONE = frozenset({"", "unknown/unknown"})
_ALIASES = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "i386": "386",
    "aarch64": "arm64",
    "armhf": "arm/v7",
    "armel": "arm/v6",
}


def checked(text: str) -> str:
    """`text`, which must spell a platform.

    Raises:
        ValueError: It spells none; the message is one sentence.
    """
    if not _PLATFORM.fullmatch(text):
        raise ValueError(
            f"{text!r} is no platform: write os/architecture[/variant], such as 'linux/amd64'"
        )
    system, architecture, *_ = text.split("/")
    if meant := _ALIASES.get(architecture):
        raise ValueError(f"{text!r} is in no index: there it is called {f'{system}/{meant}'!r}")
    return text


def matches(wanted: str, found: str) -> bool:
    """Whether a row for the platform `found` is one that is asked for as `wanted`."""
    ask, have = wanted.split("/"), found.split("/")
    if ask[:2] != have[:2] or len(have) < 2:
        return False
    implied = _IMPLIED.get(have[1], "")
    return len(ask) < 3 or ask[2] == (have[2] if len(have) > 2 else implied)


def trim(index: Manifest, wanted: Sequence[str]) -> Manifest:
    """`index` with the rows of these platforms only; the same one where it would lose none.

    Rows for no platform stay, but for attestations of what goes; an index without any row for a
    platform stays whole. Everything else in it is as it was, and the bytes depend on nothing but
    those of `index` and the rows that stay.

    Raises:
        NoPlatformError: It is for other platforms only.
        InvalidManifestError: It holds a number that JSON cannot.
    """
    named = [row for row in index.manifests if row.platform not in _NONE]
    wrong = [row for row in named if not any(matches(each, row.platform) for each in wanted)]
    if named and len(wrong) == len(named):
        there = ", ".join(sorted({row.platform for row in named}))
        raise errors.NoPlatformError(
            f"{index.digest} is for {there}, none of which is {' or '.join(wanted)}"
        )
    going = {row.digest for row in wrong} - {row.digest for row in named if row not in wrong}
    stays = [row not in wrong and not _attests(row, going) for row in index.manifests]
    return index if all(stays) else _with_rows(index, stays)


def _attests(row: Descriptor, going: Collection[str]) -> bool:
    return row.platform in _NONE and row.annotations.get(ATTESTS) in going


def _with_rows(index: Manifest, stays: Sequence[bool]) -> Manifest:
    body = json.loads(index.raw)
    rows = zip(body["manifests"], stays, strict=True)
    body["manifests"] = [row for row, keep in rows if keep]
    try:
        raw = json.dumps(body, separators=(",", ":"), allow_nan=False).encode()
    except ValueError as error:
        raise errors.InvalidManifestError(f"index {index.digest}: {error}") from None
    return manifest.parse(raw, index.media_type)
