"""The same duties as FastAPI's own documentation would have them written.

    python fastapi_duties.py GRAPH.json PORT LOG KEY

A pydantic model of the row, dependencies for the key and the limit, a response model, and a line of JSON in a file
for each answer. The endpoint is a coroutine, which costs less than FastAPI's thread for a plain function.
"""

import hashlib
import hmac
import json
import logging
import sys
import time
import uuid
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, HTTPException, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from graph import Graph
from pydantic import BaseModel, ConfigDict, FiniteFloat, create_model
from settings import run

A_MINUTE = 10_000_000
"""Requests a key may send a minute, so that the bucket is asked and never empty."""


class Answer(BaseModel):
    """What a caller is told."""

    id: str
    prediction: str
    probabilities: dict[str, float]
    served_by: str


class Bucket:
    """A token bucket for each key."""

    def __init__(self, a_minute: float) -> None:
        self._most = a_minute
        self._held: dict[str, tuple[float, float]] = {}

    def take(self, key: str) -> float:
        """Take a token; return how many are left, below zero where there was none."""
        now = time.monotonic()
        left, at = self._held.get(key, (self._most, now))
        left = min(self._most, left + (now - at) * self._most / 60) - 1
        self._held[key] = (max(left, 0.0), now)
        return left


def duties(about: str, log: str, key: str) -> FastAPI:
    """Return the application."""
    graph = Graph(about)
    columns: dict[str, Any] = dict.fromkeys(graph.numbers, (FiniteFloat, ...))
    columns |= {name: (Literal[tuple(graph.levels[name])], ...) for name in graph.strings}
    Row = create_model("Row", __config__=ConfigDict(extra="forbid"), **columns)
    hashes = {hashlib.sha256(key.encode()).hexdigest(): "bench"}
    bucket = Bucket(A_MINUTE)
    logger = logging.getLogger("predictions")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(logging.FileHandler(log))
    app = FastAPI(title="duties")
    bearer = HTTPBearer()

    async def known(sent: Annotated[HTTPAuthorizationCredentials, Depends(bearer)]) -> str:
        digest = hashlib.sha256(sent.credentials.encode()).hexdigest()
        for held, name in hashes.items():
            if hmac.compare_digest(held, digest):
                return name
        raise HTTPException(401, "The key is not known.")

    async def limited(name: Annotated[str, Depends(known)], response: Response) -> str:
        left = bucket.take(name)
        if left < 0:
            raise HTTPException(429, "Too many requests.", headers={"Retry-After": "1"})
        response.headers["RateLimit"] = f'"default";r={int(left)}'
        return name

    @app.post("/v1/predict")
    async def predict(row: Row, name: Annotated[str, Depends(limited)]) -> Answer:  # type: ignore[valid-type]
        began = time.perf_counter()
        sent = row.model_dump()  # type: ignore[attr-defined]
        no, yes = graph.row(sent)
        answer = Answer(
            id=str(uuid.uuid4()),
            prediction="yes" if yes >= 0.5 else "no",
            probabilities={"no": no, "yes": yes},
            served_by="model",
        )
        seconds = time.perf_counter() - began
        line = {"at": time.time(), "key": name, "row": sent, "answer": answer.model_dump(), "seconds": seconds}
        logger.info(json.dumps(line))
        return answer

    return app


if __name__ == "__main__":
    run(duties(sys.argv[1], sys.argv[3], sys.argv[4]), int(sys.argv[2]))
