"""Every error syncer raises on purpose.

    SyncerError                          1
    +-- UsageError                       2   a word on the command line
    +-- RulesError                      78   the rules file
    +-- CredentialError                  1   a secret that cannot be had
    +-- RefusedError                     5   a guard said no
    +-- HeldError                       75   another run holds the lease
    |   +-- LeaseLostError              75   ours was taken over
    +-- MovedError                       3   a tag points elsewhere than the plan saw
    +-- InterruptedRunError            130   SIGINT or SIGTERM
    +-- StateError                       1   the state database
    |   +-- ForeignStateError            1   owned by another user
    |   +-- NewerStateError              1   written by a newer syncer
    +-- ContentError                     1   bytes that are not what they were said to be
    |   +-- DigestMismatchError          1
    |   +-- SizeMismatchError            1
    |   +-- InvalidManifestError         1
    |   +-- UnsupportedContentError      1   cannot be copied, now or later
    |   +-- NoPlatformError              1   an index without any platform that is asked for
    +-- RegistryError                    1   an answer or a silence of a registry
        +-- UnauthorizedError            1   it does not know us
        +-- DeniedError                  1   it knows us and says no
        |   +-- QuotaError               1   no room is left for this project
        +-- NotFoundError                1
        +-- UnsupportedError             1   the registry does not do that
        +-- TooManyRequestsError         1
        |   +-- RateBudgetError          1   the reads it counts are used up, or nearly
        +-- UnavailableError             1   5xx, no connection, a timeout
        |   +-- CircuitOpenError         1   not asked: it failed too often just now
        +-- ProtocolError                1   an answer outside the specification

The number is the exit code of a command in which nothing else happened. `temporary` says whether
the same request may succeed later.
"""

from __future__ import annotations

from dataclasses import dataclass


class SyncerError(Exception):
    """Something went wrong that an operator can read about in one sentence."""

    exit_code = 1
    code = "ERROR"
    temporary = False


class UsageError(SyncerError):
    """A reference, name or option on the command line is wrong."""

    exit_code = 2
    code = "USAGE"


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong in a rules file, and where."""

    line: int
    path: str
    message: str

    def __str__(self) -> str:
        if not self.line:  # the file as a whole
            return f" {self.message}"
        return (
            f"{self.line} {self.path}: {self.message}"
            if self.path
            else f"{self.line}: {self.message}"
        )


class RulesError(SyncerError):
    """The rules file cannot be used. Carries every problem found, in file order."""

    exit_code = 78
    code = "RULES"

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self.file = file
        self.problems = sorted(problems)
        super().__init__("\n".join(f"{file}:{problem}" for problem in self.problems))


class CredentialError(SyncerError):
    """A password file, helper program or docker config could not be read."""

    code = "CREDENTIAL"


class RefusedError(SyncerError):
    """A guard refused the work; nothing of it was done."""

    exit_code = 5
    code = "REFUSED"


class HeldError(SyncerError):
    """Another run holds the lease of this repository."""

    exit_code = 75
    code = "HELD"


class LeaseLostError(HeldError):
    """Our lease ran out and another run has taken it: what is left to do is left to that run."""

    code = "LEASE_LOST"


class MovedError(SyncerError):
    """The tag points elsewhere than the plan saw; it is left alone."""

    exit_code = 3
    code = "MOVED"


class InterruptedRunError(SyncerError):
    """The run was told to stop before this was done."""

    exit_code = 130
    code = "INTERRUPTED"


class StateError(SyncerError):
    """The state database cannot be used."""

    code = "STATE"


class ForeignStateError(StateError):
    """The state belongs to another user of this host."""


class NewerStateError(StateError):
    """The state was written by a newer syncer than this one."""


class ContentError(SyncerError):
    """Content is not what its digest, size or media type says."""

    code = "CONTENT"


class DigestMismatchError(ContentError):
    """The bytes do not have the digest they were asked by."""

    code = "DIGEST_MISMATCH"
    temporary = True  # a broken transfer looks like this too; a second read settles it


class SizeMismatchError(ContentError):
    """There are fewer or more bytes than the descriptor says."""

    code = "SIZE_MISMATCH"
    temporary = True


class InvalidManifestError(ContentError):
    """A manifest that cannot be read as one."""

    code = "MANIFEST_INVALID"


class UnsupportedContentError(ContentError):
    """Content that cannot be copied as it is, now or later, such as Docker schema 1."""

    code = "UNSUPPORTED_CONTENT"


class NoPlatformError(ContentError):
    """An index has nothing for the platforms that a rule asks for."""

    code = "NO_PLATFORM"


class RegistryError(SyncerError):
    """A registry answered with an error, or not at all.

    Args:
        message: One sentence that says what was asked and what came back, without secrets.
        registry: The registry's name.
        status: The HTTP status; 0 when there was no answer.
        codes: The `errors[].code` values of the body (distribution-spec, "Error Codes").
        retry_after: Seconds the registry asked us to wait, if it did.
    """

    code = "REGISTRY"

    def __init__(
        self,
        message: str,
        *,
        registry: str = "",
        status: int = 0,
        codes: tuple[str, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.registry = registry
        self.status = status
        self.codes = codes
        self.retry_after = retry_after
        if codes:
            self.code = codes[0]


class UnauthorizedError(RegistryError):
    """The registry does not accept who we are."""

    code = "UNAUTHORIZED"


class DeniedError(RegistryError):
    """The registry knows us and does not allow this."""

    code = "DENIED"


class QuotaError(DeniedError):
    """The registry gives this project no more room; nothing more is sent to it in this run."""

    code = "QUOTA"


class NotFoundError(RegistryError):
    """The repository, manifest, blob or upload is not there."""

    code = "NOT_FOUND"


class UnsupportedError(RegistryError):
    """The registry does not offer this operation, or has it switched off."""

    code = "UNSUPPORTED"


class TooManyRequestsError(RegistryError):
    """The registry asks us to slow down."""

    code = "TOOMANYREQUESTS"
    temporary = True


class RateBudgetError(TooManyRequestsError):
    """The registry counts reads of manifests, and of those it allows none or only the reserve is left.

    It comes back after hours: no retry of this run helps, a later run goes on.
    """

    code = "RATE_BUDGET"
    temporary = False


class UnavailableError(RegistryError):
    """The registry could not be reached, broke off, timed out or answered 5xx."""

    code = "UNAVAILABLE"
    temporary = True


class CircuitOpenError(UnavailableError):
    """The registry failed so often just now that it is not asked again for a while."""

    code = "CIRCUIT_OPEN"
    temporary = False


class ProtocolError(RegistryError):
    """The registry answered in a way the specification does not allow."""

    code = "PROTOCOL"
