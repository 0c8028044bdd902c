"""Counters in Prometheus' text format. What lives elsewhere (outbox, budgets) is read when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

disable_created_metrics()  # type: ignore[no-untyped-call] # one more series for each counter, which nobody reads


@dataclass(frozen=True, slots=True)
class Sample:
    """One value that is read at scrape time."""

    name: str
    help: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()
    counter: bool = False


class Metrics:
    """The registry of one gateway."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.vendor_requests = Counter(
            "meterbridge_vendor_requests_total",
            "Calls to vendors",
            ["account", "endpoint", "outcome"],
            registry=self.registry,
        )
        self.vendor_seconds = Histogram(
            "meterbridge_vendor_request_seconds",
            "Duration of calls to vendors",
            ["account"],
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
            registry=self.registry,
        )
        self.commands = Counter(
            "meterbridge_commands_total",
            "Commands by their end",
            ["account", "command", "status"],
            registry=self.registry,
        )
        self.command_seconds = Histogram(
            "meterbridge_command_seconds",
            "From taking a command to its final acknowledgement",
            ["account"],
            buckets=(0.05, 0.1, 0.5, 1, 5, 30, 60, 300, 3600, 86400),
            registry=self.registry,
        )
        self.rejected = Counter(
            "meterbridge_commands_rejected_total", "Commands rejected", ["code"], registry=self.registry
        )
        self.slot_wait_seconds = Histogram(
            "meterbridge_slot_wait_seconds",
            "How long calls waited for room in the vendor's limits",
            ["account", "lane"],
            buckets=(0.01, 0.1, 0.5, 1, 5, 15, 60, 300, 1800, 3600),
            registry=self.registry,
        )
        self.loop_lag_seconds = Histogram(
            "meterbridge_event_loop_lag_seconds",
            "How late the event loop was",
            buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
            registry=self.registry,
        )
        ProcessCollector(registry=self.registry)
        self.observations = Counter(
            "meterbridge_observations_total",
            "What vendors told",
            ["account", "kind"],
            registry=self.registry,
        )

        self._ends: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}

    def command_ended(self, account: str, command: str, status: str, seconds: float) -> None:
        """One command is final; `seconds` since it was taken."""
        ends = self._ends.get((account, command, status))
        if ends is None:
            ends = self.commands.labels(account, command, status), self.command_seconds.labels(account)
            self._ends[account, command, status] = ends
        ends[0].inc()
        ends[1].observe(seconds)

    def read_from(self, source: Callable[[], Sequence[Sample]]) -> None:
        """Adds samples that are read at each scrape."""
        self.registry.register(_Source(source))

    def exposition(self) -> tuple[bytes, str]:
        """The text and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST


class _Source:
    def __init__(self, source: Callable[[], Sequence[Sample]]) -> None:
        self._source = source

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for sample in self._source():
            names = [label for label, _ in sample.labels]
            if sample.name not in families:
                kind = CounterMetricFamily if sample.counter else GaugeMetricFamily
                families[sample.name] = kind(sample.name, sample.help, labels=names)
            families[sample.name].add_metric([value for _, value in sample.labels], sample.value)  # type: ignore[attr-defined] # both kinds have it
        return families.values()
