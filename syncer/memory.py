"""What copying asks of the state, and an answer for runs that have none.

Memory makes work cheaper and safer to repeat; it never proves that a registry has something.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from syncer.manifest import Manifest

Bindings = Container[tuple[str, str]]
# Registry key and repository.
Where = tuple[str, str]
NOTHING: Mapping[str, str] = {}


class Lease(Protocol):
    """The right to write to one repository."""

    def check(self) -> None:
        """Raises `LeaseLostError` when it is ours no longer."""

    def release(self) -> None:
        """Lets others have it."""


class Memory(Protocol):
    """What a copy asks and tells. A repository is named by its registry's key and its name."""

    def ours(self, where: Where, source: Where) -> Bindings:
        """The (tag, digest) pairs we wrote there from `source`, or found in step with it before.

        What another rule brought from another source is not this rule's to replace.
        """

    def suppressed(self, where: Where) -> Collection[tuple[str, str]]:
        """The (tag, digest) pairs a retention policy dropped there."""

    def confirmed(
        self, where: Where, source: Where | None, after: datetime, until: datetime
    ) -> Mapping[str, str]:
        """The tags there that point to one digest for all that is known, and that digest.

        Only those that were looked at after one moment and until another; where a source is
        named, only those that we brought from it or found in step with it.
        """

    def listed(
        self, where: Where, tags: Mapping[str, str], every: Collection[str], at: datetime
    ) -> None:
        """These tags of a source point to these digests, and it has no others than `every`."""

    def standing(self, where: Where, tags: Mapping[str, str], at: datetime) -> None:
        """These tags of a target were found to point to these digests, whoever put them there."""

    def will_write(
        self,
        where: Where,
        tags: Mapping[str, str],
        source: Where,
        origins: Mapping[str, str] = NOTHING,
    ) -> None:
        """These bindings are about to be our doing, or were found in step with `source`.

        `origins` has the digests at the source of those that were trimmed on their way.
        """

    def mounts(self, registry: str, digest: str) -> Sequence[str]:
        """Repositories that may hold a blob, best first."""

    def lease(self, where: Where, what: str) -> Lease:
        """The lease of a repository.

        Raises:
            HeldError: Another run has it; says who.
        """

    def overwriting(self, where: Where, tag: str, standing: Manifest, by: str) -> None:
        """Keeps what a tag points to, before it is made to point elsewhere."""


class NoMemory:
    """A run without a state: everything may be replaced, nothing is remembered."""

    class _All:
        def __contains__(self, _: object) -> bool:
            return True

    class _Lease:
        def check(self) -> None:
            """Nobody else is known."""

        def release(self) -> None:
            """Nobody waits."""

    def ours(self, where: Where, source: Where) -> Bindings:  # noqa: ARG002
        """See `Memory`."""
        return self._All()

    def suppressed(self, where: Where) -> Collection[tuple[str, str]]:  # noqa: ARG002
        """See `Memory`."""
        return ()

    def confirmed(
        self,
        where: Where,  # noqa: ARG002
        source: Where | None,  # noqa: ARG002
        after: datetime,  # noqa: ARG002
        until: datetime,  # noqa: ARG002
    ) -> Mapping[str, str]:
        """See `Memory`."""
        return NOTHING

    def listed(
        self, where: Where, tags: Mapping[str, str], every: Collection[str], at: datetime
    ) -> None:
        """See `Memory`."""

    def standing(self, where: Where, tags: Mapping[str, str], at: datetime) -> None:
        """See `Memory`."""

    def will_write(
        self,
        where: Where,
        tags: Mapping[str, str],
        source: Where,
        origins: Mapping[str, str] = NOTHING,
    ) -> None:
        """See `Memory`."""

    def mounts(self, registry: str, digest: str) -> Sequence[str]:  # noqa: ARG002
        """See `Memory`."""
        return ()

    def lease(self, where: Where, what: str) -> Lease:  # noqa: ARG002
        """See `Memory`."""
        return self._Lease()

    def overwriting(self, where: Where, tag: str, standing: Manifest, by: str) -> None:
        """See `Memory`."""
