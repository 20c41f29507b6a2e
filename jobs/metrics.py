"""What Prometheus is told of what happens: counters that grow with events.

What stands (lag, outcomes, what runs) is in `jobs.standing`. Labels hold names of the rules file and words of this program, so none of them is unbounded. Names
follow Prometheus' own advice ("Metric and label naming").
"""

from __future__ import annotations

import platform
import time
from importlib import metadata

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Summary
from prometheus_client.process_collector import ProcessCollector

from syncer import events
from syncer.report import Report, RuleReport

_TOO_MANY = 429
_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The metrics of one daemon. Listens to runs (`observe`) and to their ends (`ended`)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        _Process(registry=self.registry)
        build = Info("syncer_build", "What runs.", registry=self.registry)
        version = metadata.version("syncer")
        build.info({"version": version, "python": platform.python_version()})
        self._requests = self._counter(
            "requests",
            "Requests by method and status of the answer; status 0: broken off.",
            ("registry", "method", "status"),
        )
        self._request_seconds = Histogram(
            "syncer_request_duration_seconds",
            "Time to the head of the answer.",
            ("registry",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._retries = self._counter("request_retries", "Requests sent again.", ("registry",))
        self._waits = self._counter(
            "rate_limit_waits", "Requests that waited since the registry said 429.", ("registry",)
        )
        self._waited = self._counter(
            "rate_limit_wait_seconds", "Time that those requests waited.", ("registry",)
        )
        self._circuit = Gauge(
            "syncer_circuit_open",
            "1 while a registry failed so often that it is not asked.",
            ("registry",),
            registry=self.registry,
        )
        self._blobs = self._counter(
            "blobs", "Blobs copied, mounted, or found present at a target.", ("registry", "how")
        )
        self._bytes = self._counter(
            "blob_bytes",
            "Blob bytes read from and written to registries.",
            ("registry", "direction"),
        )
        self._steps = self._counter(
            "steps",
            "Steps by what they were to do and how they ended.",
            ("rule", "action", "outcome"),
        )
        self._runs = self._counter("runs", "Scheduled runs by how they ended.", ("rule", "outcome"))
        self._run_seconds = Summary(
            "syncer_run_duration_seconds",
            "How long the scheduled runs of a rule took.",
            ("rule",),
            registry=self.registry,
        )
        self._notices = self._counter(
            "notices", "Attempts to deliver a notice to the webhook.", ("result",)
        )

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(f"syncer_{name}", text, labels, registry=self.registry)

    def observe(self, event: events.Event) -> None:
        """Counts one event. Safe to call from several threads."""
        match event:
            case events.RequestDone():
                status = str(event.status)
                self._requests.labels(event.registry, event.method, status).inc()
                self._request_seconds.labels(event.registry).observe(event.seconds)
            case events.Retried():
                self._retries.labels(event.registry).inc()
                if event.status == _TOO_MANY:
                    self._waits.labels(event.registry).inc()
                    self._waited.labels(event.registry).inc(event.delay)
            case events.CircuitChanged():
                self._circuit.labels(event.registry).set(event.opened)
            case events.BytesMoved():
                self._bytes.labels(event.registry, event.direction).inc(event.count)
            case events.BlobDone():
                self._blobs.labels(event.registry, event.how).inc()
            case events.StepDone():
                self._steps.labels(event.rule, str(event.action), event.outcome).inc()

    def ended(self, rule: str, fared: RuleReport, report: Report | None) -> None:
        """Counts a run that ended."""
        self._runs.labels(rule, fared.outcome).inc()
        if report:
            self._run_seconds.labels(rule).observe(report.seconds)

    def noticed(self, delivered: bool) -> None:  # noqa: FBT001
        """Counts an attempt to deliver a notice."""
        self._notices.labels("delivered" if delivered else "failed").inc()


class _Process(ProcessCollector):
    """The process' own memory, processor time and files; also where /proc holds processes alone."""

    def _boot_time(self) -> float:
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
