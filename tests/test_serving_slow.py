"""A model that takes long for a row: it scores in threads, and whoever else asks is answered meanwhile."""

from __future__ import annotations

import asyncio
import json

import pytest

from broken_graphs import broken, takes_long
from bundles import PLAIN, make_plain
from modelyard.bundle.load import load_bundle
from modelyard.bundle.write import with_file
from modelyard.serving.app import App
from modelyard.serving.log import PredictionLog, read_log
from modelyard.serving.rehearsal import request_microseconds
from modelyard.serving.terms import Terms
from serving_client import Client, problem

BODY = json.dumps(PLAIN).encode()
LONG = {**PLAIN, "age": 77}


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    return make_plain(tmp_path_factory.mktemp("quick") / "bundle")


@pytest.fixture(scope="module")
def slow(quick):
    content = broken((quick / "model.onnx").read_bytes(), takes_long, 50.0)
    return with_file(quick, "model.onnx", content, quick.parent / "slow")


def started(path, **more) -> Client:
    return Client(App(load_bundle(path), terms=Terms(model_seconds=30.0, **more)))


def test_whoever_asks_while_a_row_is_scored_is_answered(slow):
    client = started(slow)

    async def through():
        others = 0
        async with client.opened() as opened:
            long = asyncio.create_task(opened.post("/v1/predict", json=LONG))
            while not long.done():
                await asyncio.sleep(0)  # a request that waits for nothing lets nobody else in
                assert (await opened.get("/health/live")).status_code == 200
                if others == 20:
                    assert (await opened.post("/v1/predict", json=PLAIN)).json()["served_by"] == "model"
                    assert not long.done()
                others += 1
        return others, long.result().json()

    others, answer = asyncio.run(through())
    assert others > 20  # on the event loop it is one or two
    assert answer["served_by"] == "model"


def test_it_is_answered_as_the_quick_one_and_logged(slow, quick, tmp_path):
    app = App(load_bundle(slow), log=PredictionLog(tmp_path))
    client, other = Client(app), started(quick)
    for body in (PLAIN, {"instances": [PLAIN, {**PLAIN, "age": 30}]}, {**PLAIN, "age": "old"}):
        one, two = client.post("/v1/predict", body), other.post("/v1/predict", body)
        left_out = {"id", "bundle"}
        assert one.status_code == two.status_code
        assert {k: v for k, v in one.json().items() if k not in left_out} == {
            k: v for k, v in two.json().items() if k not in left_out
        }
    assert [len(record.rows) for record in read_log(tmp_path)] == [1, 2]


def test_only_a_slow_model_leaves_the_event_loop(slow, quick):
    told = []
    client = started(slow)
    client.app.at_once[b"/v1/predict"].at_once({"headers": []}, BODY, told.append)
    assert told == [None]
    again = client.app.version(client.app.bundle, "again")  # as one that a rollout promoted is made
    assert (again.quick, again.inline) == (None, 0)
    version = started(quick).app.router.stable
    assert version.quick is not None
    assert version.inline == 32


def test_over_the_number_in_flight_it_refuses_too(slow):
    client = started(slow, in_flight=1)

    async def through():
        async with client.opened() as opened:
            long = asyncio.create_task(opened.post("/v1/predict", json=LONG))
            await asyncio.sleep(0.05)
            refused = await opened.post("/v1/predict", json=PLAIN)
            return refused, await long

    refused, answered = asyncio.run(through())
    problem(refused, 503)
    assert refused.headers["retry-after"] == "1"
    assert answered.status_code == 200


def test_an_answer_that_takes_too_long_says_when_to_come_again(slow):
    client = started(slow, answer_seconds=0.1)
    late = client.post("/v1/predict", LONG)
    problem(late, 503)
    assert late.headers["retry-after"] == "1"


def test_what_a_request_takes_is_measured_of_it_too(slow):
    assert request_microseconds(load_bundle(slow), seconds=0.1) > 1_000.0
