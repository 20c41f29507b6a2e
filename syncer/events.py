"""What happens, as values: the log, the metrics, the progress line, the report and the state listen.

Observers are called from worker threads and must be quick, safe to call concurrently and must not
raise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class RequestDone:
    """A request was answered (status) or broke off (status 0). Seconds up to the answer's head."""

    registry: str
    method: str
    status: int
    seconds: float


@dataclass(frozen=True)
class Retried:
    """A request failed in a way that may pass and is sent again after `delay` seconds.

    `status` is that of the answer, 0 where there was none; 429 is a limit of the registry's.
    """

    registry: str
    method: str
    reason: str
    delay: float
    status: int = 0


@dataclass(frozen=True)
class CircuitChanged:
    """A registry is no longer asked (`opened`) or is asked again."""

    registry: str
    opened: bool
    reason: str


@dataclass(frozen=True)
class BytesMoved:
    """Blob bytes came in from a source (`direction="read"`) or went out (`"written"`)."""

    registry: str
    direction: str
    count: int


@dataclass(frozen=True)
class BlobDone:
    """A blob is at the target: `how` is copied, mounted or present."""

    registry: str
    repository: str
    digest: str
    size: int
    how: str


@dataclass(frozen=True)
class RuleMatched:
    """A rule's patterns were applied: how many repositories and tags of the source they matched."""

    rule: str
    repositories: int
    tags: int


@dataclass(frozen=True)
class PatternsMatched:
    """How many of the names just listed each pattern of a rule matched by itself; these add up.

    Attributes:
        field: `repos` or `tags`: what was listed; `immutable`: of the tags that were matched.
        counts: By the pattern's text; exclusions are counted, too.
    """

    rule: str
    field: str
    counts: Mapping[str, int]


@dataclass(frozen=True)
class TagsRemembered:
    """So many tags of a repository never move and were taken as in step without a look at them.

    `recheck` is how old the last look at them may be.
    """

    rule: str
    tags: int
    recheck: timedelta


@dataclass(frozen=True)
class StepsPlanned:
    """A repository was compared: `steps` are to do, `in_step` tags need nothing, `size` bytes known.

    `trimmed` of its tags have another digest than at the source, their indexes being trimmed.
    """

    rule: str
    registry: str
    repository: str
    steps: int
    in_step: int
    size: int = 0
    trimmed: int = 0


@dataclass(frozen=True)
class StepDone:
    """A step ended.

    Attributes:
        action: copy, overwrite, drop, trash, restore, repair ...
        outcome: done, skipped, conflict, suppressed, held, interrupted, failed or wrong (found
            so and left).
        reference: The full reference that changed, or would have.
        digest: What it points to now; for a drop, what it pointed to.
        previous: What it pointed to before, where it was known.
        reason: Why it ended so; empty when it was simply done.
        code: The error's code, where one says why.
    """

    rule: str
    action: str
    outcome: str
    registry: str
    repository: str
    tag: str
    digest: str
    previous: str = ""
    reason: str = ""
    code: str = ""
    size: int = 0

    @property
    def reference(self) -> str:
        """`registry/repository:tag`, `@digest` where there is no tag, as much of it as is meant."""
        name = f"{self.registry}/{self.repository}".removesuffix("/")
        if self.tag:
            return f"{name}:{self.tag}"
        return f"{name}@{self.digest}" if self.digest else name


@dataclass(frozen=True)
class Noticed:
    """Something an operator should read that is no step: a skipped repository, a registry's warning."""

    rule: str
    reference: str
    code: str
    message: str


Event = (
    RequestDone
    | Retried
    | CircuitChanged
    | BytesMoved
    | BlobDone
    | RuleMatched
    | PatternsMatched
    | TagsRemembered
    | StepsPlanned
    | StepDone
    | Noticed
)
Observer = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The observer that listens to nothing."""


def fan_out(observers: Iterable[Observer]) -> Observer:
    """One observer that tells all of `observers`, in their order."""
    listeners = tuple(observers)

    def tell(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return tell
