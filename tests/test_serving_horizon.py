"""A forecast asked for by series and horizon is the one asked for by series and time."""

from __future__ import annotations

import pytest

from bundles import bundle
from modelyard.serving.app import App
from serving_client import Client, pointers, problem


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Client:
    return Client(App(bundle(tmp_path_factory.mktemp("ahead") / "bundle", "forecast")))


def test_many_series_at_once(client: Client) -> None:
    answer = client.post("/v1/predict", {"series": ["south", "north", "south"], "horizon": 3}).json()
    assert [one["series"] for one in answer["forecasts"]] == ["south", "north", "south"]
    rows = [{"shop": "south", "day": f"2024-01-0{d}"} for d in (1, 2, 3)]
    expected = client.post("/v1/predict", {"instances": rows}).json()["predictions"]
    steps = answer["forecasts"][0]["steps"]
    assert [step.pop("day")[:10] for step in steps] == [row["day"] for row in rows]
    assert steps == expected
    assert answer["id"]


def test_one_series_and_a_coverage(client: Client) -> None:
    answer = client.post("/v1/predict?coverage=0.95", {"series": "north", "horizon": 7}).json()
    ((one,), last) = answer["forecasts"], answer["forecasts"][0]["steps"][-1]
    assert len(one["steps"]) == 7
    assert last["interval"] == {"low": 10.0, "high": 22.0, "coverage": 0.95}
    for odd in ("0.951", "6.6e307", "-1e308", "nan", "inf"):
        problem(client.post(f"/v1/predict?coverage={odd}", {"series": "north", "horizon": 7}), 400)


def test_what_was_not_forecast_is_told_in_place(client: Client) -> None:
    assert pointers(client.post("/v1/predict", {"series": ["north", "east", 3], "horizon": 8})) == [
        "/horizon", "/series/1", "/series/2",
    ]  # fmt: skip
    assert pointers(client.post("/v1/predict", {"series": "east", "horizon": True})) == ["/horizon", "/series"]
    problem(client.post("/v1/predict", {"horizon": 2}), 400)
    problem(client.post("/v1/predict", {"series": [], "horizon": 2}), 400)
    problem(client.post("/v1/predict", {"series": "north", "horizon": 2, "shop": 1}), 400)
    problem(client.post("/v1/predict", {"series": ["north"] * 10_000, "horizon": 2}), 413)


def test_a_table_model_has_no_horizon(tmp_path) -> None:
    assert "/horizon" in pointers(Client(App(bundle(tmp_path / "b"))).post("/v1/predict", {"horizon": 3}))
