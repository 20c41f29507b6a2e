"""Secrets that systemd hands to a unit: `LoadCredential=`, systemd.exec(5), "CREDENTIALS"."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from syncer import errors
from syncer.credentials import credential, docker, files

_NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.@:-]{1,255}")


@dataclass(frozen=True)
class SystemdCredential:
    """`{ credential = "NAME" }`: an `auth.json`; with `username`, the bare password of that user.

    Raises:
        CredentialError: `name` would not be a file name in the credentials directory.
    """

    name: str
    host: str
    username: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise errors.CredentialError(
                f"{self.name!r} is no credential name: letters, digits and _ . - @ : only"
            )

    def read(self, repository: str = "", *, fresh: bool = False) -> credential.Credential:
        """What `$CREDENTIALS_DIRECTORY/NAME` holds for this registry."""
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        if not directory:
            raise errors.CredentialError(
                f"the credential {self.name!r} is only there under systemd:"
                f" add LoadCredential={self.name}:FILE to the unit, or set CREDENTIALS_DIRECTORY"
            )
        path = Path(directory, self.name)
        if self.username:
            return files.PasswordFile(self.username, path).read()
        return docker.DockerConfig(self.host, path).read(repository, fresh=fresh)
