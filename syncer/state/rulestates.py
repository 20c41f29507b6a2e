"""How each rule has fared at each registry: what lag, catch-up and back-off are made of."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import datetime
from typing import Any

from syncer.state import engine, records

_SELECT = """
    SELECT rule, target, last_started, last_finished, last_outcome, last_success_started,
        last_full_pass, consecutive_failures, tags_behind
    FROM rule_state
"""
_ALL = _SELECT + " ORDER BY rule, target"
_ONE = _SELECT + " WHERE rule = ? AND target = ?"
_PUT = """
    INSERT OR REPLACE INTO rule_state (
        rule, target, last_started, last_finished, last_outcome, last_success_started,
        last_full_pass, consecutive_failures, tags_behind
    ) VALUES (
        :rule, :target, :last_started, :last_finished, :last_outcome, :last_success_started,
        :last_full_pass, :consecutive_failures, :tags_behind
    )
"""


class RuleStates:
    """One record for each (rule or policy, registry key)."""

    def __init__(self, database: engine.Database) -> None:
        self._database = database

    def all(self) -> list[records.RuleState]:
        """Every record, by rule and registry; also of rules that are no longer in the file."""
        return [records.RuleState(*row) for row in self._database.quick(_ALL)]

    def get(self, rule: str, target: str) -> records.RuleState:
        """The record; a blank one when there is none yet."""
        with self._database.read() as connection:
            return _get(connection, rule, target)

    def started(self, rule: str, target: str) -> None:
        """Records that a run of this rule starts now."""
        with self._database.write() as connection:
            before = _get(connection, rule, target)
            after = replace(before, last_started=self._database.now())
            connection.execute(_PUT, vars(after))

    def finished(
        self,
        rule: str,
        target: str,
        *,
        started: datetime,
        outcome: str,
        in_step: bool = False,
        full_pass: bool = False,
        tags_behind: int = 0,
    ) -> None:
        """Records how a run of this rule ended.

        Failures are counted in a row; a run that was held or interrupted neither counts as one
        nor ends the row.

        Args:
            rule: The rule or policy.
            target: The registry's key.
            started: When the run started.
            outcome: The rule's outcome.
            in_step: Every matched tag was found or brought in step.
            full_pass: It went through everything the rule matches.
            tags_behind: Tags left undone.
        """
        now = self._database.now()
        changes: dict[str, Any] = {
            "last_started": started,
            "last_finished": now,
            "last_outcome": outcome,
            "tags_behind": tags_behind,
        }
        if in_step:
            changes["last_success_started"] = started
        if full_pass:
            changes["last_full_pass"] = now
        with self._database.write() as connection:
            before = _get(connection, rule, target)
            if outcome in ("failed", "refused"):
                changes["consecutive_failures"] = before.consecutive_failures + 1
            elif outcome not in ("held", "interrupted"):
                changes["consecutive_failures"] = 0
            connection.execute(_PUT, vars(replace(before, **changes)))


def _get(connection: sqlite3.Connection, rule: str, target: str) -> records.RuleState:
    row = connection.execute(_ONE, (rule, target)).fetchone()
    return records.RuleState(*row) if row else records.RuleState(rule, target)
