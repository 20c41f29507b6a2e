"""Run by Alembic: all migrations inside the transaction that `migrate.upgrade` has begun."""

from __future__ import annotations

from alembic import context

from syncer.state import tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
context.run_migrations()
