"""What letting a request in costs: microseconds of `BearerGuard.admit` on one processor, and of its parts.

Prints one line of JSON. Figures are the least of many short runs: what the code takes, without what else runs here.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
import timeit
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from modelyard.serving.asgi import head
from modelyard.serving.guard.access import Access
from modelyard.serving.guard.issuer import Issuer
from modelyard.serving.guard.limit import Limit
from modelyard.serving.guard.store import KeyStore
from modelyard.serving.guard.tokens import Tokens

_CALLS, _RUNS = 500, 400
_KEYS = 1_000
_TOKEN = 800
"""Bytes of a usual token."""


def main() -> None:
    """Measure, and print one line."""
    with tempfile.TemporaryDirectory() as folder:
        store = KeyStore(Path(folder) / "keys.db")
        secret = [store.create(f"caller {i}", by="bench")[1] for i in range(_KEYS)][-1].encode()
        guard = Access(keys=store.path).guard()
        names = ["host", "user-agent", "accept", "accept-encoding", "connection", "content-type", "content-length"]
        headers = [*((name.encode(), b"x") for name in names), (b"authorization", b"Bearer " + secret)]
        keys, buckets = guard._keys, guard._buckets
        assert keys is not None
        caller = keys.find(secret)
        token = b"x" * _TOKEN
        tokens = Tokens(Issuer("https://issuer.example"), "bench", Limit.a_minute())
        tokens._known[sha256(token).digest()] = caller  # as if it had been verified before
        figures = {
            "admit": min(asyncio.run(_admitted(guard, headers)) for _ in range(_RUNS)),
            "key": _least(lambda: keys.find(secret)),
            "token": _least(lambda: _found(tokens, token)),
            "bucket": _least(lambda: buckets.take(caller.bucket, caller.part)),
            "headers_by_name": _least(lambda: head({"headers": headers})),
        }
        guard.close()
    print(json.dumps({"keys": _KEYS, "microseconds": {name: round(1e6 * s, 3) for name, s in figures.items()}}))


async def _admitted(guard: Any, headers: list[tuple[bytes, bytes]]) -> float:
    # The server's paths read headers by name once for everything; that is counted apart.
    scopes: list[dict[str, Any]] = [{"headers": headers} for _ in range(_CALLS)]
    for scope in scopes:
        head(scope)
    guard._buckets._full.clear()
    began = time.perf_counter()
    for scope in scopes:
        await guard.admit(scope, "predict")
    return (time.perf_counter() - began) / _CALLS


def _found(tokens: Tokens, token: bytes) -> None:
    with suppress(StopIteration):  # nothing is waited for
        tokens.find(token).send(None)


def _least(call: Callable[[], object]) -> float:
    return min(timeit.repeat(call, number=_CALLS, repeat=_RUNS)) / _CALLS


if __name__ == "__main__":
    main()
