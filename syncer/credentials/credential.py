"""The value all sources give, and the shape they share."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import Protocol

from syncer import errors


@dataclass(frozen=True)
class Credential:
    """A user name with a password, an identity token, or neither: anonymous.

    Attributes:
        username: The user; may be empty beside an identity token.
        password: The password or access key.
        identity_token: An OAuth2 refresh token, as `docker login` stores it (`identitytoken`).
        origin: The file, variable or program it came from, for messages.
        notice: One sentence an operator should see once, or empty.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    origin: str = field(default="", compare=False)
    notice: str = field(default="", compare=False)

    @property
    def anonymous(self) -> bool:
        """Whether there is nothing to show to a registry."""
        return not (self.password or self.identity_token)

    @property
    def who(self) -> str:
        """The user in words: `user 'ci'`, `the identity token` or `anonymous`."""
        if self.username:
            return f"user {self.username!r}"
        return "the identity token" if self.identity_token else "anonymous"

    @property
    def remedy(self) -> str:
        """What to do when it is refused."""
        place = f" in {self.origin}" if self.origin else ""
        if self.identity_token:
            return f"log in again to renew the identity token{place}"
        if self.password:
            return f"check the password of {self.who}{place}"
        return "name a user for it in the rules file" + (f" ({self.notice})" if self.notice else "")


ANONYMOUS = Credential()


class Source(Protocol):
    """Where a registry's credential comes from."""

    def read(self, repository: str = "", *, fresh: bool = False) -> Credential:
        """The credential as it is now.

        Args:
            repository: What is to be worked on: podman's `auth.json` may hold several logins for
                one host, by namespace. Other sources have one answer.
            fresh: The last answer was refused: a remembered one must not be given again.

        Raises:
            CredentialError: It cannot be had. The sentence names the file, variable or program.
        """


@dataclass(frozen=True)
class Anonymous:
    """The source of those who want to be nobody."""

    def read(self, repository: str = "", *, fresh: bool = False) -> Credential:  # noqa: ARG002
        """`ANONYMOUS`."""
        return ANONYMOUS


def password(text: str, origin: str) -> str:
    """The password that a file or variable holds: `text` without the newline at its end.

    Raises:
        CredentialError: It is empty, or not `sendable`.
    """
    text = text.rstrip("\r\n")
    if not text:
        raise errors.CredentialError(f"{origin} is empty: write the password into it")
    return sendable(text, origin)


def sendable(text: str, origin: str) -> str:
    """`text`, if HTTP can carry it (RFC 7617, section 2).

    Raises:
        CredentialError: It holds control characters, or is no proper text.
    """
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        raise errors.CredentialError(
            f"{origin} holds a line break or another control character where a user name or"
            " password should be"
        )
    return text
