"""Runs: what the command line and the scheduled jobs share, from rules to a report.

A run opens the stores, asks the state for an id, streams plans into `apply`, records every step and
ends with a `Report`. Nothing here prints.
"""

from syncer.run.base import Environment, utc_now
from syncer.run.oneoff import copy
from syncer.run.retention import Pruned, prune
from syncer.run.replication import preview, replication_rules, sync

__all__ = [
    "Environment",
    "Pruned",
    "copy",
    "preview",
    "prune",
    "replication_rules",
    "sync",
    "utc_now",
]
