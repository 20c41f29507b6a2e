"""What verify may find at a target, in the words of the report. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from syncer.manifest import Descriptor

_NONE = Descriptor("", "", 0)


class Wrong(StrEnum):
    """What is the matter; the value is the code in the report."""

    TAG = "TAG_MISSING"
    DIFFERS = "TAG_DIFFERS"
    MANIFEST = "MANIFEST_MISSING"
    BYTES = "MANIFEST_WRONG"
    BLOB = "BLOB_MISSING"
    REFERRER = "REFERRER_MISSING"


@dataclass(frozen=True)
class Finding:
    """One thing that the target should have.

    Attributes:
        wrong: What is the matter with it.
        tag: The first tag found to need it.
        top: What that tag should point to.
        digest: The thing itself.
        by: The manifest that names it; the subject of a referrer; what a tag points to instead.
        descriptor: What points at it, for a blob or a referrer.
        is_index: Whether it is an index.
    """

    wrong: Wrong
    tag: str
    top: str
    digest: str
    by: str = ""
    descriptor: Descriptor = _NONE
    is_index: bool = False

    @property
    def missing(self) -> bool:
        """Whether it is simply not there, so that it can be brought."""
        return self.wrong not in (Wrong.DIFFERS, Wrong.BYTES)

    @property
    def name(self) -> str:
        """The thing and what it belongs to."""
        match self.wrong:
            case Wrong.TAG:
                return "the tag"
            case Wrong.REFERRER:
                return f"referrer {self.digest} of {self.by}"
            case Wrong.BLOB:
                return f"blob {self.digest}{self._of()}"
        return f"manifest {self.digest}{self._of()}"

    def reason(self, rule: str) -> str:
        """What is wrong, and who can put it right where a repair cannot."""
        match self.wrong:
            case Wrong.DIFFERS:
                return f"points to {self.by}, at the source to {self.digest}: syncer sync {rule}"
            case Wrong.BYTES:
                return (
                    f"{self.name} has other bytes than its digest says; a registry keeps what it"
                    " believes it has, so it must be removed from its storage before a repair"
                )
        return f"{self.name} is missing"

    def _of(self) -> str:
        return f" of manifest {self.by}" if self.by not in ("", self.top) else ""
