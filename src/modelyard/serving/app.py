"""The server: raw ASGI callables on the paths that answer rows, and a FastAPI application for everything else."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from modelyard.bundle.bundle import Bundle
from modelyard.serving.answerer import Answerer
from modelyard.serving.asgi import Asgi, Message, Receive, Scope, Send
from modelyard.serving.endpoint import Answer, Endpoint, Refusals, Reply
from modelyard.serving.guard.admitted import Admitted, Guard
from modelyard.serving.guard.describe import secure
from modelyard.serving.log import PredictionLog
from modelyard.serving.metrics import CONTENT_TYPE, Metrics
from modelyard.serving.predict import PATH, Predict
from modelyard.serving.rest import METRICS, ROUTES, rest
from modelyard.serving.router import OneVersion, Router
from modelyard.serving.version import Unknown, version

BODY_LIMIT = 2**20


class App:
    """A bundle behind HTTP, as an ASGI application.

    Parameters
    ----------
    bundle : Bundle
        What answers.
    log : PredictionLog, optional
        Where answered requests are written before they are answered; None keeps none.
    body_limit : int
        Bytes a request's body may have.
    number : str, optional
        The release's version; default: the bundle's short hash.
    guard : Guard, optional
        What lets requests in; None lets everybody in.
    guarded_metrics : bool
        Whether the guard stands before ``/metrics`` too; health and documents are always open.
    unknown : {"refuse", "ignore"}
        What is done with a name the schema does not know.

    Attributes
    ----------
    router : Router
        Which version answers; another may take its place.
    answerer : Answerer
        The way to the model for every protocol: see `add`.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        log: PredictionLog | None = None,
        body_limit: int = BODY_LIMIT,
        number: str | None = None,
        guard: Guard | None = None,
        guarded_metrics: bool = False,
        unknown: Unknown = "refuse",
    ) -> None:
        limit = bundle.manifest.brief.latency
        self.ready = False
        self.body_limit = body_limit
        self.metrics = Metrics(bundle.manifest.name, None if limit is None else limit.milliseconds / 1e3)
        self.answerer = Answerer(OneVersion(version(bundle, self.metrics, number, unknown=unknown)), log)
        self._log, self._guard = log, guard
        self._permissions: dict[str, str] = {}
        self._refusals = Refusals(lambda: self.router.stable.columns)
        self._rest = rest(self)
        self._paths: dict[str, Asgi] = {}
        self._below: dict[str, Asgi] = {}
        self.add(PATH, Predict(self.answerer, body_limit))
        if guarded_metrics:
            self.add(METRICS, self._exposed, wanted="metrics", methods=("GET",))

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

    def add(self, route: str, answer: Answer, *, wanted: str = "predict", methods: Sequence[str] = ("POST",)) -> None:
        """Answer a path by a function of its own, with guard, counting and problems as every path has them.

        Parameters
        ----------
        route : str
            The path; one that ends with a slash takes every path below it.
        answer : callable
            ``await answer(scope, receive, admitted)`` returns status, headers and body, or raises HttpProblem.
        wanted : str
            The permission a request needs; none (``""``) lets everybody in, guard or not.
        methods : sequence of str
            What it takes.
        """
        self._permissions[route] = wanted
        paths = self._below if route.endswith("/") else self._paths
        paths[route] = Endpoint(
            route,
            answer,
            self.metrics,
            self._refusals,
            guard=self._guard if wanted else None,
            wanted=wanted,
            methods=methods,
        )

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
        """Close the prediction log and what the guard holds open."""
        if self._log is not None:
            self._log.close()
        if self._guard is not None:
            self._guard.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event, as ASGI says."""
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
        elif (endpoint := self._paths.get(scope["path"])) is not None:
            await endpoint(scope, receive, send)
        else:
            below = (e for route, e in self._below.items() if scope["path"].startswith(route))
            await next(below, self._other)(scope, receive, send)

    async def _exposed(self, scope: Scope, receive: Receive, admitted: Admitted) -> Reply:
        return 200, [(b"content-type", CONTENT_TYPE.encode())], self.metrics.text()

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._rest(scope, receive, watched)
        finally:
            route = scope["path"] if scope["path"] in ROUTES else "other"
            self.metrics.observe(scope["method"], route, status, time.perf_counter() - began)
