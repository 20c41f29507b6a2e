"""A mirror between two registries, and ways to damage its target behind its back."""

from __future__ import annotations

import shutil
from collections import Counter

from syncer.run import Verified
from tests import content
from tests.content import Content
from tests.operator import Operator
from tests.process import RegistryProcess

RULE = """
[[replicate]]
name = "mirror"
source = "eu"
target = "us"
repos = ["prod/**"]
mutable = []
"""
REPOSITORY = "prod/app"


def fill(operator: Operator, **tags: Content) -> None:
    """Pushes tags to the source and brings the target in step."""
    for tag, each in tags.items():
        content.push(operator.registries["eu"], REPOSITORY, tag, each)
    assert operator.sync().outcome == "ok"


def lose_manifest(registry: RegistryProcess, digest: str) -> None:
    """Takes a manifest out of the repository, as a bad restore of its disk would."""
    path = f"docker/registry/v2/repositories/{REPOSITORY}/_manifests/revisions"
    shutil.rmtree(registry.data / path / digest.replace(":", "/"))


def lose_blob(registry: RegistryProcess, digest: str) -> None:
    registry.blob_file(digest).unlink()


def wrong(verified: Verified) -> set[tuple[str, str]]:
    """What was found: reference and code."""
    return {(each.reference, each.code) for each in verified.report.errors}


def requests(verified: Verified, name: str) -> Counter[str]:
    return verified.report.requests[name]
