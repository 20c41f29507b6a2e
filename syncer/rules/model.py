"""The rules file as a value: strict, frozen models, one for each table.

Patterns, durations, schedules and paths are parsed already, so nothing in here can be wrong by
itself; what spans tables is looked at in `checks`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args
from zoneinfo import ZoneInfo

from pydantic import Field, PrivateAttr, ValidationInfo, field_validator

from syncer import errors, retention
from syncer.rules.auth import Auth, DockerConfig
from syncer.rules.policies import PolicyRules, Retention
from syncer.rules.replication import ReplicateRule
from syncer.rules.table import Table
from syncer.rules.values import (
    Address,
    Array,
    ByteRate,
    Duration,
    FilePath,
    HostName,
    Listen,
    Name,
    Percent,
    PerSecond,
    Positive,
    Proxy,
    RepositoryName,
    Schema,
    StateUrl,
    Url,
    Webhook,
    Window,
    Zone,
    suggestion,
)
from syncer.rules.windows import Hours, hours

DEFAULT_STATE = "/var/lib/syncer/state.db"
Notice = Literal["failure", "recovery", "refused", "conflict", "lag"]


class State(Table):
    """`[state]`: where syncer keeps what it remembers.

    Attributes:
        url: `sqlite:///` and a whole path.
    """

    url: StateUrl = f"sqlite:///{DEFAULT_STATE}"

    @property
    def path(self) -> Path:
        """The database file."""
        return Path(self.url.removeprefix("sqlite:///"))


class Daemon(Table):
    """`[daemon]`: how syncerd behaves.

    Attributes:
        listen: Where its status page and metrics are.
        drain: How long a stop waits for what is under way.
        hosts: Further names by which the status page may be asked for.
    """

    listen: Listen = Address("127.0.0.1", 9564)
    drain: Duration = timedelta(seconds=60)
    hosts: Array[HostName] = ()


class Notify(Table):
    """`[notify]`: whom syncerd tells what changed for the worse, or the better.

    Attributes:
        webhook: Where each notice is posted to as JSON: a URL, or the whole path of a file with
            it, for one that holds a secret.
        on: What is told.
        lag: How far a target may be behind; None: that is not told.
    """

    webhook: Webhook = ""
    on: Array[Notice] = get_args(Notice)
    lag: Positive | None = None

    def address(self) -> str:
        """The URL, read from its file anew.

        Raises:
            OSError: The file cannot be read.
        """
        return Path(self.webhook).read_text().strip() if self.webhook[:1] == "/" else self.webhook


class Limits(Table):
    """`[limits]`: what holds for all registries together.

    Attributes:
        bandwidth: Bytes of blobs a second, read and written each; None: no cap.
    """

    bandwidth: ByteRate | None = None


class Registry(Table):
    """`[registry.NAME]`: where a registry or an image layout is and how to speak to it.

    Attributes:
        url: Scheme, host and port in one canonical spelling; `http://` is plain HTTP; `oci:` and a
            whole path for an image layout, which has no further keys but `window`.
        auth: Who to be there.
        concurrency: Requests in flight, all rules together.
        requests_per_second: The most of these, all rules together; None: what its vendor is known
            to take, if anything.
        bandwidth: Bytes of blobs a second, read from it and written to it each; None: no cap.
        rate_limit_reserve: Percent of the manifest reads it counts that are left to others.
        timeout: How long a connection may be idle.
        ca_file: Certificates to trust beside the system's; None for those of `certs.d`.
        client_cert, client_key: Who to be for TLS; the key may stand in the certificate's file.
            None for what `certs.d` has.
        proxy: `http://host:port`; empty for none; None for what the environment says.
        repos: Its repositories, for want of a catalog; empty: ask it.
        collects_untagged: Whether it removes by itself what has no tag, so that what a policy drops
            has to be kept under a trash tag until its undo window is over.
        window: When scheduled runs may be at it; empty: always.
    """

    url: Url
    auth: Auth = DockerConfig()
    concurrency: int = Field(32, ge=1, le=1024)
    requests_per_second: PerSecond | None = None
    bandwidth: ByteRate | None = None
    rate_limit_reserve: Percent = 10
    timeout: Positive = timedelta(seconds=60)
    ca_file: FilePath | None = None
    client_cert: FilePath | None = None
    client_key: FilePath | None = None
    proxy: Proxy | None = None
    repos: Array[RepositoryName] = ()
    collects_untagged: bool = False
    window: Array[Window] = ()

    _name: str = PrivateAttr("")

    @property
    def name(self) -> str:
        """What the rules file calls it."""
        return self._name

    @property
    def layout(self) -> Path | None:
        """The directory of an image layout; None for a registry."""
        return Path(self.url.removeprefix("oci:")) if self.url.startswith("oci:") else None

    @field_validator("client_key")
    @classmethod
    def _with_certificate(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        if key is not None and info.data.get("client_cert", key) is None:
            raise ValueError("means nothing without client_cert")
        return key


class Rules(Table):
    """The whole file. Made by `load` or `loads`.

    Attributes:
        version: The key `schema`: what the file means.
        timezone: For schedules and calendar keeps.
        state, daemon, notify, limits: The tables of those names.
        registry: The registries by name.
        replicate: The replication rules.
        retention: The policies and their guards.
    """

    version: Schema = Field(alias="schema")
    timezone: Zone = ZoneInfo("UTC")
    state: State = State()
    daemon: Daemon = Daemon()
    notify: Notify = Notify()
    limits: Limits = Limits()
    registry: Mapping[Name, Registry] = Field(default_factory=dict)
    replicate: Array[ReplicateRule] = ()
    retention: Retention = Retention()

    _digest: str = PrivateAttr("")

    def model_post_init(self, context: Any, /) -> None:
        """Tells the parts what they need to know of the whole."""
        self._digest = (context or {}).get("digest", "")
        guard = retention.Guard(**dict(self.retention.guard))
        for name, registry in self.registry.items():
            registry._name = name  # noqa: SLF001
        for policy in self.retention.policy:
            policy._guard, policy._timezone = guard, self.timezone  # noqa: SLF001

    @property
    def digest(self) -> str:
        """The sha256 of the file's text in hexadecimal: the version of these rules."""
        return self._digest

    @property
    def policies(self) -> tuple[PolicyRules, ...]:
        """The retention policies."""
        return self.retention.policy

    def rule(self, name: str) -> ReplicateRule:
        """The replication rule called `name`.

        Raises:
            UsageError: There is none.
        """
        return _named("replication rule", name, self.replicate)

    def policy(self, name: str) -> PolicyRules:
        """The retention policy called `name`.

        Raises:
            UsageError: There is none.
        """
        return _named("retention policy", name, self.policies)

    def hours(self, rule: ReplicateRule | PolicyRules) -> Hours:
        """When scheduled runs of `rule` may be under way: by its window and its registries'."""
        if isinstance(rule, ReplicateRule):
            names = [rule.source, *rule.target]
        else:
            names = [rule.registry, *rule.require_mirrored]
        of_registries = (self.registry[name].window for name in names if name in self.registry)
        return hours([rule.window, *of_registries], self.timezone)

    def policy_for(self, registry: str, repository: str) -> PolicyRules | None:
        """The policy that a repository of the registry called `registry` falls under: the first."""
        for policy in self.policies:
            if policy.registry == registry and policy.repo_selection.matches(repository):
                return policy
        return None


R = TypeVar("R", ReplicateRule, PolicyRules)


def _named(kind: str, name: str, rules: Sequence[R]) -> R:
    for rule in rules:
        if rule.name == name:
            return rule
    close = suggestion(name, [rule.name for rule in rules])
    raise errors.UsageError(f"there is no {kind} {name!r}{close}")
