"""Runs: what the command line and the scheduled jobs share, from rules to a report.

A run opens the stores, asks the state for an id, streams plans into `apply`, records every step and
ends with a `Report`. Nothing here prints. What a kind of run needs is imported when it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from syncer.run.base import Environment, utc_now

if TYPE_CHECKING:
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
_HOMES = {
    "lint": ("standby_warnings",),
    "oneoff": ("copy",),
    "replication": ("preview", "replication_rules", "sync"),
    "retention": ("Pruned", "apply_plan", "prune"),
    "undoing": ("Why", "restore", "why"),
    "verification": ("Verified", "verify"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"syncer.run.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
