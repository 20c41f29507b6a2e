"""The job of a replication rule."""

from __future__ import annotations

from syncer import run
from syncer.report import Report


def replicate(environment: run.Environment, name: str) -> Report:
    """Runs the replication rule called `name` once; how it fared is in the state and the report.

    Raises:
        SyncerError: It could not even begin, or its state can no longer be written.
    """
    return run.sync(environment, [name])
