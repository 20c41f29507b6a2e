"""Rules -> open stores. Connections, tokens, limits and circuits are shared by a whole process."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Self
from urllib.parse import urlsplit

from syncer import credentials, errors, events, rules, trimmed
from syncer.registry import client, limits
from syncer.registry.shared import Allowed, Shared
from syncer.registry.shared import connect as open_registry
from syncer.rules import Limits, Registry, ReplicateRule, Rules
from syncer.store import Store

# What is in flight to one directory; a disk gains little by more.
LAYOUT_CONCURRENCY = 4


class Registries:
    """What all runs of this process share of each registry.

    A registry whose settings changed on reload gets new connections, and so do all when what holds
    for all of them changed; runs that hold the old ones end with them.

    Attributes:
        trimmed: What the indexes that were seen become for the platforms of rules.
    """

    def __init__(self) -> None:
        self.trimmed = trimmed.Known()
        self._shared: dict[str, tuple[Registry, Shared]] = {}
        self._overall: limits.Bandwidth | None = None
        self._limits = Limits()
        self._lock = threading.Lock()

    def open(self, known: Rules, observer: events.Observer, stop: threading.Event) -> Stores:
        """The stores of a rules file, for one run."""
        self.limit(known.limits)
        return Stores(self, known.registry, observer, stop)

    def limit(self, limit: Limits) -> None:
        """Puts what holds for all registries together in force."""
        with self._lock:
            if limit != self._limits:
                self._limits = limit
                self._overall = limits.Bandwidth(limit.bandwidth) if limit.bandwidth else None
                self._shared.clear()

    def shared(self, name: str, settings: Registry) -> Shared:
        """The connections and limits of a registry, made on first use."""
        with self._lock:
            held = self._shared.get(name)
            if held is None or held[0] != settings:
                held = (settings, connect(name, settings, self._overall))
                self._shared[name] = held
            return held[1]

    def renew(self) -> None:
        """Has every credential read anew; requests under way go on."""
        with self._lock:
            for settings, shared in self._shared.values():
                shared.renew(source(settings))

    def abort(self) -> None:
        """Ends every request under way at once."""
        with self._lock:
            for _, shared in self._shared.values():
                shared.abort()

    def close(self) -> None:
        """Closes the idle connections."""
        with self._lock:
            for _, shared in self._shared.values():
                shared.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Stores:
    """The stores of one run, by the names of the rules file."""

    def __init__(
        self,
        registries: Registries,
        known: Mapping[str, Registry],
        observer: events.Observer,
        stop: threading.Event,
    ) -> None:
        self._registries = registries
        self._known = known
        self._observer = observer
        self._stop = stop
        self._open: dict[str, Store] = {}

    def get(self, name: str) -> Store:
        """The store called `name`.

        Raises:
            UsageError: The rules file has no such registry.
        """
        if name not in self._known:
            names = ", ".join(self._known) or "none"
            raise errors.UsageError(f"no registry is named {name!r}; there are: {names}")
        if name not in self._open:
            self._open[name] = self._opened(name, self._known[name])
        return self._open[name]

    def _opened(self, name: str, settings: Registry) -> Store:
        if settings.layout:
            from syncer import layout  # noqa: PLC0415  (most runs have none)

            return layout.Layout(settings.layout, name, observer=self._observer)
        shared = self._registries.shared(name, settings)
        return client.Client(
            shared,
            observer=self._observer,
            stop=self._stop,
            listed=settings.repos,
            collects=settings.collects_untagged,
        )

    def source(self, rule: ReplicateRule) -> trimmed.Source:
        """What a rule reads, with its `platforms` in force."""
        return trimmed.source(self.get(rule.source), rule.platforms, self._registries.trimmed)

    def concurrency(self, name: str) -> int:
        """Requests that may be in flight to a registry, files to a layout."""
        settings = self._known[name]
        return LAYOUT_CONCURRENCY if settings.layout else settings.concurrency

    def repositories(self, name: str) -> tuple[str, ...] | None:
        """The repositories the rules file lists for a registry; None where its catalog is asked."""
        return self._known[name].repos or None


def key(settings: Registry) -> str:
    """The canonical URL by which the state knows a registry."""
    return settings.url


def connect(name: str, settings: Registry, overall: limits.Bandwidth | None = None) -> Shared:
    """New connections to a registry, under a cap that is shared; nothing is asked yet."""
    return open_registry(
        name,
        settings.url,
        source=source(settings),
        allowed=Allowed(
            concurrency=settings.concurrency,
            requests_per_second=settings.requests_per_second,
            bandwidth=settings.bandwidth,
            overall=overall,
            rate_limit_reserve=settings.rate_limit_reserve,
        ),
        ca_file=str(settings.ca_file or ""),
        client_cert=str(settings.client_cert or ""),
        client_key=str(settings.client_key or ""),
        proxy=settings.proxy,
        timeout=settings.timeout.total_seconds(),
    )


def source(settings: Registry) -> credentials.Source:
    """Where the credentials for a registry are read from."""
    host = urlsplit(settings.url).netloc
    match settings.auth:
        case rules.PasswordFile(username=username, password_file=path):
            return credentials.PasswordFile(username, path)
        case rules.PasswordEnv(username=username, password_env=variable):
            return credentials.EnvironmentVariable(username, variable)
        case rules.SystemdCredential(credential=name, username=username):
            return credentials.SystemdCredential(name, host, username)
        case rules.DockerConfig(docker_config=path):
            return credentials.DockerConfig(host, path)
        case rules.Anonymous():
            return credentials.Anonymous()
