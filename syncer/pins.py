"""Pin files: what is in use, one reference a line, so that any job can drop in such a list."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from syncer import errors, reference
from syncer.retention import Pin


def read(patterns: Sequence[str], registry: str) -> tuple[Pin, ...]:
    """The pins of all files that `patterns` (whole paths or globs) name.

    A line is a digest, or a reference `[REGISTRY/]REPOSITORY:TAG[@DIGEST]`; what stands after `#`
    is the reason. References to another registry than `registry` (its name or host) are passed by.

    Raises:
        RefusedError: A file is missing, unreadable, half written, or a line is no reference: then
            nobody knows what is in use, and nothing may be pruned.
    """
    return tuple(
        pin for pattern in patterns for path in _files(pattern) for pin in _pins(path, registry)
    )


def _files(pattern: str) -> list[Path]:
    if not glob.has_magic(pattern):
        return [Path(pattern)]
    found = sorted(Path(name) for name in glob.glob(pattern, recursive=True))  # noqa: PTH207
    if not found:
        raise errors.RefusedError(
            f"no pin file matches {pattern}: create one (it may be empty), or take the pattern out"
        )
    return found


def _pins(path: Path, registry: str) -> list[Pin]:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise errors.RefusedError(f"pin file {path} cannot be read: {error}") from None
    if text and not text.endswith("\n"):
        raise errors.RefusedError(
            f"pin file {path} does not end with a line break: it may be half written"
        )
    pins = []
    for number, line in enumerate(text.splitlines(), 1):
        words, _, reason = line.partition("#")
        if words.strip():
            pin = _pin(words.strip(), reason.strip(), path, number, registry)
            pins += [pin] if pin else []
    return pins


def _pin(text: str, reason: str, path: Path, line: int, registry: str) -> Pin | None:
    if reference.is_digest(text):
        return Pin("", "", text, reason, str(path), line)
    first, slash, rest = text.partition("/")
    named = slash and (first == registry or "." in first or ":" in first or first == "localhost")
    try:
        found = reference.parse(text if named else f"{registry}/{text}")
    except errors.UsageError as error:
        raise errors.RefusedError(f"pin file {path}:{line}: {error}") from None
    if named and first != registry:
        return None
    if not rest and not found.repository:
        raise errors.RefusedError(f"pin file {path}:{line}: {text!r} names no tag or digest")
    if not found.tag and not found.digest:
        raise errors.RefusedError(f"pin file {path}:{line}: {text!r} names no tag or digest")
    return Pin(found.repository, found.tag, found.digest, reason, str(path), line)
