"""What the server counts, under the names the field uses; alert rules are written from the same names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from modelyard.serving.counts import Cells, Count, Durations

CONTENT_TYPE = CONTENT_TYPE_LATEST
REQUESTS = "http_server_request_duration_seconds"
PREDICTIONS = "modelyard_predictions_total"
SOURCE_FAILURES = "modelyard_source_failures_total"
LOG_FAILURES = "modelyard_prediction_log_failures_total"
LOG_RECORDS = "modelyard_prediction_log_records_total"
LOG_LOADED = "modelyard_prediction_log_loaded_timestamp_seconds"
GUARD_FAILURES = "modelyard_guard_failures_total"
FLIPS = "modelyard_release_flips_total"
IN_FLIGHT = "http_server_active_requests"
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
ANSWERS_ROWS = 'http_request_method="POST",http_route=~"/v1/(predict|explain)|/invocations|/v2/models/.+"'
"""Labels of the requests that ask for answers to rows, in whichever protocol, as PromQL selects them."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
"""What is shown by its name; another is ``_OTHER``."""

_BUCKETS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_WHO = ("model", "version", "variant")


class Metrics:
    """Counters and histograms of one server, in a registry of their own.

    Parameters
    ----------
    model : str
        Name of the model.
    limit : float or None
        The brief's latency limit in seconds: a bucket ends there, so that the share of slower requests is exact.

    Attributes
    ----------
    registry : CollectorRegistry
        Where parts of the server put what they count.
    """

    def __init__(self, model: str, limit: float | None = None) -> None:
        self.registry = CollectorRegistry()
        self._model = model
        folder = os.environ.get(MULTIPROCESS)
        self._cells = Cells(None if folder is None else Path(folder))
        self.registry.register(self._cells)
        buckets = sorted({*_BUCKETS, *([limit] if limit else [])})
        labels = ("model", "http_request_method", "http_route", "http_response_status_code")
        self._cells.histogram(REQUESTS, "Duration of HTTP server requests.", labels, buckets)
        self._cells.counter(PREDICTIONS, "Rows answered.", _WHO)
        self._cells.counter(LOG_RECORDS, "Answered requests written to the prediction log.", _WHO)
        self._source_failures = self._counter(
            SOURCE_FAILURES, "Requests a source of answers failed on; the next source was asked.", "source"
        )
        self._log_failures = self._counter(LOG_FAILURES, "Answered requests the prediction log lacks.")
        self._guard_failures = Counter(
            GUARD_FAILURES,
            "Times that something the guard needs was gone.",
            ("model", "needed"),
            registry=self.registry,
        )
        self._flips = Counter(
            FLIPS, "Releases a server that follows the registry took up, refused, or could not look for.",
            ("model", "result"), registry=self.registry,
        )  # fmt: skip
        self._in_flight = Gauge(
            IN_FLIGHT, "Requests that are under way.", ("model",), registry=self.registry, multiprocess_mode="livesum"
        ).labels(model)
        self._asked: list[Collector] = []
        self._children: dict[tuple[str, str, int], Durations] = {}
        if MULTIPROCESS not in os.environ:
            ProcessCollector(registry=self.registry)

    def of(self, version: str, variant: str) -> Counts:
        """Return what is counted of one version: the release's, and the arm of a rollout it is."""
        who = (self._model, version, variant)
        failures = self._source_failures
        counts = Counts(
            self._cells.count(PREDICTIONS, who),
            self._log_failures.labels(*who),
            self._cells.count(LOG_RECORDS, who),
            lambda source: failures.labels(*who, source).inc(),
        )
        failures.labels(*who, "model")  # shown from the start, at 0
        return counts

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request; an unknown method counts as ``_OTHER``, so that callers cannot invent time series."""
        key = (method, route, status)
        child = self._children.get(key)
        if child is None:
            shown = method if method in METHODS else "_OTHER"
            child = self._children[key] = self._cells.durations(REQUESTS, (self._model, shown, route, str(status)))
        child.observe(seconds)

    def guard_failed(self, needed: str) -> Callable[[], None]:
        """Return what counts that something the guard needs was gone; from now on it is shown, at 0."""
        return self._guard_failures.labels(self._model, needed).inc

    def flipped(self, result: str) -> None:
        """Count a look at the registry: "done", "refused" or "unreachable"."""
        self._flips.labels(self._model, result).inc()

    def log_loaded(self, ask: Callable[[], float]) -> None:
        """Show the moment up to which the prediction log is in its store; it is asked for at each scrape."""
        collector = _Asked(
            LOG_LOADED, "Up to when all that the prediction log holds is in its store.", self._model, ask
        )
        self.registry.register(collector)
        self._asked.append(collector)

    def in_flight(self, count: int) -> None:
        """Say how many requests are under way in this process."""
        self._in_flight.set(count)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format, over all workers of the server."""
        if MULTIPROCESS not in os.environ:
            return generate_latest(self.registry)
        everything = CollectorRegistry()
        for collector in (self._cells, *self._asked):
            everything.register(collector)
        MultiProcessCollector(everything)  # type: ignore[no-untyped-call]
        return generate_latest(everything)

    def _counter(self, name: str, text: str, *more: str) -> Counter:
        return Counter(name, text, (*_WHO, *more), registry=self.registry)


class _Asked(Collector):
    """A gauge that any worker can tell of all of them: asked for when it is scraped, and kept nowhere."""

    def __init__(self, name: str, text: str, model: str, ask: Callable[[], float]) -> None:
        self._name, self._text, self._model, self._ask = name, text, model, ask

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return its value now."""
        gauge = GaugeMetricFamily(self._name, self._text, labels=["model"])
        gauge.add_metric([self._model], self._ask())
        yield gauge


@dataclass(frozen=True, slots=True)
class Counts:
    """What is counted of one version.

    Attributes
    ----------
    predictions, log_failures, log_records : Count or Counter
        Rows answered; answered requests the prediction log lacks, and those it has.
    source_failed : callable
        Counts a request that the named source of answers failed on.
    """

    predictions: Count
    log_failures: Counter
    log_records: Count
    source_failed: Callable[[str], None]
