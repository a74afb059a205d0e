"""Who is measured: how each server is started, asked and read."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from environments import interpreter
from serving.packed import Packed

APPS = Path(__file__).parent / "apps"
OURS, TWICE, BARE, CONSTANT = "modelyard", "modelyard x2", "bare", "constant"


@dataclass(frozen=True)
class Server:
    """A server of the packed model.

    Attributes
    ----------
    name : str
        As in the record and the table.
    command : callable
        From the model, a folder of its own and a port to the words that its interpreter is started with.
    path : str
        Where a row is posted.
    body : callable
        From the model and a row to what is posted.
    read : callable
        From what is answered to the probability of the second class.
    peer : str
        Its environment, and the name of its file of requirements; empty for this project's own.
    what : str
        What it does for a request, in the table.
    key : callable
        From its folder to the key it is asked with.
    workers : int
        How many times the connections of one worker it is asked over.
    """

    name: str
    command: Callable[[Packed, Path, int], list[str]]
    path: str
    body: Callable[[Packed, dict[str, Any]], Any]
    read: Callable[[Any], float]
    peer: str = ""
    what: str = "model"
    key: Callable[[Path], str] = lambda folder: KEY
    workers: int = 1

    @property
    def python(self) -> str:
        """The interpreter of its environment, which is made where it is not there yet."""
        return interpreter(self.peer, (pins(self.peer),)) if self.peer else sys.executable

    def request(self, model: Packed, row: dict[str, Any], port: int, key: str) -> bytes:
        """Return a whole HTTP request for one row."""
        body = json.dumps(self.body(model, row), separators=(",", ":")).encode()
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@cache
def pins(peer: str) -> tuple[str, ...]:
    """Return the requirements of a peer."""
    return tuple((Path(__file__).parent / f"requirements/{peer}.txt").read_text(encoding="utf-8").split())


def _app(name: str, *more: str) -> Callable[[Packed, Path, int], list[str]]:
    return lambda model, folder, port: [
        str(APPS / name), str(model.folder / "graph.json"), str(port), *(word.format(folder=folder) for word in more)
    ]  # fmt: skip


def _row(model: Packed, row: dict[str, Any]) -> Any:
    return row


def _tensors(model: Packed, row: dict[str, Any]) -> Any:
    numbers, strings = [row[n] for n in model.numbers], [row[n] for n in model.strings]
    inputs = [("numbers", "FP32", numbers), ("strings", "BYTES", strings)]
    return {"inputs": [{"name": n, "datatype": t, "shape": [1, len(d)], "data": d} for n, t, d in inputs]}


def _matrices(model: Packed, row: dict[str, Any]) -> Any:
    return {"inputs": {"numbers": [[row[n] for n in model.numbers]], "strings": [[row[n] for n in model.strings]]}}


def _second(answer: Any) -> float:
    return float(answer["probabilities"][1])


def _yes(answer: Any) -> float:
    return float(answer["probabilities"]["yes"])


def _ours(workers: int) -> Callable[[Packed, Path, int], list[str]]:
    def command(model: Packed, folder: Path, port: int) -> list[str]:
        words = [str(SCRIPT), "serve", str(model.folder / "bundle"), "--port", str(port)]
        return [*words, "--workspace", str(folder), "--workers", str(workers), "--auth", "keys"]

    return command


def _key(folder: Path) -> str:
    """Make a key of ours, with a limit that is counted and never reached."""
    words = [sys.executable, str(SCRIPT), "keys", "create", "bench", "--rate", str(A_MINUTE), "--json"]
    done = subprocess.run([*words, "--workspace", str(folder)], capture_output=True, text=True, check=True)
    return str(json.loads(done.stdout.splitlines()[-1])["secret"])


SCRIPT = Path(sys.executable).with_name("modelyard")
A_MINUTE = 1_000_000
KEY = "a key for the benchmark"
DUTIES = "key, limit, checks, model, log"
SERVERS = {
    one.name: one
    for one in (
        Server(OURS, _ours(1), "/v1/predict", _row, _yes, what=DUTIES, key=_key),
        Server(TWICE, _ours(2), "/v1/predict", _row, _yes, what="the same, two workers", key=_key, workers=2),
        Server(BARE, _app("bare.py", "model"), "/", _row, _second, what="raw ASGI, model alone"),
        Server(CONSTANT, _app("bare.py", "constant"), "/", _row, _second, what="raw ASGI, always the same answer"),
        Server(
            "fastapi", _app("fastapi_duties.py", "{folder}/predictions.log", KEY), "/v1/predict", _row, _yes,
            what=DUTIES,
        ),
        Server(
            "kserve", _app("kserve_model.py"), "/v1/models/packed:predict",
            lambda model, row: {"instances": [row]}, lambda answer: float(answer["predictions"][0][1]), "kserve",
        ),
        Server(
            "mlserver", _app("mlserver_start.py", "{folder}/settings"), "/v2/models/packed/infer", _tensors,
            lambda answer: float(answer["outputs"][0]["data"][1]), "mlserver",
        ),
        Server(
            "mlserver, no parallel worker", _app("mlserver_start.py", "{folder}/settings", "0"),
            "/v2/models/packed/infer", _tensors, lambda answer: float(answer["outputs"][0]["data"][1]), "mlserver",
        ),
        Server("litserve", _app("litserve_api.py"), "/predict", _row, _second, "litserve"),
        Server(
            "bentoml", lambda model, folder, port: [
                "-m", "bentoml", "serve", "bentoml_service:Packed", "--working-dir", str(APPS), "--port", str(port)
            ], "/predict", lambda model, row: {"row": row}, _second, "bentoml",
        ),
        Server("ray serve", _app("ray_deployment.py"), "/", _row, _second, "rayserve"),
        Server(
            "mlflow", _app("mlflow_start.py", "{folder}/model", "rows"), "/invocations",
            lambda model, row: {"dataframe_records": [row]}, lambda answer: float(answer["predictions"][0][1]),
            "mlflow",
        ),
        Server(
            "mlflow, tensors", _app("mlflow_start.py", "{folder}/model", "onnx"), "/invocations", _matrices,
            lambda answer: float(answer["predictions"]["answer"][0][1]), "mlflow",
        ),
    )
}  # fmt: skip
"""This project's first; MLServer and MLflow also as they are cheapest, so that a bar is not met by a default alone."""
