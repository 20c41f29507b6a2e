"""Who to be at a registry, as the rules file says it; `syncer.credentials` reads the secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Discriminator, PlainValidator, Tag, ValidationInfo, model_validator

from syncer.rules.table import Table
from syncer.rules.values import Credential, FilePath, User, Variable, parse_path


def _docker_file(value: object, info: ValidationInfo) -> Path | None:
    return None if value in (None, "default") else parse_path(value, info)


class Anonymous(Table):
    """`"anonymous"`: nobody."""

    @model_validator(mode="before")
    @classmethod
    def _word(cls, _: Any) -> dict[str, Any]:
        return {}


class DockerConfig(Table):
    """`{ docker_config = "default" }`, or the path of a `config.json`.

    Attributes:
        docker_config: The file; None for the places where docker and podman keep theirs.
    """

    docker_config: Annotated[Path | None, PlainValidator(_docker_file)] = None


class PasswordFile(Table):
    """`{ username = "...", password_file = "..." }`."""

    username: User
    password_file: FilePath


class PasswordEnv(Table):
    """`{ username = "...", password_env = "..." }`, the name of an environment variable."""

    username: User
    password_env: Variable


class SystemdCredential(Table):
    """`{ credential = "NAME" }`: an `auth.json`; with `username` the bare password of that user."""

    credential: Credential
    username: User = ""


_KINDS: dict[str, type[Table]] = {
    "docker_config": DockerConfig,
    "password_file": PasswordFile,
    "password_env": PasswordEnv,
    "credential": SystemdCredential,
}


def _kind(value: Any) -> str | None:
    """The union's member that `value` means; in `<>`, so that no key of a file looks like it."""
    if value == "anonymous":
        return "<Anonymous>"
    keys = value if isinstance(value, dict) else {}
    return next((f"<{kind.__name__}>" for key, kind in _KINDS.items() if key in keys), None)


Auth = Annotated[
    Annotated[Anonymous, Tag("<Anonymous>")]
    | Annotated[DockerConfig, Tag("<DockerConfig>")]
    | Annotated[PasswordFile, Tag("<PasswordFile>")]
    | Annotated[PasswordEnv, Tag("<PasswordEnv>")]
    | Annotated[SystemdCredential, Tag("<SystemdCredential>")],
    Discriminator(_kind),
]
