"""Servers with rollouts: candidates that are good, fail or are slow, and what tests ask of them."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from bundles import ROW, Stumps, blend, draft, table
from modelyard.bundle.load import load_bundle
from modelyard.bundle.write import write_bundle
from modelyard.data.profile import Profile
from modelyard.serving.rollout.board import Board
from modelyard.serving.rollout.control import start
from modelyard.serving.rollout.rollout import Plan, Rollout
from modelyard.serving.rollout.router import place
from modelyard.serving.rollout.store import Rollouts

Address = tuple[str, int]
OLD = {**ROW, "age": 70}
PROGRAM = """
import json, sys
from pathlib import Path
from modelyard.serving.guard.access import Access
from modelyard.serving.serve import serve
from modelyard.serving.terms import Terms
if __name__ == "__main__":
    path, rollouts, workers, keys = json.loads(sys.argv[1])
    terms, access = Terms(rollouts=Path(rollouts)), Access(keys=Path(keys)) if keys else None
    serve(path, port=0, terms=terms, access=access, workers=workers, drain=0.0, started=lambda a: print(a, flush=True))
"""
# So few requests that a test can send them, and limits that a busy machine's clock does not cross.
QUICK = {"look": 0.5, "bake": 1.0, "horizon": 600.0, "error_limit": 0.2, "slow_factor": 1e4, "score_odds": 0.0}


FAILS = (
    helper.make_node("Sub", ["most", "age"], ["left"]),
    helper.make_node("Log", ["left"], ["log"]),
    helper.make_node("Mul", ["log", "nothing"], ["spoilt"]),
)
"""Gives no finite number for anybody over sixty."""
SLOW = (
    helper.make_node("ReduceMax", ["age"], ["oldest"]),
    helper.make_node("Expand", ["oldest", "wide"], ["square"]),
    helper.make_node("MatMul", ["square", "square"], ["product"]),
    helper.make_node("ReduceMean", ["product"], ["mean"]),
    helper.make_node("Mul", ["mean", "nothing"], ["spoilt"]),
)
"""Multiplies two large matrices for every answer, which takes a hundred times as long as the trees."""
_VALUES = {
    "first": np.array([0]),
    "most": np.array(60, np.float32),
    "nothing": np.array(0, np.float32),
    "wide": np.array([900, 900]),
}


def packed(folder: Path, seed: int, spoilt: Sequence[onnx.NodeProto] = ()) -> Path:
    """Write a bundle; nodes that spoil it read the column "age" and give "spoilt", which is added to its answer."""
    data = table("binary")
    export = Stumps().export(blend("binary", data, seed), data)
    if spoilt:
        model = onnx.load_from_string(export.files["model.onnx"])
        for node in model.graph.node:
            node.output[:] = ["fine" if name == "answer" else name for name in node.output]
        model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in _VALUES.items())
        age = helper.make_node("Gather", ["numbers", "first"], ["age"], axis=1)
        model.graph.node.extend([age, *spoilt, helper.make_node("Add", ["fine", "spoilt"], ["answer"])])
        export = type(export)(export.runtime, {"model.onnx": model.SerializeToString()}, export.facts)
    return write_bundle(folder, draft(data.schema, export), export, profile=Profile(12, ()), card="#", examples=[ROW])


def arms(root: Path) -> dict[str, Path]:
    """Write one bundle that serves, and candidates of each kind."""
    return {
        "stable": packed(root / "stable", 3),
        "good": packed(root / "good", 4),
        "failing": packed(root / "failing", 5, FAILS),
        "slow": packed(root / "slow", 3, SLOW),
    }


@contextmanager
def server(
    folder: Path, path: Path, workers: int = 2, keys: Path | None = None
) -> Iterator[tuple[subprocess.Popen[str], Address]]:
    """Serve a bundle in a process of its own; give the process and its address."""
    script = folder / "start.py"
    script.write_text(PROGRAM)
    words = json.dumps([str(path), str(folder / "rollouts"), workers, str(keys) if keys else ""])
    process = subprocess.Popen([sys.executable, script, words], stdout=subprocess.PIPE, text=True)
    try:
        host, _, port = process.stdout.readline().strip().removeprefix("http://").partition(":")
        address = (host, int(port))
        until(lambda: ask(address, None, "/health/ready")[0] == 200)
        yield process, address
    finally:
        process.kill()
        process.communicate()


def ask(
    address: Address, body: Any = None, path: str = "/v1/predict", key: str = "", secret: str = ""
) -> tuple[int, dict[str, Any]]:
    """Send a request over a connection of its own; return the status and the answer, empty where it is no JSON."""
    connection = http.client.HTTPConnection(*address, timeout=30)
    try:
        headers = {"Content-Type": "application/json", **({"x-request-key": key} if key else {})}
        headers |= {"Authorization": f"Bearer {secret}"} if secret else {}
        connection.request("GET" if body is None else "POST", path, body and json.dumps(body), headers)
        response = connection.getresponse()
        content = response.read()
        return response.status, json.loads(content) if content[:1] == b"{" else {}
    finally:
        connection.close()


def until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def until_loaded(address: Address, rollout: Rollout, bundle: str) -> None:
    """Wait until every worker has the candidate: a key that is its own is answered by it, whoever takes the request."""
    salt = b"%d" % rollout.id
    key = next(key for i in range(10_000) if place((key := f"key-{i}").encode(), salt) < rollout.share)
    until(lambda: all(ask(address, ROW, key=key)[1]["bundle"] == bundle for _ in range(20)))


def begin(folder: Path, bundles: Mapping[str, Path], candidate: str, plan: Plan) -> Rollout:
    """Start a rollout of one of the bundles beside the one that serves."""
    stable = bundles["stable"]
    return start(folder / "rollouts", plan, (str(stable), load_bundle(stable)), str(bundles[candidate]), "anna")


def newest(folder: Path) -> Rollout:
    """Return the newest rollout."""
    found = Rollouts(folder / "rollouts").last("churn")
    assert found is not None
    return found


def on_board(folder: Path) -> Board:
    """Open the board."""
    return Board(folder / "rollouts", "churn")
