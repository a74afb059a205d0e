"""Probes: what clients of other servers ask before they send rows; open to all, as health and OpenAPI are."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Protocol

import msgspec
from fastapi import FastAPI, Request, Response

from modelyard.serving.answerer import Answerer
from modelyard.serving.problem import MEDIA_TYPE, HttpProblem
from modelyard.serving.protocols.open_inference import metadata
from modelyard.serving.protocols.rows import InferProblem
from modelyard.serving.version import Version

EXTENSIONS = ("binary_tensor_data",)
PROBES = ("/ping", "/v2", "/v2/health/live", "/v2/health/ready")


class Probed(Protocol):
    """What the probes tell of."""

    answerer: Answerer
    ready: bool


def add_probes(api: FastAPI, app: Probed) -> None:
    """Answer ``/ping``, ``/v2``, its health and its models' metadata.

    Parameters
    ----------
    api : FastAPI
        Where.
    app : Probed
        Whether it is ready, and what it serves.
    """

    def stable() -> Version:
        return app.answerer.router.stable

    @api.get("/ping")
    async def ping() -> Response:
        return _json({}, 200 if app.ready else 503)

    @api.get("/v2")
    async def server() -> Response:
        return _json({"name": "modelyard", "version": version("modelyard"), "extensions": list(EXTENSIONS)})

    @api.get("/v2/health/live")
    async def live() -> Response:
        return _json({"live": True})

    @api.get("/v2/health/ready")
    async def ready() -> Response:
        return _json({"ready": app.ready}, 200 if app.ready else 503)

    @api.get("/v2/models/{name:path}")
    async def model(request: Request) -> Response:
        # Asked of the request, as an argument of its own has FastAPI load pydantic.v1: 30 ms of every start.
        name, served = request.path_params["name"], stable()
        if name == served.name:
            return _json(metadata(served.bundle, [served.number]))
        if name == f"{served.name}/ready":
            return _json({"name": served.name, "ready": app.ready}, 200 if app.ready else 503)
        problem = InferProblem(HttpProblem(404, f"There is nothing here. Models: {served.name}."))
        return Response(problem.body(), status_code=404, media_type=MEDIA_TYPE)


def _json(content: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status_code=status, media_type="application/json")
