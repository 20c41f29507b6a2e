"""Names: digests, repositories, tags and the references people type.

Grammar: OCI distribution-spec 1.1, "Pulling manifests"; image-spec, "Digests". Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from syncer import errors

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")
_ENCODED = {"sha256": re.compile(r"[a-f0-9]{64}"), "sha512": re.compile(r"[a-f0-9]{128}")}
REPOSITORY_LENGTH = 255


def is_digest(text: str) -> bool:
    """Whether `text` is a well-formed digest; unknown algorithms that fit the grammar pass."""
    if not _DIGEST.fullmatch(text):
        return False
    algorithm, _, encoded = text.partition(":")
    known = _ENCODED.get(algorithm)
    return known is None or known.fullmatch(encoded) is not None


def is_tag(text: str) -> bool:
    """Whether `text` is a well-formed tag."""
    return _TAG.fullmatch(text) is not None


def is_repository(text: str) -> bool:
    """Whether `text` is a well-formed repository name."""
    return len(text) <= REPOSITORY_LENGTH and _REPOSITORY.fullmatch(text) is not None


def short(digest: str) -> str:
    """The first twelve characters of a digest's encoded part, for people."""
    return digest.partition(":")[2][:12]


def fallback_tag(digest: str) -> str:
    """The tag under which referrers of `digest` stand where there is no referrers API.

    Source: distribution-spec 1.1, "Referrers Tag Schema".
    """
    algorithm, _, encoded = digest.partition(":")
    return re.sub(r"[^a-zA-Z0-9._-]", "-", f"{algorithm[:32]}-{encoded[:64]}")


TRASH = "syncer-trash-"


def is_trash(tag: str) -> bool:
    """Whether `tag` is one of ours that keeps a dropped digest alive for an undo."""
    return tag.startswith(TRASH)


_FALLBACK = re.compile(r"sha256-([0-9a-f]{64})")


def subject_of(tag: str) -> str:
    """The digest whose referrers stand under `tag`; empty when it is no fallback tag.

    A sha512 does not fit into a tag whole, so its fallback tag tells no subject.
    """
    match = _FALLBACK.fullmatch(tag)
    return f"sha256:{match[1]}" if match else ""


@dataclass(frozen=True, order=True)
class Reference:
    """A registry, a repository in it and perhaps a tag or digest.

    Attributes:
        registry: A name of the rules file, or a host such as `registry.example.com:5000`, or, for
            an image layout, its path after `oci:`.
        repository: The repository; empty where the registry itself is meant.
        tag: The tag, or empty.
        digest: The digest, or empty.
    """

    registry: str
    repository: str = ""
    tag: str = ""
    digest: str = ""

    @property
    def target(self) -> str:
        """What the distribution-spec calls `<reference>`: the digest if there is one, else the tag."""
        return self.digest or self.tag

    def __str__(self) -> str:
        text = f"{self.registry}/{self.repository}" if self.repository else self.registry
        if self.tag:
            text += f":{self.tag}"
        return f"{text}@{self.digest}" if self.digest else text


def parse(text: str) -> Reference:
    """The reference that `text` spells: `REGISTRY[/REPOSITORY[:TAG][@DIGEST]]`.

    Raises:
        UsageError: `text` is no reference; the sentence says which part is wrong.
    """
    registry, slash, rest = text.partition("/")
    if not registry:
        raise errors.UsageError(f"{text!r} names no registry: write REGISTRY/REPOSITORY:TAG")
    if not slash:
        return Reference(registry)
    rest, at, digest = rest.partition("@")
    repository, colon, tag = rest.partition(":")
    if not is_repository(repository):
        raise errors.UsageError(
            f"{repository!r} in {text!r} is no repository name: lower-case letters, digits and"
            " . _ - between them, parts joined by /"
        )
    if colon and not is_tag(tag):
        raise errors.UsageError(f"{tag!r} in {text!r} is no tag")
    if at and not is_digest(digest):
        raise errors.UsageError(
            f"{digest!r} in {text!r} is no digest: write sha256:<64 hex digits>"
        )
    return Reference(registry, repository, tag, digest)
