"""A user name from the rules file, with its password in a file or in the environment."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from syncer import errors
from syncer.credentials import credential

_MOST_BYTES = 1 << 20


def read_text(path: Path) -> tuple[str, str]:
    """A small secret file's text, and a notice when everybody on this host can read it.

    Raises:
        CredentialError: It cannot be read, is larger than 1 MiB or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise errors.CredentialError(f"cannot read {path}: {error.strerror}") from None
    if len(data) > _MOST_BYTES:
        raise errors.CredentialError(f"{path} is larger than 1 MiB: that holds no credentials")
    notice = f"{path} can be read by every user of this host: chmod o-r {path}"
    try:
        return data.decode(), notice if mode & stat.S_IROTH else ""
    except UnicodeDecodeError:
        raise errors.CredentialError(f"{path} is not UTF-8 text") from None


@dataclass(frozen=True)
class PasswordFile:
    """`{ username = "...", password_file = "..." }`."""

    username: str
    path: Path

    def read(self, repository: str = "", *, fresh: bool = False) -> credential.Credential:  # noqa: ARG002
        """The user with the file's content, without its last newline, as password."""
        text, notice = read_text(self.path)
        origin = str(self.path)
        password = credential.password(text, origin)
        return credential.Credential(self.username, password, origin=origin, notice=notice)


@dataclass(frozen=True)
class EnvironmentVariable:
    """`{ username = "...", password_env = "NAME" }`."""

    username: str
    variable: str

    def read(self, repository: str = "", *, fresh: bool = False) -> credential.Credential:  # noqa: ARG002
        """The user with the variable's value as password."""
        origin = f"the environment variable {self.variable}"
        value = os.environ.get(self.variable)
        if value is None:
            raise errors.CredentialError(f"{origin} is not set: set it to the password")
        password = credential.password(value, origin)
        return credential.Credential(self.username, password, origin=origin)
