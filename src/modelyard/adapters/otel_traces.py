"""Traces by OpenTelemetry: spans of sampled requests, sent by OTLP over HTTP from a thread of their own.

Whether a request is sampled is decided here, from the flags of its ``traceparent`` or one random number: asking the SDK
takes twenty times as long, and nearly every request is not sampled. What it reads from its standard variables (service,
headers, certificates, queue, limits) is left to the SDK.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from random import getrandbits
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from modelyard.core.errors import ServingError
from modelyard.core.optional import need
from modelyard.serving.asgi import Scope, head
from modelyard.serving.guard.needed import Needed
from modelyard.serving.metrics import METHODS
from modelyard.serving.traces import Span, Traces

SHARE = 0.01
"""Share of the requests without a parent that are sampled where ``OTEL_TRACES_SAMPLER`` says nothing."""
_FLUSH_SECONDS = 5.0
"""What stopping waits for the collector at most."""
_PATH = "/v1/traces"
_HOST_LETTERS, _PORT_DIGITS = 255, 5
"""What a caller's ``Host`` may have of each."""
_STATE_LETTERS = 512
"""A longer ``tracestate`` is left out, as the SDK does."""
_ROOTS = ("always_on", "always_off", "traceidratio")
_PARENT = re.compile(
    rb"(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?", re.DOTALL
)
"""A ``traceparent`` (W3C Trace Context, section 3.2): trace id, parent id and flags. Version 00 ends there, later ones
may go on; ids of zeros and version ff are not valid."""
_LENGTH, _UNSAMPLED = 55, b"02468ace"
"""Of version 00: how long it is, and the last digit of flags without the one that says sampled."""


def traces_of(url: str | None = None) -> Callable[[], Traces] | None:
    """Return what makes the traces of a worker, None where nobody asks for them.

    Parameters
    ----------
    url : str, optional
        The collector, as in ``http://collector:4318``; default: ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT``, which is taken
        as it is, or ``OTEL_EXPORTER_OTLP_ENDPOINT``, to which ``/v1/traces`` is added as to `url`.

    Raises
    ------
    ServingError
        If that is no address, or the environment asks for another protocol.

    References
    ----------
    OpenTelemetry specification, "Environment variables" and "OTLP exporter".
    """
    if _variable("OTEL_SDK_DISABLED").lower() == "true":
        return None
    if url is not None:
        return partial(OtelTraces, _address(url, "--traces", _PATH))
    name, added = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", ""
    if not _variable(name):
        name, added = "OTEL_EXPORTER_OTLP_ENDPOINT", _PATH
    exporters = [one.strip() for one in (_variable("OTEL_TRACES_EXPORTER") or "otlp").split(",")]
    if not _variable(name) or "otlp" not in exporters:
        return None
    for asks in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if protocol := _variable(asks):
            if protocol == "http/protobuf":
                break
            raise ServingError(
                f"Traces cannot be sent by '{protocol}'.",
                where=asks,
                allowed="http/protobuf",
                do="Name the collector's port for it (usually 4318) with --traces, or set OTEL_TRACES_EXPORTER=none.",
            )
    return partial(OtelTraces, _address(_variable(name), name, added))


def sampling() -> tuple[bool, float]:
    """Return whether a request's parent decides, and what share is sampled of those for which it does not.

    Raises
    ------
    ServingError
        If ``OTEL_TRACES_SAMPLER`` or ``OTEL_TRACES_SAMPLER_ARG`` says something else than a sampler and its share.
    """
    name = _variable("OTEL_TRACES_SAMPLER").lower()
    if not name:
        return True, SHARE
    root = name.removeprefix("parentbased_")
    if root not in _ROOTS:
        names = [prefix + one for one in _ROOTS for prefix in ("", "parentbased_")]
        raise ServingError(f"No sampler is called '{name}'.", where="OTEL_TRACES_SAMPLER", allowed=", ".join(names))
    if root != "traceidratio":
        return root != name, float(root == "always_on")
    text = _variable("OTEL_TRACES_SAMPLER_ARG") or "1"
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ServingError(f"'{text}' is no share.", where="OTEL_TRACES_SAMPLER_ARG", allowed="A number from 0 to 1.")
    return root != name, share


class OtelTraces:
    """`Traces` that go to a collector.

    Parameters
    ----------
    endpoint : str
        Where spans are posted.

    Raises
    ------
    MissingExtra
        If OpenTelemetry is not installed.
    ServingError
        If a variable that configures it holds what cannot be.
    """

    def __init__(self, endpoint: str) -> None:
        def get(module: str) -> Any:
            return need(module, "otel", "Sending traces")

        self._follows, share = sampling()
        self._bound = round(share * 2**64)
        logging.getLogger("opentelemetry.util.re").addFilter(_without_value)
        try:  # importing the SDK reads variables too
            exporter, session = get("opentelemetry.exporter.otlp.proto.http.trace_exporter"), get("requests").Session()
            sdk, export, sampler = (get(f"opentelemetry.sdk.trace{part}") for part in ("", ".export", ".sampling"))
            telling = _Telling(exporter.OTLPSpanExporter(endpoint, session=session), export.SpanExportResult, endpoint)
            session.hooks["response"].append(telling.answered)
            self._provider = sdk.TracerProvider(
                # Spans are made of sampled requests alone.
                sampler=sampler.ALWAYS_ON,
                resource=_resource(get("opentelemetry.sdk.resources")),
                shutdown_on_exit=False,
            )
            self._provider.add_span_processor(export.BatchSpanProcessor(telling))
        except ValueError as error:
            raise ServingError("Traces cannot be sent as the environment says.", where=str(error)) from None
        # From here on `_Telling` says what is wrong, once; the SDK would at each try, and of callers' odd headers.
        logger = logging.getLogger("opentelemetry")
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
        self._tracer = self._provider.get_tracer("modelyard", version("modelyard"))
        self._api = get("opentelemetry.trace")
        self._nothing = get("opentelemetry.context").Context()

    def sampled(self, scope: Scope) -> bool:
        """Say whether a request is sampled, as `Traces.sampled` says."""
        sent = head(scope).get(b"traceparent")
        if sent is not None and self._follows and len(sent) == _LENGTH and sent[-1] in _UNSAMPLED:
            return False  # well made or not, it asks for nothing
        parent = None if sent is None else _PARENT.fullmatch(sent)
        if parent is None:
            return getrandbits(64) < self._bound
        if self._follows:
            return int(parent[3], 16) & 1 == 1
        return int(parent[1][16:], 16) < self._bound

    def begin(self, scope: Scope, route: str) -> Span:
        """Begin the span of a request, as `Traces.begin` says."""
        api, context = self._api, self._nothing
        sent = head(scope).get(b"traceparent")
        parent = None if sent is None else _PARENT.fullmatch(sent)
        if parent is not None:
            state = b",".join([value for name, value in scope["headers"] if name == b"tracestate"])
            states = [state.decode("latin-1")] if len(state) <= _STATE_LETTERS else []
            before = api.SpanContext(
                int(parent[1], 16),
                int(parent[2], 16),
                is_remote=True,
                trace_flags=api.TraceFlags(int(parent[3], 16)),
                trace_state=api.TraceState.from_header(states),
            )
            context = api.set_span_in_context(api.NonRecordingSpan(before), context)
        method = scope["method"]
        named = method if method in METHODS else "HTTP"
        span = self._tracer.start_span(f"{named} {route}", context, api.SpanKind.SERVER)
        return OtelSpan(api, self._tracer, span, _asked(scope, method, route))

    def close(self) -> None:
        """Send what is left, as `Traces.close` says."""
        # The SDK has no bound of its own for all of it: what a collector does not take in time is lost.
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(_FLUSH_SECONDS)


class OtelSpan:
    """`Span` of one request.

    Parameters
    ----------
    api : module
        ``opentelemetry.trace``.
    tracer, span : Tracer, Span
        Of the SDK.
    facts : dict
        Attributes; the SDK is given all of them at the end, which is cheaper than one by one.
    """

    def __init__(self, api: Any, tracer: Any, span: Any, facts: dict[str, str | int]) -> None:
        self._api, self._tracer, self._span, self._facts = api, tracer, span, facts
        self.trace: str = api.format_trace_id(span.get_span_context().trace_id)

    def note(self, facts: Mapping[str, str | int]) -> None:
        """Set attributes."""
        self._facts |= facts

    def part(self, name: str, began: float, ended: float) -> None:
        """Add a child span, as `Span.part` says."""
        zero = time.time_ns() - time.perf_counter_ns()
        within = self._api.set_span_in_context(self._span)
        child = self._tracer.start_span(name, within, start_time=zero + round(1e9 * began))
        child.end(zero + round(1e9 * ended))

    def end(self, status: int) -> None:
        """End it, as `Span.end` says.

        References
        ----------
        OpenTelemetry semantic conventions for HTTP spans: of a server, only 5xx is an error of its own.
        """
        if status:
            self._facts["http.response.status_code"] = status
        if status >= 500:
            self._facts["error.type"] = str(status)
            self._span.set_status(self._api.Status(self._api.StatusCode.ERROR))
        self._span.set_attributes(self._facts)
        self._span.end()


class _Telling:
    """An exporter that tells in the server's log when its collector is lost, and when it is back."""

    def __init__(self, exporter: Any, results: Any, endpoint: str) -> None:
        self._exporter, self._results = exporter, results
        at = urlsplit(endpoint)
        self._shown = f"{at.scheme}://{at.netloc.rpartition('@')[2]}{at.path}"  # no password, and no query
        self._needed = Needed("traces")
        self._status = 0

    def answered(self, response: Any, **_: Any) -> None:
        """Note what the collector answered; a hook of its session."""
        self._status = response.status_code

    def export(self, spans: Sequence[Any]) -> Any:
        """Send spans."""
        self._status = 0
        try:
            result = self._exporter.export(spans)
        except Exception:  # whatever it is, the next spans may get through
            result = self._results.FAILURE
        if result is self._results.SUCCESS:
            self._needed.back()
        else:
            why = f"HTTP {self._status}" if self._status else "no answer"
            self._needed.gone(ConnectionError(why), to=self._shown)
        return result

    def shutdown(self) -> None:
        """Close its connections."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Do nothing, as nothing is held back."""
        return True


def _asked(scope: Scope, method: str, route: str) -> dict[str, str | int]:
    """Return what the conventions have of a request when it comes; never its query, which may quote a row."""
    found: dict[str, str | int] = {
        "http.request.method": method,
        "http.route": route,
        "url.scheme": scope["scheme"],
        "url.path": scope["path"],
        "network.protocol.version": scope["http_version"],
    }
    if method not in METHODS:
        found |= {"http.request.method": "_OTHER", "http.request.method_original": method}
    text = head(scope).get(b"host", b"").decode("latin-1")
    host, _, port = text.rpartition(":")
    if not (port.isdecimal() and len(port) <= _PORT_DIGITS):
        host, port = text, "443" if scope["scheme"] == "https" else "80"
    if host:
        found |= {"server.address": host.strip("[]")[:_HOST_LETTERS], "server.port": int(port)}
    return found


def _resource(resources: Any) -> Any:
    """Return what the spans come from, as the environment says; unnamed, the service is modelyard, each worker one."""
    found = resources.Resource.create()
    own = {}
    if str(found.attributes["service.name"]).startswith("unknown_service"):
        own["service.name"] = "modelyard"
    if "service.instance.id" not in found.attributes:
        own["service.instance.id"] = str(uuid4())
    return found.merge(resources.Resource(own))


def _address(text: str, where: str, added: str) -> str:
    """Return the address that spans are posted to."""
    try:
        at = urlsplit(text)
        known = at.scheme in ("http", "https") and bool(at.hostname) and at.port != 0
    except ValueError:
        known = False
    if not known:
        # What was given may hold a password: it is not repeated.
        raise ServingError(
            "This is no address of a collector.", where=where, allowed="http://HOST:PORT or https://HOST:PORT"
        )
    return text if text.endswith(added) else text.rstrip("/") + added


def _without_value(record: logging.LogRecord) -> bool:
    """Keep a header that cannot be read, which may be a secret, out of what the SDK says of it."""
    record.args = ("(not shown)",)
    return True


def _variable(name: str) -> str:
    return os.environ.get(name, "").strip()
