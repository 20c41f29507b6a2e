"""One command line at work: what its common options say, and what is opened because of them."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from syncer import errors, events
from syncer.cli import console

if TYPE_CHECKING:
    from syncer.rules import Rules
    from syncer.run import Environment
    from syncer.state import State
    from syncer.stores import Stores

DEFAULT_CONFIG = "/etc/syncer/rules.toml"


@dataclass
class Session:
    """What the common options say.

    Attributes:
        config: The value of `-c`; empty without it.
        verbose: Whether `-v` was given.
        command: The name of the command.
        stop: Set by the first signal while a run is under way.
    """

    config: str = ""
    verbose: bool = False
    command: str = ""
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def path(self) -> Path:
        """The rules file: `-c`, else `$SYNCER_CONFIG`, else the default."""
        return Path(self.config or os.environ.get("SYNCER_CONFIG") or DEFAULT_CONFIG)

    def rules(self, *, quiet: bool = False) -> Rules:
        """The rules in force; says on stderr which file they are from, unless `quiet`.

        Raises:
            RulesError: The file is not there, or wrong.
        """
        from syncer import rules

        if not self.path.exists():
            hint = "" if self.config else "; name one with -c FILE or $SYNCER_CONFIG"
            problem = errors.Problem(0, "", f"there is no such file{hint}")
            raise errors.RulesError(str(self.path), [problem])
        loaded = rules.load(self.path)
        if not quiet:
            console.tell(f"rules: {self.path}")
        return loaded

    @contextmanager
    def state(self, rules: Rules) -> Iterator[State]:
        """The open state of those rules, tidied up after dead processes."""
        from syncer import state

        with state.open_state(rules.state.url, now=now) as opened:
            for notice in opened.notices:
                console.tell(f"state: {notice}", "yellow")
            opened.recover()
            yield opened

    @contextmanager
    def environment(
        self, rules: Rules, observers: tuple[events.Observer, ...]
    ) -> Iterator[Environment]:
        """What a run needs, with the signals at its service until the block ends."""
        from syncer import run, stores
        from syncer.cli import signals

        with self.state(rules) as opened, ExitStack() as stack:
            registries = stack.enter_context(stores.Registries())
            stack.enter_context(signals.stopping(self.stop, lambda: _record(opened)))
            yield run.Environment(rules, registries, opened, observers, self.stop)

    @contextmanager
    def stores(self, rules: Rules) -> Iterator[Stores]:
        """The registries of those rules, to look at; Ctrl-C ends every request under way."""
        from syncer import stores

        with stores.Registries() as registries:
            try:
                yield registries.open(rules, events.ignore, self.stop)
            except KeyboardInterrupt:
                self.stop.set()
                registries.abort()
                raise

    def log(self) -> None:
        """Sets the log up: for people, on stderr; only what matters unless `-v` was given."""
        from syncer import log

        log.configure(json=False, verbose=self.verbose)


def now() -> datetime:
    """The time of day."""
    return datetime.now(UTC)


def _record(state: State) -> None:
    """Ends the runs of this process as interrupted: there will be no other occasion."""
    here = (socket.gethostname(), os.getpid())
    for run in state.runs.active():
        if (run.host, run.pid) == here:
            state.runs.finish(run.id, "interrupted")
