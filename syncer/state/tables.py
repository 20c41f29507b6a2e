"""The tables. Every change here needs a migration; a test compares the two."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Index,
    Integer,
    MetaData,
    Table,
    TypeDecorator,
)
from sqlmodel import Field, SQLModel

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
# SQLite numbers rows by itself only in a column it calls INTEGER.
Identity = BigInteger().with_variant(Integer(), "sqlite")


class Moment(TypeDecorator[datetime]):
    """An aware datetime, stored in UTC. A naive one is a mistake of the caller."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _: Dialect) -> datetime | None:
        """`value` in UTC."""
        if value is not None and value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _: Dialect) -> datetime | None:
        """`value` with its zone, which SQLite does not keep."""
        return value and value.replace(tzinfo=UTC)


class _Table(SQLModel):
    metadata = metadata


def _registry(*, primary_key: bool = False) -> Any:
    """A column `registry`, whose own name SQLAlchemy reserves on a class."""
    return Field(primary_key=primary_key, sa_column_kwargs={"name": "registry"})


class Meta(_Table, table=True):
    """Single facts about this state."""

    __tablename__ = "meta"
    name: str = Field(primary_key=True)
    value: str


class Run(_Table, table=True):
    """One command or job; `slot` tells whether its process lives (see `presence`)."""

    __tablename__ = "run"
    id: str = Field(primary_key=True)
    command: str
    rules: list[str] = Field(sa_type=JSON)
    rules_digest: str
    started: datetime = Field(sa_type=Moment, index=True)
    finished: datetime | None = Field(default=None, sa_type=Moment)
    outcome: str = Field(index=True)
    host: str
    pid: int = Field(sa_type=BigInteger)
    slot: str
    report: dict[str, Any] = Field(sa_type=JSON)


class Step(_Table, table=True):
    """What a run did to a tag."""

    __tablename__ = "step"
    __table_args__ = (Index(None, "registry", "repository", "tag"),)
    id: int | None = Field(default=None, primary_key=True, sa_type=Identity)
    run: str = Field(foreign_key="run.id", ondelete="CASCADE", index=True)
    rule: str
    action: str
    outcome: str
    registry_key: str = _registry()
    repository: str
    tag: str
    digest: str
    at: datetime = Field(sa_type=Moment)
    previous: str
    reason: str
    code: str
    size: int = Field(sa_type=BigInteger)


class Repository(_Table, table=True):
    """A repository's number: a million rows need not spell its name."""

    __tablename__ = "repository"
    __table_args__ = (Index(None, "registry", "name", unique=True),)
    id: int | None = Field(default=None, primary_key=True, sa_type=Identity)
    registry_key: str = _registry()
    name: str


class TagSeen(_Table, table=True):
    """One tag pointing to one digest."""

    __tablename__ = "tag_seen"
    __table_args__: ClassVar[Any] = {"sqlite_with_rowid": False}
    repository_id: int = Field(primary_key=True, foreign_key="repository.id", sa_type=BigInteger)
    tag: str = Field(primary_key=True)
    digest: str = Field(primary_key=True)
    first_seen: datetime = Field(sa_type=Moment)
    last_seen: datetime = Field(sa_type=Moment)
    gone: datetime | None = Field(default=None, sa_type=Moment)
    ours: bool
    source_id: int | None = Field(default=None, foreign_key="repository.id", sa_type=BigInteger)
    source_first_seen: datetime | None = Field(default=None, sa_type=Moment)


class BlobLocation(_Table, table=True):
    """A repository that has a blob: a mount candidate."""

    __tablename__ = "blob_location"
    __table_args__: ClassVar[Any] = {"sqlite_with_rowid": False}
    digest: str = Field(primary_key=True)
    repository_id: int = Field(primary_key=True, foreign_key="repository.id", sa_type=BigInteger)
    last_seen: datetime = Field(sa_type=Moment)


class Plan(_Table, table=True):
    """A stored prune plan; its repositories are its parts."""

    __tablename__ = "plan"
    id: str = Field(primary_key=True)
    policies: list[str] = Field(sa_type=JSON)
    created: datetime = Field(sa_type=Moment)
    expires: datetime = Field(sa_type=Moment)
    status: str
    snapshot: str
    rules_digest: str
    summary: dict[str, Any] = Field(sa_type=JSON)


class PlanPart(_Table, table=True):
    """One repository of a plan; `body` is compressed JSON."""

    __tablename__ = "plan_part"
    plan: str = Field(primary_key=True, foreign_key="plan.id", ondelete="CASCADE")
    registry_key: str = _registry(primary_key=True)
    repository: str = Field(primary_key=True)
    drops: int = Field(sa_type=BigInteger)
    body: bytes


class Dropped(_Table, table=True):
    """A binding that was dropped or overwritten."""

    __tablename__ = "dropped"
    __table_args__ = (Index(None, "registry", "repository", "tag"), Index(None, "tag", "digest"))
    id: int | None = Field(default=None, primary_key=True, sa_type=Identity)
    registry_key: str = _registry()
    repository: str
    tag: str
    digest: str
    media_type: str
    how: str
    at: datetime = Field(sa_type=Moment)
    expires: datetime = Field(sa_type=Moment)
    run: str
    plan: str = Field(index=True)
    policy: str
    reason: str
    trash_tag: str
    suppress: bool
    confirmed: datetime | None = Field(default=None, sa_type=Moment)
    restored: datetime | None = Field(default=None, sa_type=Moment)


class KeptManifest(_Table, table=True):
    """The exact bytes of a manifest that a dropped binding needs; shared by digest."""

    __tablename__ = "kept_manifest"
    digest: str = Field(primary_key=True)
    media_type: str
    raw: bytes


class DroppedManifest(_Table, table=True):
    """Which manifests bring a dropped binding back, in the order to push them."""

    __tablename__ = "dropped_manifest"
    dropped_id: int = Field(
        primary_key=True, foreign_key="dropped.id", ondelete="CASCADE", sa_type=BigInteger
    )
    position: int = Field(primary_key=True, sa_type=BigInteger)
    digest: str = Field(foreign_key="kept_manifest.digest", index=True)


class Pin(_Table, table=True):
    """A tag or digest that no rule may drop before `until`."""

    __tablename__ = "pin"
    registry_key: str = _registry(primary_key=True)
    repository: str = Field(primary_key=True)
    tag: str = Field(primary_key=True)
    digest: str = Field(primary_key=True)
    until: datetime = Field(sa_type=Moment)
    reason: str


class Lease(_Table, table=True):
    """Who may write to a repository; free when `expires` is past."""

    __tablename__ = "lease"
    registry_key: str = _registry(primary_key=True)
    repository: str = Field(primary_key=True)
    holder: str = Field(index=True)
    token: int = Field(sa_type=BigInteger)
    since: datetime = Field(sa_type=Moment)
    expires: datetime = Field(sa_type=Moment)
    host: str
    pid: int = Field(sa_type=BigInteger)
    slot: str
    what: str


class RuleState(_Table, table=True):
    """How a rule has fared at one target registry."""

    __tablename__ = "rule_state"
    rule: str = Field(primary_key=True)
    target: str = Field(primary_key=True)
    last_started: datetime | None = Field(default=None, sa_type=Moment)
    last_finished: datetime | None = Field(default=None, sa_type=Moment)
    last_outcome: str
    last_success_started: datetime | None = Field(default=None, sa_type=Moment)
    last_full_pass: datetime | None = Field(default=None, sa_type=Moment)
    consecutive_failures: int = Field(sa_type=BigInteger)
    tags_behind: int = Field(sa_type=BigInteger)


def core(model: type[SQLModel]) -> Table:
    """A model's table, for statements: rows by the thousand do not go through the ORM."""
    return metadata.tables[str(model.__tablename__)]
