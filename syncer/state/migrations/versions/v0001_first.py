"""The first schema.

A migration never imports the tables: they move on, it stays. There is no way down but the backup.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Makes every table."""
    _small()
    _runs()
    _observations()
    _plans()
    _drops()


def _small() -> None:
    op.create_table("meta", *_texts("name", "value"), _key("meta", "name"))
    op.create_table(
        "lease",
        *_texts("registry", "repository", "holder"),
        *_numbers("token"),
        *_moments("since", "expires"),
        *_texts("host"),
        *_numbers("pid"),
        *_texts("slot", "what"),
        _key("lease", "registry", "repository"),
    )
    _index("lease", "holder")
    op.create_table(
        "pin",
        *_texts("registry", "repository", "tag", "digest"),
        *_moments("until"),
        *_texts("reason"),
        _key("pin", "registry", "repository", "tag", "digest"),
    )
    op.create_table(
        "rule_state",
        *_texts("rule", "target"),
        *_moments("last_started", "last_finished", nullable=True),
        *_texts("last_outcome"),
        *_moments("last_success_started", "last_full_pass", nullable=True),
        *_numbers("consecutive_failures", "tags_behind"),
        _key("rule_state", "rule", "target"),
    )


def _runs() -> None:
    op.create_table(
        "run",
        *_texts("id", "command"),
        _json("rules"),
        *_texts("rules_digest"),
        *_moments("started"),
        *_moments("finished", nullable=True),
        *_texts("outcome", "host"),
        *_numbers("pid"),
        *_texts("slot"),
        _json("report"),
        _key("run", "id"),
    )
    _index("run", "outcome")
    _index("run", "started")
    op.create_table(
        "step",
        _identity(),
        *_texts("run", "rule", "action", "outcome", "registry", "repository", "tag", "digest"),
        *_moments("at"),
        *_texts("previous", "reason", "code"),
        *_numbers("size"),
        _refers("step", "run", "run.id", ondelete="CASCADE"),
        _key("step", "id"),
    )
    _index("step", "registry", "repository", "tag")
    _index("step", "run")


def _observations() -> None:
    op.create_table(
        "repository", _identity(), *_texts("registry", "name"), _key("repository", "id")
    )
    _index("repository", "registry", "name", unique=True)
    op.create_table(
        "tag_seen",
        *_numbers("repository_id"),
        *_texts("tag", "digest"),
        *_moments("first_seen", "last_seen"),
        *_moments("gone", nullable=True),
        sa.Column("ours", sa.Boolean(), nullable=False),
        *_numbers("source_id", nullable=True),
        *_moments("source_first_seen", nullable=True),
        _refers("tag_seen", "repository_id", "repository.id"),
        _refers("tag_seen", "source_id", "repository.id"),
        _key("tag_seen", "repository_id", "tag", "digest"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "blob_location",
        *_texts("digest"),
        *_numbers("repository_id"),
        *_moments("last_seen"),
        _refers("blob_location", "repository_id", "repository.id"),
        _key("blob_location", "digest", "repository_id"),
        sqlite_with_rowid=False,
    )


def _plans() -> None:
    op.create_table(
        "plan",
        *_texts("id"),
        _json("policies"),
        *_moments("created", "expires"),
        *_texts("status", "snapshot", "rules_digest"),
        _json("summary"),
        _key("plan", "id"),
    )
    op.create_table(
        "plan_part",
        *_texts("plan", "registry", "repository"),
        *_numbers("drops"),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        _refers("plan_part", "plan", "plan.id", ondelete="CASCADE"),
        _key("plan_part", "plan", "registry", "repository"),
    )


def _drops() -> None:
    op.create_table(
        "dropped",
        _identity(),
        *_texts("registry", "repository", "tag", "digest", "media_type", "how"),
        *_moments("at", "expires"),
        *_texts("run", "plan", "policy", "reason", "trash_tag"),
        sa.Column("suppress", sa.Boolean(), nullable=False),
        *_moments("confirmed", "restored", nullable=True),
        _key("dropped", "id"),
    )
    _index("dropped", "plan")
    _index("dropped", "registry", "repository", "tag")
    _index("dropped", "tag", "digest")
    op.create_table(
        "kept_manifest",
        *_texts("digest", "media_type"),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        _key("kept_manifest", "digest"),
    )
    op.create_table(
        "dropped_manifest",
        *_numbers("dropped_id", "position"),
        *_texts("digest"),
        _refers("dropped_manifest", "dropped_id", "dropped.id", ondelete="CASCADE"),
        _refers("dropped_manifest", "digest", "kept_manifest.digest"),
        _key("dropped_manifest", "dropped_id", "position"),
    )
    _index("dropped_manifest", "digest")


def _texts(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.String(), nullable=False) for name in names]


def _numbers(*names: str, nullable: bool = False) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.BigInteger(), nullable=nullable) for name in names]


def _moments(*names: str, nullable: bool = False) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.DateTime(timezone=True), nullable=nullable) for name in names]


def _json(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON(), nullable=False)


def _identity() -> sa.Column[Any]:
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column("id", kind, nullable=False)


def _key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=op.f(f"pk_{table}"))


def _refers(table: str, column: str, to: str, **options: Any) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [to], name=op.f(f"fk_{table}_{column}"), **options)


def _index(table: str, *columns: str, unique: bool = False) -> None:
    op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, columns, unique=unique)
