"""Where content comes from and goes to, and what is worth doing first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from syncer.store import Store

# Priorities of leaves: what is begun is finished before more is opened.
PUT, CARRY, READ, OPEN = range(4)


@dataclass(frozen=True)
class Side:
    """A repository of an open store."""

    store: Store
    repository: str

    @property
    def key(self) -> tuple[str, str]:
        """What makes this side the same as another."""
        return (self.store.key, self.repository)

    def __str__(self) -> str:
        return f"{self.store.name}/{self.repository}"


@dataclass(frozen=True)
class Destination(Side):
    """Where content goes.

    Attributes:
        empty: Whether the repository had nothing when the run looked, so nothing need be asked.
        referrers: Whether what refers to content comes along with it.
        foreign: Whether non-distributable layers come along, too.
        check: Raises `LeaseLostError` when the repository is no longer ours to write.
    """

    empty: bool = False
    referrers: bool = True
    foreign: bool = False
    check: Callable[[], None] = lambda: None
