"""Certificates kept by host: the `certs.d` directories of docker and podman.

`HOST[:PORT]/` in one of them holds `*.crt`, CAs to trust beside the system's, and `NAME.cert` with
`NAME.key`, who to be for TLS. Of the directories that have one for a host the first counts, and in
it the first pair by name. One that we may not look into counts as absent.
Source: containers-certs.d(5); Docker, "Verify repository client with certificates".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from syncer import errors, log

DIRECTORIES = (Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d"))
_PORT = 443
# Where it is is not what people call it.
_HUB = {"registry-1.docker.io": "docker.io"}


@dataclass(frozen=True)
class Certificates:
    """PEM files.

    Attributes:
        authorities: CAs to trust beside the system's.
        client: A client certificate, perhaps with its key; empty for none.
        key: The key, where it is in a file of its own.
    """

    authorities: tuple[str, ...] = ()
    client: str = ""
    key: str = ""


def found(host: str, port: int) -> Certificates:
    """What the directories have for a registry.

    Raises:
        CredentialError: A directory cannot be read, or a certificate has no key beside it.
    """
    for directory in DIRECTORIES:
        for name in _names(host, port):
            try:
                files = sorted(each.name for each in (directory / name).iterdir())
            except (FileNotFoundError, NotADirectoryError):
                continue
            except PermissionError:  # dockerd may keep its directory to root; podman goes on, too
                log.get().debug("no access to certificates", directory=str(directory / name))
                continue
            except OSError as error:
                where = f"{directory / name}: {error.strerror}"
                raise errors.CredentialError(f"cannot read {where}") from None
            return _sorted_out(directory / name, files)
    return Certificates()


def _names(host: str, port: int) -> Iterator[str]:
    for name in dict.fromkeys((host, _HUB.get(host, host))):
        bracketed = f"[{name}]" if ":" in name else name
        if port == _PORT:
            yield bracketed
        yield f"{bracketed}:{port}"


def _sorted_out(directory: Path, files: list[str]) -> Certificates:
    authorities = tuple(str(directory / name) for name in files if name.endswith(".crt"))
    for name in files:
        if name.endswith(".cert"):
            key = f"{name.removesuffix('.cert')}.key"
            if key not in files:
                raise errors.CredentialError(f"{directory / name} has no {key} beside it")
            return Certificates(authorities, str(directory / name), str(directory / key))
    return Certificates(authorities)
