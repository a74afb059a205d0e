"""The server: raw ASGI callables on the paths that answer rows, and a FastAPI application for everything else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from modelyard.bundle.bundle import Bundle
from modelyard.serving.answerer import Answerer
from modelyard.serving.asgi import Asgi, Headers, Message, Receive, Scope, Send, path_of, reply
from modelyard.serving.bodies import Bodies, Counted
from modelyard.serving.endpoint import Answer, AtOnce, Endpoint, Load, Refusals, Reply
from modelyard.serving.guard.admitted import Admitted, Guard
from modelyard.serving.guard.describe import secure
from modelyard.serving.labels import PATH as LABELS
from modelyard.serving.labels import Labels
from modelyard.serving.log import PredictionLog
from modelyard.serving.metrics import CONTENT_TYPE, Metrics
from modelyard.serving.predict import PATH, Predict
from modelyard.serving.predictions.known import Known
from modelyard.serving.predictions.label_check import LabelCheck
from modelyard.serving.predictions.predictions import Predictions
from modelyard.serving.protocols.add import add_protocols
from modelyard.serving.rest import ROUTES, rest
from modelyard.serving.router import OneVersion, Router
from modelyard.serving.terms import Terms
from modelyard.serving.traces import Traced, TracedAnswerer, Traces
from modelyard.serving.version import Version, version

METRICS = "/metrics"


class App:
    """A bundle behind HTTP, as an ASGI application.

    Parameters
    ----------
    bundle : Bundle
        What answers.
    log : PredictionLog, optional
        Where answered requests are written before they are answered; None keeps none.
    guard : Guard, optional
        What lets requests in; None lets everybody in.
    guarded_metrics : bool
        Whether the guard stands before ``/metrics`` too; health and documents are always open.
    terms : Terms, optional
        Limits, and what answers say of the interface's future.
    traces : Traces, optional
        Where spans of sampled requests go; None makes none.

    Attributes
    ----------
    router : Router
        Which version answers; another may take its place.
    answerer : Answerer
        The way to the model for every protocol: see `add`.
    at_once : dict of bytes to Endpoint or Traced
        By path, those that may answer a whole request without waiting: see `Endpoint.at_once`.
    turn : Turn
        Where the rows of such requests wait for the model.
    takes_labels : bool
        Whether there is a log to write them to.
    described : dict of str to mapping
        By path, what the OpenAPI document says of those that only this server has.
    background : list of callable
        Coroutines that run as long as the server does.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        log: PredictionLog | None = None,
        guard: Guard | None = None,
        guarded_metrics: bool = False,
        terms: Terms | None = None,
        traces: Traces | None = None,
    ) -> None:
        limit = bundle.manifest.brief.latency
        self.ready = False
        self.terms = terms or Terms()
        self.metrics = Metrics(bundle.manifest.name, None if limit is None else limit.milliseconds / 1e3)
        self.load = Load(self.terms.in_flight)
        self._bodies = Bodies(self.terms.bodies_limit)
        self._notice = list(self.terms.headers)
        self._log, self._guard, self._traces = log, guard, traces
        self._known: Known | None = None
        self.takes_labels = log is not None
        answerer = Answerer if traces is None else TracedAnswerer
        self.answerer = answerer(OneVersion(self._version(bundle, self.terms.release)), log, self.terms.answer_seconds)
        self.background: list[Callable[[], Coroutine[Any, Any, None]]] = [self._tell]
        self.described: dict[str, Mapping[str, Any]] = {}
        self._permissions: dict[str, str] = {}
        self._refusals = Refusals(lambda: self.router.stable.columns)
        self._rest = rest(self)
        self.at_once: dict[bytes, Endpoint | Traced] = {}
        self._paths: dict[str, Asgi] = {}
        self._below: dict[str, Asgi] = {}
        predict = Predict(self.answerer, self.terms)
        self.turn = predict.turn
        self.add(PATH, predict, at_once=predict.at_once)
        self._explain = add_protocols(self, predict)
        if log is not None:
            predictions = Predictions(log.folder, self.terms.store)
            self.metrics.log_loaded(predictions.loaded)
            if self.terms.refuse_labels:
                self._known = Known(predictions)
            self.add(LABELS, Labels(lambda: LabelCheck(self.bundle), log, self.terms, self._known), wanted="labels")
        if guarded_metrics:
            self._permissions[METRICS] = "metrics"
        self._paths[METRICS] = Endpoint(
            METRICS,
            self._exposed,
            None,
            self.metrics,
            self._refusals,
            Load(self.terms.in_flight),  # of its own: a server that has all it can do is to be seen
            guard=guard if guarded_metrics else None,
            wanted="metrics",
            methods=("GET", "HEAD"),
        )

    @property
    def router(self) -> Router:
        """What chooses the version that answers."""
        return self.answerer.router

    @router.setter
    def router(self, router: Router) -> None:
        self.answerer.router = router

    @property
    def bundle(self) -> Bundle:
        """The bundle that the documents describe."""
        return self.router.stable.bundle

    def version(
        self, bundle: Bundle, number: str | None = None, variant: str = "stable", previous: Version | None = None
    ) -> Version:
        """Make a version of a bundle on this server's terms.

        Parameters
        ----------
        bundle, number, variant, previous
            See `modelyard.serving.version.version`; default of `previous`: the one that answers now.
        """
        return self._version(bundle, number, variant, previous or self.router.stable)

    def _version(
        self, bundle: Bundle, number: str | None, variant: str = "stable", previous: Version | None = None
    ) -> Version:
        terms = self.terms
        if self._log is not None:
            withhold = terms.withheld.of(bundle, only_known=terms.unknown == "ignore")
            if withhold is not None:
                self._log.withholds[bundle.hash] = withhold
        return version(
            bundle,
            self.metrics,
            number,
            variant,
            unknown=terms.unknown,
            previous=previous,
            seconds=terms.model_seconds,
        )

    def add(
        self,
        route: str,
        answer: Answer,
        *,
        at_once: AtOnce | None = None,
        wanted: str = "predict",
        methods: Sequence[str] = ("POST",),
        described: Mapping[str, Any] | None = None,
    ) -> None:
        """Answer a path by a function of its own, with guard, counting and problems as every path has them.

        Parameters
        ----------
        route : str
            The path; one that ends with a slash takes every path below it.
        answer : callable
            ``await answer(scope, receive, admitted)`` returns status, headers and body, or raises HttpProblem.
        at_once : callable, optional
            Answers whole requests that need no waiting: see `Endpoint`.
        wanted : str
            The permission a request needs; none (``""``) lets everybody in, guard or not.
        methods : sequence of str
            What it takes.
        described : mapping, optional
            Its operations, for the OpenAPI document; None where that has them already, or is not to tell of it.
        """
        self._permissions[route] = wanted
        if described is not None:
            self.described[route] = described
        paths = self._below if route.endswith("/") else self._paths
        plain = Endpoint(
            route,
            answer,
            at_once,
            self.metrics,
            self._refusals,
            self.load,
            headers=self._notice,
            guard=self._guard if wanted else None,
            wanted=wanted,
            methods=methods,
        )
        endpoint = paths[route] = plain if self._traces is None else Traced(plain, route, self._traces)
        if at_once is not None:
            self.at_once[route.encode()] = endpoint

    def say(self, notice: Headers) -> None:
        """Have answers say what the registry says of the interface's future, unless the terms say something already."""
        if not self.terms.headers:
            self._notice[:] = notice  # the endpoints' own list

    def secure(self, document: dict[str, Any]) -> None:
        """Say in an OpenAPI document what the guard asks for."""
        if self._guard is not None:
            secure(document, self._guard.schemes, self._permissions)

    def warm(self) -> dict[str, Any]:
        """Answer example rows until the first caller finds everything loaded; return the answer to the first one."""
        return {"id": self.answerer.next_id(), **self.router.stable.warm()}

    def drain(self) -> None:
        """Stop being ready: load balancers send no more, requests that still come are answered."""
        self.ready = False

    def close(self) -> None:
        """Close the log, its store and what the guard holds open, end the processes that explain, and send spans."""
        self._explain.close()
        if self._known is not None:
            self._known.close()
        if self._log is not None:
            self._log.close()
        if self._guard is not None:
            self._guard.close()
        if self._traces is not None:
            self._traces.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event, as ASGI says."""
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
            return
        # As it is spelled, and no other way: what a guard stands before is reached by this alone.
        path = path_of(scope)
        endpoint = self._paths.get(path)
        if endpoint is None:
            below = (e for route, e in self._below.items() if path.startswith(route))
            endpoint = next(below, self._other)
        body = Counted(receive, self._bodies)
        try:
            await endpoint(scope, body, send)
        finally:
            body.release()

    async def _exposed(self, scope: Scope, receive: Receive, admitted: Admitted) -> Reply:
        self.metrics.in_flight(self.load.count)
        return 200, [(b"content-type", CONTENT_TYPE.encode())], self.metrics.text()

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        method, path = scope["method"], path_of(scope)
        known = path in ROUTES
        try:
            if known and method == "OPTIONS":
                await reply(watched, 204, [(b"allow", b"GET, HEAD, OPTIONS")], b"")
            else:  # the server sends no body where only the head was asked for
                scope = {**scope, "method": "GET"} if method == "HEAD" else scope
                await self._rest(scope, receive, watched)
        finally:
            self.metrics.observe(method, path if known else "other", status, time.perf_counter() - began)

    async def _tell(self) -> None:
        """Keep what a scrape of another worker shows of this one up to date."""
        while True:
            self.metrics.in_flight(self.load.count)
            await asyncio.sleep(1.0)
