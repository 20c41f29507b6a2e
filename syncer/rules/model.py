"""The rules file as a value: strict, frozen models, one for each table.

Patterns, durations, schedules and paths are parsed already, so nothing in here can be wrong by
itself; what spans tables is looked at in `checks`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, PrivateAttr, ValidationInfo, field_validator

from syncer import errors, patterns, retention
from syncer.patterns import Pattern, Selection
from syncer.rules.auth import Auth, DockerConfig
from syncer.rules.policies import PolicyRules, Retention
from syncer.rules.table import Scheduled, Table
from syncer.rules.values import (
    Address,
    Array,
    Duration,
    FilePath,
    HostName,
    Listen,
    Name,
    Percent,
    Platform,
    Positive,
    Proxy,
    Rename,
    RepositoryName,
    RepositoryPattern,
    Schema,
    Some,
    Sort,
    StateUrl,
    TagPattern,
    Url,
    Webhook,
    Window,
    Zone,
    filled,
    placeholders,
    suggestion,
)
from syncer.rules.windows import Hours, hours

DEFAULT_STATE = "/var/lib/syncer/state.db"
_EVERY = patterns.parse("*")
_LATEST = patterns.parse("latest")
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


class Registry(Table):
    """`[registry.NAME]`: where a registry or an image layout is and how to speak to it.

    Attributes:
        url: Scheme, host and port in one canonical spelling; `http://` is plain HTTP; `oci:` and a
            whole path for an image layout, which has no further keys but `window`.
        auth: Who to be there.
        concurrency: Requests in flight, all rules together.
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
    concurrency: int = Field(16, ge=1, le=1024)
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


def _check_capture(name: str, repos: Sequence[Pattern]) -> None:
    """Raises ValueError where `rename` cannot know what `{name}` stands for."""
    capturing = [pattern for pattern in repos if name in pattern.group_names]
    if name == "repo" and capturing:
        raise ValueError(
            f"{{repo}} is the whole name, and {capturing[0].text!r} captures a part of it by that"
            " word: call the capture something else"
        )
    without = [pattern for pattern in repos if name not in pattern.group_names]
    if name != "repo" and without:
        known = sorted({each for pattern in repos for each in pattern.group_names})
        raise ValueError(
            f"{{{name}}} is neither {{repo}}, the source's repository name, nor captured by"
            f" {without[0].text!r} in repos, as 're:prod/(?P<{name}>.+)' would"
            f"{suggestion(name, known)}"
        )


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Latest(Table):
    """`latest = { count = ..., sort = ... }`: only the newest of the tags that a rule matches.

    Attributes:
        count: How many in each repository.
        sort: What newer means: a higher version, or a later name.
    """

    count: int = Field(ge=1)
    sort: Sort = "semver"


class ReplicateRule(Scheduled):
    """`[[replicate]]`: what is copied from one registry to others.

    Attributes:
        name: Unique among rules and retention policies.
        source: The name of the registry to read.
        target: The names of the registries to write.
        repos, exclude_repos: The source's repositories, and those of them to leave out.
        tags, exclude_tags: Their tags, and those of them to leave out.
        latest: How many of those at most; None for all. What `tags` names in full comes anyway.
        rename: The repository's name at the targets, `{repo}` being that at the source and
            `{name}` what a `re:` pattern of `repos` captured.
        platforms: What indexes are trimmed to; empty for all of them as they are.
        overwrite: Which tags of the targets may be replaced.
        mutable: Tags that are expected to move.
        max_overwrite_pct: Above so many percent of replaced tags a repository is refused.
        allow_empty: Whether matching nothing is fine.
        unsupported: What to do with content that cannot be copied.
        referrers: Whether signatures and other referrers come along.
        foreign: Whether non-distributable layers are copied, too.
    """

    name: Name
    source: str
    target: Annotated[Some[str], BeforeValidator(_several)]
    repos: Some[RepositoryPattern]
    exclude_repos: Array[RepositoryPattern] = ()
    tags: Some[TagPattern] = (_EVERY,)
    exclude_tags: Array[TagPattern] = ()
    latest: Latest | None = None
    rename: Rename = "{repo}"
    platforms: Array[Platform] = ()
    overwrite: Literal["ours", "always", "never"] = "ours"
    mutable: Array[TagPattern] = (_LATEST,)
    max_overwrite_pct: Percent = 30
    allow_empty: bool = False
    unsupported: Literal["skip", "fail"] = "skip"
    referrers: bool = True
    foreign: bool = False

    @field_validator("rename")
    @classmethod
    def _keeps_apart(cls, rename: str, info: ValidationInfo) -> str:
        repos: tuple[Pattern, ...] = info.data.get("repos", ())
        used = placeholders(rename)
        for name in used:
            _check_capture(name, repos)
        if not used and repos and not (len(repos) == 1 and repos[0].is_literal):
            raise ValueError(
                f"{rename!r} gives every repository the same name: write {{repo}} in it, or name one"
                " repository in repos"
            )
        return rename

    @property
    def repo_selection(self) -> Selection:
        """The source's repositories."""
        return Selection(self.repos, self.exclude_repos)

    @property
    def tag_selection(self) -> Selection:
        """The tags of each."""
        return Selection(self.tags, self.exclude_tags)

    @property
    def mutable_selection(self) -> Selection:
        """The tags that are expected to move."""
        return Selection(self.mutable)

    @property
    def literal_repos(self) -> tuple[str, ...] | None:
        """The repositories, where all are named in full and no catalog is needed; else None."""
        return (
            tuple(each.text for each in self.repos)
            if all(p.is_literal for p in self.repos)
            else None
        )

    def names(self, repository: str) -> bool:
        """Whether `repository` is named in full, so that its absence is an error."""
        return any(each.is_literal and each.text == repository for each in self.repos)

    def renamed(self, repository: str) -> str:
        """What the source's `repository` is called at the targets.

        Captures are those of the first pattern in `repos` that matches it.
        """
        captures = (pattern.groups(repository) for pattern in self.repos)
        found = next((each for each in captures if each is not None), {})
        return filled(self.rename, found | {"repo": repository})


class Rules(Table):
    """The whole file. Made by `load` or `loads`.

    Attributes:
        version: The key `schema`: what the file means.
        timezone: For schedules and calendar keeps.
        state, daemon, notify: The tables of those names.
        registry: The registries by name.
        replicate: The replication rules.
        retention: The policies and their guards.
    """

    version: Schema = Field(alias="schema")
    timezone: Zone = ZoneInfo("UTC")
    state: State = State()
    daemon: Daemon = Daemon()
    notify: Notify = Notify()
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
