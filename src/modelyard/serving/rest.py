"""What is open to everybody: health, OpenAPI and the page that explains the interface."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.exceptions import HTTPException

from modelyard.bundle.bundle import Bundle
from modelyard.serving.answerer import Answerer
from modelyard.serving.openapi import docs_page, openapi
from modelyard.serving.problem import MEDIA_TYPE, HttpProblem
from modelyard.serving.protocols.probes import PROBES, add_probes
from modelyard.serving.terms import Terms

ROUTES = frozenset({"/", "/health/live", "/health/ready", "/openapi.json", "/docs", *PROBES})


class Served(Protocol):
    """What this half needs of the server it belongs to."""

    answerer: Answerer
    ready: bool
    terms: Terms
    takes_labels: bool
    described: dict[str, Mapping[str, Any]]
    background: list[Callable[[], Coroutine[Any, Any, None]]]

    @property
    def bundle(self) -> Bundle:
        """What the documents describe."""

    def warm(self) -> dict[str, Any]:
        """Answer until the first caller finds everything loaded; return an answer."""

    def secure(self, document: dict[str, Any]) -> None:
        """Say in an OpenAPI document what the guard asks for."""

    def drain(self) -> None:
        """Stop being ready."""

    def close(self) -> None:
        """Let go of files."""


def rest(app: Served) -> FastAPI:
    """Return the application for what everybody may ask, and for what is not there.

    It matches paths by patterns, which take more spellings than one: what a guard may stand before is not here.

    Parameters
    ----------
    app : Served
        The server it belongs to; it is warmed when the application starts, and closed when it ends.
    """
    document: dict[str, Any] = {}

    def described_now() -> dict[str, Any]:
        """Describe the bundle that answers now: a server that follows the registry changes it."""
        if document.get("info", {}).get("version") != app.bundle.hash[:12]:
            served = app.answerer.router.stable
            answer = {"id": app.answerer.next_id(), **served.example()}
            document.update(openapi(served.bundle, answer, app.terms.unknown, served.number, labels=app.takes_labels))
            document["paths"] |= app.described
            app.secure(document)
        return document

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        app.warm()
        described_now()
        app.ready = True
        tasks = [asyncio.create_task(work()) for work in app.background]
        try:
            yield
        finally:
            app.drain()
            for task in tasks:
                task.cancel()
            app.close()

    # Its own OpenAPI is replaced: the one served is made from the bundle's schema.
    api = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, lifespan=life)

    @api.get("/")
    async def root() -> Response:
        return RedirectResponse("/docs")

    @api.get("/health/live")
    async def live() -> Response:
        return _json({"status": "live"})

    @api.get("/health/ready")
    async def ready() -> Response:
        if app.ready:
            return _json({"status": "ready"})
        return _problem(HttpProblem(503, "The server is starting or shutting down."))

    @api.get("/openapi.json")
    async def described() -> Response:
        return _json(described_now())

    @api.get("/docs")
    async def docs() -> Response:
        return HTMLResponse(docs_page(described_now()))

    add_probes(api, app)

    async def refused(_: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            return _problem(HttpProblem(500, "The server failed; its own log says why."))
        detail = {404: "There is nothing here; see /docs.", 405: "This path takes GET."}
        status = error.status_code
        return _problem(HttpProblem(status, detail.get(status, error.detail)), dict(error.headers or {}))

    api.add_exception_handler(HTTPException, refused)
    api.add_exception_handler(Exception, refused)
    return api


def _json(content: object) -> Response:
    return Response(msgspec.json.encode(content), media_type="application/json")


def _problem(problem: HttpProblem, headers: dict[str, str] | None = None) -> Response:
    return Response(problem.body(), status_code=problem.status, media_type=MEDIA_TYPE, headers=headers)
