"""A caller of the server without a network: requests go straight into the ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from bundles import LINKS, report, trained
from modelyard.bundle.bundle import Bundle
from modelyard.bundle.pack import pack
from modelyard.data.profile import profile
from modelyard.families.find import family_named
from modelyard.families.fitted import Blend
from modelyard.serving.app import App


class Client:
    """Sends requests into an application, started and warmed."""

    def __init__(self, app: App) -> None:
        self.app = app
        app.warm()

    def send(self, method: str, path: str, **content: Any) -> httpx.Response:
        async def once() -> httpx.Response:
            async with self.opened() as client:
                return await client.request(method, path, **content)

        return asyncio.run(once())

    def post(self, path: str, body: object, **content: Any) -> httpx.Response:
        return self.send("POST", path, json=body, **content)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://model") as client:
            yield client


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """Return a problem, once it is one of that status."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert body["detail"]
    return body


def pointers(response: httpx.Response) -> list[str]:
    """Return the pointers of a 422."""
    return [error["pointer"] for error in problem(response, 422)["errors"]]


def packed_linear(task: str, folder: Path, rows: int = 300) -> Bundle:
    """Train a linear model and pack it: with intervals or sets, and what explanations need."""
    run, parts = trained(task, rows)
    family, data = family_named("tabular"), parts.development
    candidates = family.candidates(replace(run.plan.brief, model="linear"), profile(data), data)
    (linear,) = [c for c in candidates if c.name == "linear"]
    fitted = family.fit(linear, parts.blind(), seed=1)
    blend = Blend(((fitted, 1.0),), LINKS[task], 1.0, (0.0,) * fitted.scores.shape[1])  # type: ignore[arg-type]
    run = replace(run, blend=blend, plan=replace(run.plan, family="tabular"))
    return pack(run, report(run), parts, folder)
