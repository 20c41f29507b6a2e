"""The newest of many tags: by version, or by name. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from syncer import patterns

_KEYS: dict[str, Callable[[str], Any]] = {"semver": patterns.version, "name": lambda tag: tag}


@dataclass(frozen=True)
class Newest:
    """Tags told apart.

    Attributes:
        tags: The newest.
        older: How many are older than these.
        unordered: How many have no place in the order: tags that are no version.
    """

    tags: frozenset[str]
    older: int
    unordered: int


def newest(tags: Iterable[str], count: int, sort: str) -> Newest:
    """The `count` newest of `tags`, and those that are as new as the last of them.

    Args:
        tags: All that may be chosen from.
        count: How many.
        sort: `semver`, where a tag that is no version is never chosen, or `name`.
    """
    keys = {tag: _KEYS[sort](tag) for tag in tags}
    known = sorted((key for key in keys.values() if key is not None), reverse=True)
    cut = known[:count][-1:]
    found = frozenset(tag for tag, key in keys.items() if key is not None and [key] >= cut)
    return Newest(found, len(known) - len(found), len(keys) - len(known))
