"""What the server counts, under the names the field uses; alert rules are written from the same names."""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

REQUESTS = "http_server_request_duration_seconds"
PREDICTIONS = "modelyard_predictions_total"
SOURCE_FAILURES = "modelyard_source_failures_total"
LOG_FAILURES = "modelyard_prediction_log_failures_total"
LOG_RECORDS = "modelyard_prediction_log_records_total"
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"

_BUCKETS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})


class Metrics:
    """Counters and histograms of one server, in a registry of their own.

    Parameters
    ----------
    model : str
        Name of the model.
    version : str
        Of the release, or the bundle's short hash.
    variant : str
        Which arm of a rollout this server is; "stable" outside one.
    limit : float or None
        The brief's latency limit in seconds: a bucket ends there, so that the share of slower requests is exact.
    """

    def __init__(self, model: str, version: str, variant: str = "stable", limit: float | None = None) -> None:
        self._registry = CollectorRegistry()
        buckets = sorted({*_BUCKETS, *([limit] if limit else [])})
        labels = ("model", "http_request_method", "http_route", "http_response_status_code")
        self._requests = Histogram(
            REQUESTS, "Duration of HTTP server requests.", labels, buckets=buckets, registry=self._registry
        )
        who = ("model", "version", "variant")
        names = (model, version, variant)
        self.predictions = Counter(PREDICTIONS, "Rows answered.", who, registry=self._registry).labels(*names)
        self._failures = Counter(
            SOURCE_FAILURES, "Requests a source of answers failed on; the next source was asked.", (*who, "source"),
            registry=self._registry,
        )  # fmt: skip
        self.log_failures = Counter(
            LOG_FAILURES, "Answered requests the prediction log lacks.", who, registry=self._registry
        ).labels(*names)
        self.log_records = Counter(
            LOG_RECORDS, "Answered requests written to the prediction log.", who, registry=self._registry
        ).labels(*names)
        self._names = names
        self._children: dict[tuple[str, str, int], Histogram] = {}
        self.source_failed("model", 0)
        if MULTIPROCESS not in os.environ:
            ProcessCollector(registry=self._registry)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request; an unknown method counts as ``_OTHER``, so that callers cannot invent time series."""
        key = (method, route, status)
        child = self._children.get(key)
        if child is None:
            shown = method if method in _METHODS else "_OTHER"
            child = self._children[key] = self._requests.labels(self._names[0], shown, route, str(status))
        child.observe(seconds)

    def source_failed(self, source: str, count: int = 1) -> None:
        """Count a request that a source of answers failed on."""
        self._failures.labels(*self._names, source).inc(count)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format, over all workers of the server."""
        if MULTIPROCESS not in os.environ:
            return generate_latest(self._registry)
        everything = CollectorRegistry()
        MultiProcessCollector(everything)  # type: ignore[no-untyped-call]
        return generate_latest(everything)
