"""Runs: what the command line and the scheduled jobs share, from rules to a report.

A run opens the stores, asks the state for an id, streams plans into `apply`, records every step and
ends with a `Report`. Nothing here prints.
"""

from syncer.run.base import Environment, utc_now
from syncer.run.lint import standby_warnings
from syncer.run.oneoff import copy
from syncer.run.replication import preview, replication_rules, sync
from syncer.run.retention import Pruned, apply_plan, prune
from syncer.run.undoing import Why, restore, why
from syncer.run.verification import Verified, verify

__all__ = [
    "Environment",
    "Pruned",
    "Verified",
    "Why",
    "apply_plan",
    "copy",
    "preview",
    "prune",
    "replication_rules",
    "restore",
    "standby_warnings",
    "sync",
    "utc_now",
    "verify",
    "why",
]
