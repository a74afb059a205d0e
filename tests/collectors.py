"""A collector of OpenTelemetry: a real HTTP server that reads OTLP and keeps what it was sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

SERVER = Span.SPAN_KIND_SERVER


@dataclass
class Sent:
    """One span as it came.

    Attributes
    ----------
    span : Span
        The protocol's own message.
    resource : dict
        What it came from.
    """

    span: Any
    resource: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.span.name)

    @property
    def trace(self) -> str:
        return str(self.span.trace_id.hex())

    @property
    def facts(self) -> dict[str, Any]:
        return plain(self.span.attributes)


@dataclass
class Collector:
    """What came in, and how it is answered.

    Attributes
    ----------
    sent : list of Sent
        Spans, in the order they came.
    requests : list of (str, dict, bytes)
        Paths, headers and bodies.
    status : int
        What it answers with.
    """

    sent: list[Sent] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    status: int = 200
    url: str = ""

    def take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        self.requests.append((path, headers, body))
        if self.status == 200:
            for group in ExportTraceServiceRequest.FromString(body).resource_spans:
                resource = plain(group.resource.attributes)
                self.sent += [Sent(span, resource) for scope in group.scope_spans for span in scope.spans]
        return self.status

    @property
    def served(self) -> list[Sent]:
        """Spans of requests, without their parts."""
        return [one for one in self.sent if one.span.kind == SERVER]

    def wait(self, count: int, seconds: float = 60.0) -> list[Sent]:
        """Return the spans of requests, once there are so many."""
        end = time.monotonic() + seconds
        while len(self.served) < count:
            assert time.monotonic() < end, f"{len(self.served)} spans of {count}"
            time.sleep(0.02)
        return self.served


@contextmanager
def collector(port: int = 0) -> Iterator[Collector]:
    """Start a collector; it is ended afterwards."""
    made = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            self.send_response(made.take(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Listener(ThreadingHTTPServer):
        daemon_threads = True

    with Listener(("127.0.0.1", port), Handler) as listener:
        made.url = f"http://127.0.0.1:{listener.server_address[1]}"
        thread = threading.Thread(target=listener.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield made
        finally:
            listener.shutdown()
            thread.join()


def plain(attributes: Any) -> dict[str, Any]:
    """Return attributes as a dict."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
