"""Alembic scripts: how a state file comes from one schema to the next."""
