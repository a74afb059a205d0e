"""A raw ASGI endpoint with the model alone, or with nothing at all: the floors.

    python bare.py GRAPH.json PORT model|constant

It reads JSON, fills the graph's inputs, runs it and answers: no key, limit, check, log or count.
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec
from graph import Graph
from settings import run

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def bare(about: str, constant: bool = False) -> Any:
    """Return the ASGI application."""
    graph = Graph(about)
    fixed = _encode({"probabilities": [0.5, 0.5]})

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        message = await receive()
        body = message["body"]
        while message.get("more_body"):
            message = await receive()
            body += message["body"]
        reply = fixed if constant else _encode({"probabilities": graph.row(_decode(body))})
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(reply)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": reply})

    return app


if __name__ == "__main__":
    run(bare(sys.argv[1], sys.argv[3] == "constant"), int(sys.argv[2]))
