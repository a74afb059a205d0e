"""A candidate that fails: the stable version answers in its place in every protocol, and says so."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from bundles import ROW
from modelyard.bundle.bundle import Bundle
from modelyard.serving.app import App
from modelyard.serving.log import PredictionLog, read_log
from modelyard.serving.protocols.columnar import ARROW
from modelyard.serving.version import Version
from serving_client import Client, packed_linear
from test_protocols_columns import arrow
from test_protocols_rows import tensors


class Broken:
    """A runtime that fails."""

    def rows(self, rows: object) -> None:
        raise RuntimeError

    frame = rows


class Canary:
    """Every request to a candidate, and the stable version behind it."""

    def __init__(self, stable: Version, candidate: Version) -> None:
        self.stable, self.candidate = stable, candidate
        self.heard: list[tuple[str, bool]] = []

    def choose(self, key: bytes) -> Version:
        return self.candidate

    def instead(self, version: Version) -> Version | None:
        return self.stable if version is self.candidate else None

    def seen(self, version: Version, ok: bool, seconds: float | None, score: float | None) -> None:
        self.heard.append((version.number, ok))


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return packed_linear("binary", tmp_path_factory.mktemp("packed") / "bundle")


@pytest.mark.parametrize("path", ["/v1/predict", "arrow", "infer", "/invocations", "/v1/explain"])
def test_the_version_that_answered_is_the_one_that_is_named_and_logged(
    packed: Bundle, tmp_path: Path, path: str
) -> None:
    app = App(packed, log=PredictionLog(tmp_path))
    failing = replace(packed, hash="0" * 64, runtime=Broken())
    router = app.router = Canary(app.version(packed, "1"), app.version(failing, "2", "canary"))
    sent: dict = {"json": ROW}
    if path == "arrow":
        path, sent = "/v1/predict", {"content": arrow(pl.DataFrame([ROW])), "headers": {"content-type": ARROW}}
    elif path == "infer":
        path, sent = f"/v2/models/{packed.manifest.name}/infer", {"json": {"inputs": tensors([ROW])}}
    elif path == "/invocations":
        sent = {"json": {"instances": [ROW]}}
    elif path == "/v1/explain":  # of the candidate: it says nothing of what another version answers, and explains
        app._explain._explaining[failing.hash] = (Explains(), None)  # type: ignore[assignment]

    async def once() -> dict:
        async with Client(app).opened() as client:
            response = await client.post(path, **sent)
        assert response.status_code == 200, response.text
        return response.json()

    told = asyncio.run(once())
    app.close()
    about = told.get("parameters", told)
    assert about["bundle"] == packed.hash[:12]
    assert told.get("model_version", "1") == "1"
    if path == "/v1/explain":
        assert told["explanation"]["contributions"] == pytest.approx(packed.explain(ROW)[0])
    (record,) = read_log(tmp_path)
    assert (record.bundle, record.version, record.variant) == (packed.hash, "1", "stable")
    assert router.heard == [("2", False), ("1", True)]


class Explains:
    """Explains every row alike."""

    async def explain(self, rows: list) -> list[dict]:
        return [{"prediction": 1, "explained": 1, "base": 0.0, "contributions": {"age": 1.0}} for _ in rows]

    def close(self) -> None:
        """Nothing to end."""
