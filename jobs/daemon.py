"""`syncerd`, the daemon: startup, main loop, reload, drain, in this order below."""

from __future__ import annotations

import fcntl
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn, Self

import click

from jobs import sdnotify, web
from jobs.live import Live, known, lag, rules_of, scheduled
from jobs.metrics import Metrics
from jobs.notify import Notifier
from jobs.once import Once
from jobs.schedule import Schedule
from jobs.standing import Standing
from syncer import errors, log, retention, rules, state, stores

DEFAULT_CONFIG = "/etc/syncer/rules.toml"
_STOP = frozenset({signal.SIGTERM, signal.SIGINT})
# Seconds between looks at the scheduler and the clock; less where systemd wants to hear more often.
_BEAT = 15.0
# Seconds for runs to end once their requests have been broken off.
_AFTER_ABORT = 10.0
_FIRST_MAINTENANCE = timedelta(minutes=10)


@click.command("syncerd", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(path_type=Path),
    envvar="SYNCER_CONFIG",
    default=DEFAULT_CONFIG,
    show_default=True,
    show_envvar=True,
    metavar="FILE",
    help="The rules file.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log more, as every repeated request.")
def main(path: Path, *, verbose: bool) -> NoReturn:
    """Run the rules of FILE, each on its schedule, until told to stop.

    SIGHUP reads the file again; a wrong one changes nothing. SIGTERM and SIGINT let what is under
    way finish for as long as [daemon] drain says; a second one ends it at once.
    """
    log.configure(verbose=verbose)
    try:
        with ExitStack() as stack:
            daemon = startup(path, stack)
            daemon.main_loop()
            sys.exit(daemon.drain())
    except errors.SyncerError as error:
        click.echo(f"syncerd: error: {log.mask(str(error))}", err=True)
        sys.exit(error.exit_code)


def startup(path: Path, stack: ExitStack) -> Daemon:
    """Everything a daemon needs, opened; the first schedule is set and systemd knows.

    Raises:
        RulesError: The file is wrong; nothing was opened.
        HeldError: Another daemon uses this state.
        StateError: The state cannot be used.
        UsageError: The address to listen on cannot be had.
    """
    _forward_other_logs()
    signals = stack.enter_context(Signals())
    found = rules.load(path)
    log.get().info("daemon.started", config=str(path), pid=os.getpid())
    opened = stack.enter_context(state.open_state(found.state.url, now=_now))
    stack.enter_context(_alone(opened.path))
    for notice in opened.notices:
        log.get().warning("state.notice", message=notice)
    for run in opened.recover():
        log.get().warning("run.was_cut_off", run=run)
    listener = stack.enter_context(web.listen(found.daemon.listen))
    daemon = Daemon(path, Live(found, _now), opened, signals, listener)
    daemon.begin(stack)
    return daemon


class Daemon:
    """A daemon between its startup and its end."""

    def __init__(
        self,
        path: Path,
        live: Live,
        opened: state.State,
        signals: Signals,
        listener: socket.socket,
    ) -> None:
        self._path = path
        self._live = live
        self._state = opened
        self._signals = signals
        self._connections = stores.Registries()
        self._beaten = time.monotonic()
        metrics = Metrics()
        told = opened.path.with_name(f"{opened.path.name}.notices")
        self._notifier = Notifier(told, live.rules.notify, _now, metrics.noticed)
        once = Once(
            live,
            opened,
            self._connections,
            observers=[metrics.observe],
            ended=[live.ended, metrics.ended, self._notifier.ended],
        )
        self._schedule = Schedule(live, opened, once)
        metrics.registry.register(Standing(live, opened, self._schedule.next_runs))
        view = web.View(live, opened, self._schedule.next_runs)
        self._server = web.Server(listener, view, metrics.registry, self._is_healthy)

    def begin(self, stack: ExitStack) -> None:
        """Sets the first schedule, answers requests, and says so."""
        self._schedule.daily(self._maintain, _FIRST_MAINTENANCE)
        self._notifier.start()
        stack.callback(self._notifier.close)
        self._schedule.start()
        self._server.start()
        stack.callback(self._server.close)
        stack.enter_context(_beating(self._beat, min(_BEAT, (sdnotify.patience() or _BEAT) / 2)))
        log.get().info("daemon.ready", rules=len(scheduled(self._live.rules)), url=self._server.url)
        self._tell()
        sdnotify.ready()

    def main_loop(self) -> None:
        """Waits for signals: SIGHUP reloads, the first of the others ends the loop."""
        while (number := self._signals.wait()) not in _STOP:
            if number == signal.SIGHUP:
                self.reload()

    def reload(self) -> None:
        """Puts the file as it is now in force; a wrong one changes nothing, and that is told.

        Runs under way go on by the rules they began with. Credentials are read anew.
        """
        sdnotify.reloading()
        try:
            found = rules.load(self._path)
        except errors.RulesError as error:
            self._live.problem = str(error)
            problems = [str(problem) for problem in error.problems]
            log.get().error("rules.rejected", config=error.file, problems=problems)
        else:
            try:
                self._adopt(found)
            except errors.StateError as error:
                self._live.problem = f"the rules could not be taken up: {error}; reload again"
                log.get().error("rules.not_taken_up", error=str(error))
        self._tell()
        sdnotify.ready()

    def _adopt(self, found: rules.Rules) -> None:
        before = self._live.rules
        if (found.state, found.daemon.listen) != (before.state, before.daemon.listen):
            log.get().warning("rules.restart_needed", keys=["state.url", "daemon.listen"])
        self._live.adopt(found)
        self._connections.renew()
        self._schedule.plan()
        self._notifier.configure(found.notify, {rule.name for rule in rules_of(found)})
        log.get().info("rules.loaded", rules=len(scheduled(found)))

    def drain(self) -> int:
        """Begins nothing new and waits for what runs, as long as [daemon] drain says.

        Returns:
            The exit code: 0, also when runs had to be broken off; they are recorded as such.
        """
        sdnotify.stopping()
        self._live.stop()
        log.get().info("daemon.stopping", running=[run.rule for run in self._live.running])
        self._schedule.stop()
        if not self._ended_within(self._live.rules.daemon.drain.total_seconds()):
            log.get().warning("daemon.breaking_off", running=[r.rule for r in self._live.running])
            self._connections.abort()
            if not self._ended_within(_AFTER_ABORT):
                self._end_at_once(1)
        self._connections.close()
        log.get().info("daemon.stopped")
        return 0

    def _ended_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self._live.running and (left := deadline - time.monotonic()) > 0:
            self._tell()
            sdnotify.alive()
            sdnotify.extend(_AFTER_ABORT * 2)
            if self._signals.wait(min(left, 0.2)) in _STOP:
                self._end_at_once(130)
        return not self._live.running

    def _end_at_once(self, code: int) -> NoReturn:
        """Ends the process without waiting for any thread; what ran is recorded as interrupted."""
        log.get().error("daemon.ended_at_once", running=[run.rule for run in self._live.running])
        recording = threading.Thread(target=self._record, daemon=True)
        recording.start()
        recording.join(2.0)
        os._exit(code)

    def _record(self) -> None:
        for run in self._state.runs.active():
            if (run.pid, run.host) == (os.getpid(), socket.gethostname()):
                self._state.runs.finish(run.id, "interrupted")

    def _beat(self) -> None:
        try:
            if self._schedule.turning():
                self._beaten = time.monotonic()
                sdnotify.alive()
            self._notifier.lags(self._late())
            self._tell()
        except errors.StateError as error:
            log.get().error("beat.failed", error=str(error))

    def _late(self) -> dict[str, str]:
        """The rules that lag more than [notify] allows, each with a sentence."""
        bound = self._live.rules.notify.lag
        if bound is None:
            return {}
        found = {}
        mirrors = {rule.name for rule in self._live.rules.replicate}
        for (rule, target), record in known(self._live.rules, self._state).items():
            behind = lag(record, self._live.now())
            if behind and behind > bound and rule in mirrors:
                found[rule] = f"{target} is more than {retention.duration(bound)} behind its source"
        return found

    def _is_healthy(self) -> bool:
        return time.monotonic() - self._beaten < 3 * _BEAT

    def _tell(self) -> None:
        sdnotify.status(f"{self._live.status()}; {self._server.url}")

    def _maintain(self) -> None:
        log.get().info("state.maintained", rows=self._state.maintain())


def _now() -> datetime:
    return datetime.now(UTC)


class _Forward(logging.Handler):
    """Libraries' own log lines, in the form of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one."""
        log.get().log(
            record.levelno,
            "library",
            message=record.getMessage(),
            logger=record.name,
            exc_info=record.exc_info,
        )


def _tell_of_threads(died: threading.ExceptHookArgs) -> None:
    name = died.thread.name if died.thread else ""
    log.get().error("thread.died", thread=name, exc_info=died.exc_value)


def _forward_other_logs() -> None:
    threading.excepthook = _tell_of_threads
    logging.basicConfig(handlers=[_Forward()], level=logging.WARNING, force=True)
    # It warns of each time that a run still under way leaves out.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)


class Signals:
    """Signals as they come, to be waited for. Nothing happens in the handlers themselves.

    Python writes each signal's number to a socket (`signal.set_wakeup_fd`).
    """

    def __enter__(self) -> Self:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._before = {
            number: signal.signal(number, lambda *_: None) for number in (*_STOP, signal.SIGHUP)
        }
        self._wakeup = signal.set_wakeup_fd(self._writer.fileno())
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._wakeup)
        for number, action in self._before.items():
            signal.signal(number, action)
        self._reader.close()
        self._writer.close()

    def wait(self, seconds: float | None = None) -> int:
        """The next signal's number; 0 when none came within `seconds`."""
        ready, _, _ = select.select([self._reader], [], [], seconds)
        return self._reader.recv(1)[0] if ready else 0


@contextmanager
def _beating(beat: Callable[[], None], seconds: float) -> Iterator[None]:
    """Calls `beat` every so many seconds, in a thread that nothing else uses."""
    ended = threading.Event()

    def work() -> None:
        while True:
            beat()
            if ended.wait(seconds):
                return

    thread = threading.Thread(target=work, name="beat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Holds the place of the one daemon of a state: a lock that ends with this process.

    Raises:
        HeldError: Another daemon has it.
    """
    with path.with_name(f"{path.name}.daemon").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise errors.HeldError(
                f"another syncerd (process {file.read().strip() or 'unknown'}) uses the state {path}:"
                " stop that one first (systemctl stop syncer), or name another state in this file"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
