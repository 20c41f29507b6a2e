"""What an operator has: a rules file, a state, and registries to run them against."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from syncer import events, rules, run, state, stores
from syncer.report import Report
from tests.process import RegistryProcess

ANONYMOUS = "auth = 'anonymous'"


@dataclass
class Operator:
    """Runs rules in this process, with a clock that can be moved.

    Attributes:
        directory: Where the rules and the state are.
        registries: The registries by the names the rules call them.
        rules: What follows the registries in the rules file.
        ahead: How far the clock is ahead of the host's.
    """

    directory: Path
    registries: Mapping[str, RegistryProcess]
    rules: str = ""
    ahead: timedelta = timedelta()
    seen: list[events.Event] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    extra: dict[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """The rules file."""
        tables = "\n".join(
            f'[registry.{name}]\nurl = "{process.url}"\n{self.extra.get(name, ANONYMOUS)}'
            for name, process in self.registries.items()
        )
        url = f"sqlite:///{self.directory / 'state.db'}"
        return f'schema = 1\n[state]\nurl = "{url}"\n{tables}\n{self.rules}\n'

    def now(self) -> datetime:
        """The clock that runs see."""
        return datetime.now(UTC) + self.ahead

    def sync(self, *names: str) -> Report:
        """`syncer sync`."""
        with self.environment() as environment:
            return run.sync(environment, names)

    def preview(self, *names: str) -> Report:
        """`syncer plan`, its report."""
        with self.environment() as environment:
            return run.preview(environment, names)[0]

    def verify(self, *names: str, repair: bool = False) -> run.Verified:
        """`syncer verify`."""
        with self.environment() as environment:
            return run.verify(environment, names, repair=repair)

    def prune(self, *names: str, apply: bool = False, allow: int | None = None) -> run.Pruned:
        """`syncer prune`."""
        with self.environment() as environment:
            return run.prune(environment, names, apply=apply, allow_delete=allow)

    def apply(self, plan: str, allow: int | None = None) -> Report:
        """`syncer apply PLAN`."""
        with self.environment() as environment:
            return run.apply_plan(environment, plan, allow_delete=allow)

    def undo(self, *names: str) -> Report:
        """`syncer undo NAME`."""
        with self.environment() as environment:
            return run.restore(environment, names)

    def why(self, name: str) -> run.Why:
        """`syncer why REF`."""
        with self.environment() as environment:
            return run.why(environment, name)

    @contextmanager
    def environment(self) -> Iterator[run.Environment]:
        """What a run needs, opened for one command."""
        url = f"sqlite:///{self.directory / 'state.db'}"
        with state.open_state(url, now=self.now) as memory, stores.Registries() as registries:
            yield run.Environment(
                rules.loads(self.text()),
                registries,
                memory,
                (self.seen.append,),
                self.stop,
                self.now,
            )

    def steps(self, outcome: str) -> list[events.StepDone]:
        """The steps of all runs so far that ended so."""
        return [e for e in self.seen if isinstance(e, events.StepDone) and e.outcome == outcome]


class Place(Protocol):
    """A registry or an image layout."""

    @property
    def url(self) -> str:
        """As it stands in a rules file."""
        ...


def between(directory: Path, eu: Place, us: Place, rules: str) -> Operator:
    """An operator of the places `eu` and `us`, whatever these are."""
    places = {"eu": eu, "us": us}
    extra = {name: "" for name, place in places.items() if place.url.startswith("oci:")}
    return Operator(directory, places, rules, extra=extra)  # type: ignore[arg-type]
