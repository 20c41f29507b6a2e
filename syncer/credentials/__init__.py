"""Who to be at a registry: docker config and its programs, files, the environment, systemd.

A source is read when a registry first asks who we are and again after it refused the answer, so a
rotated password is picked up without a restart. Nothing here speaks HTTP, and no error or `repr`
shows a secret. A source that holds nothing for a registry says so in `Credential.notice`.
"""

from __future__ import annotations

from syncer.credentials.credential import ANONYMOUS, Anonymous, Credential, Source
from syncer.credentials.docker import DockerConfig
from syncer.credentials.files import EnvironmentVariable, PasswordFile
from syncer.credentials.systemd import SystemdCredential

__all__ = [
    "ANONYMOUS",
    "Anonymous",
    "Credential",
    "DockerConfig",
    "EnvironmentVariable",
    "PasswordFile",
    "Source",
    "SystemdCredential",
]
