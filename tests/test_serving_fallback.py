"""What stands in for a model that raises, answers NaN or hangs, and in which order."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bundles import PLAIN, make_plain
from modelyard.brief.brief import Brief
from modelyard.brief.read import read_brief
from modelyard.brief.write import brief_text
from modelyard.bundle.load import load_bundle
from modelyard.core.errors import BriefError
from modelyard.serving.app import App
from modelyard.serving.timed import Overdue, Timed
from modelyard.serving.version import version
from test_serving_app import Client, problem

RULE = "age > 40"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    home = tmp_path_factory.mktemp("two")
    return [make_plain(home / str(seed), seed=seed) for seed in (3, 4)]


def asked(folders, *fallback: str, rule: str | None = RULE) -> tuple[Client, App]:
    """Return a server of the second bundle before which the first has answered."""
    first, second = (load_bundle(folder) for folder in folders)
    second = replace(second, manifest=replace(second.manifest, brief=Brief(rule=rule, fallback=fallback)))
    app = App(first)
    app.router.stable = version(second, app.metrics, previous=app.router.stable)
    return Client(app), app


def broken(app: App, answer) -> None:
    """Have the model fail from now on."""

    def run(names, inputs, options=None):
        if isinstance(answer, Exception):
            raise answer
        return [np.full((len(inputs["numbers"]), 2), answer, dtype=np.float32)]

    app.bundle.runtime.run = run


FAULTS = pytest.mark.parametrize("fault", [RuntimeError("the graph broke"), float("nan")], ids=["raises", "nan"])


@FAULTS
def test_in_the_brief_s_order(folders, fault):
    other = {**PLAIN, "age": 77}
    earlier = load_bundle(folders[0]).predict(other)
    client, app = asked(folders, "cached", "previous", "rule")
    well = client.predict(PLAIN).json()
    broken(app, fault)
    again, new = client.predict(PLAIN).json(), client.predict(other).json()
    assert (again["served_by"], again["prediction"]) == ("cached", well["prediction"])
    assert again["probabilities"] == well["probabilities"]
    assert (new["served_by"], new["prediction"]) == ("previous", earlier)
    both = client.predict({"instances": [PLAIN, other]}).json()["predictions"]
    assert [one["served_by"] for one in both] == ["cached", "previous"]
    client, app = asked(folders, "rule", "cached")
    client.predict(PLAIN)
    broken(app, fault)
    assert client.predict(PLAIN).json()["served_by"] == "rule"
    assert re.search(r'failures_total\{.*source="model".*\} 1\.0', app.metrics.text().decode())


@FAULTS
def test_what_there_is_none_of_is_passed_over(folders, fault):
    client, app = asked(folders, "cached", "rule", rule=None)
    broken(app, fault)
    problem(client.predict({**PLAIN, "age": 30}), 503)
    client, app = asked(folders)
    client.predict(PLAIN)
    broken(app, fault)
    problem(client.predict(PLAIN), 503)


def test_a_version_behind_which_another_stands_answers_every_row_or_none(folders, monkeypatch):
    client, app = asked(folders, "rule")
    candidate, stable = app.router.stable, version(load_bundle(folders[0]), app.metrics)
    heard = []
    monkeypatch.setattr(app.router, "instead", lambda one: stable if one is candidate else None)
    monkeypatch.setattr(app.router, "seen", lambda one, ok, seconds, score: heard.append((one, ok)))
    whole = app.bundle.runtime.run

    def run(names, inputs, options=None):
        answers = whole(names, inputs, options)[0].copy()
        answers[1:] = np.nan
        return [answers]

    app.bundle.runtime.run = run
    answer = client.predict({"instances": [PLAIN, {**PLAIN, "age": 77}]}).json()
    assert answer["bundle"] == stable.bundle.hash[:12]
    assert [one["served_by"] for one in answer["predictions"]] == ["model", "model"]
    assert heard == [(candidate, False), (stable, True)]


def test_cached_answers_are_bounded_and_know_rows_read_either_way(folders):
    client, app = asked(folders, "cached")
    rows = [{**PLAIN, "income": float(i)} for i in range(1_500)]
    answer = app.router.stable.quick
    answers = [answer(json.dumps(row).encode())[1] for row in rows]
    client.predict({"instances": rows[:2]})
    broken(app, RuntimeError("the graph broke"))
    assert client.predict(rows[-1]).json()["probabilities"] == answers[-1]["probabilities"]
    assert client.predict(rows[0]).json()["probabilities"] == answers[0]["probabilities"]  # it was answered again
    problem(client.predict(rows[2]), 503)
    assert len(app.router.stable.predictor.cached._held) <= 1_000


def endless() -> bytes:
    """Return a graph that adds 1 for as long as nobody stops it."""
    step = helper.make_graph(
        [helper.make_node("Add", ["held", "one"], ["sum"]), helper.make_node("Identity", ["go"], ["on"])],
        "step",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("held", TensorProto.FLOAT, [None, 4]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, [None, 4]),
        ],
        [numpy_helper.from_array(np.array(1, np.float32), "one")],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["most", "yes", "numbers"], ["answer"], body=step)],
        "endless",
        [helper.make_tensor_value_info("numbers", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(np.array(2**62), "most"), numpy_helper.from_array(np.array(True), "yes")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return made.SerializeToString()


def test_a_model_that_hangs_is_stopped_and_rests(folders):
    import onnxruntime as ort

    session = ort.InferenceSession(endless(), providers=["CPUExecutionProvider"])
    client, app = asked(folders, "rule")
    client.predict(PLAIN)
    hung = {"numbers": np.zeros((1, 4), np.float32)}
    calls = []

    def run(names, inputs, options):
        calls.append(1)
        return session.run(names, hung, options)

    app.bundle.runtime.run = Timed(run, 0.2)
    assert [client.predict(PLAIN).json()["served_by"] for _ in range(20)] == ["rule"] * 20
    # The quick way met it; the long one and all later requests found it resting.
    assert len(calls) == 1


def test_after_its_rest_it_is_asked_again(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def run(names, inputs, options):
        now[0] += inputs["takes"]
        if options.terminate:
            raise RuntimeError("terminated")
        return "answer"

    timed = Timed(run, 1.0)

    def hang():
        real = timed._run

        def hung(names, inputs, options):
            now[0] += 5.0
            timed.look(now[0])
            return real(names, inputs, options)

        timed._run = hung
        try:
            with pytest.raises(Overdue):
                timed(["answer"], {"takes": 0.0})
        finally:
            timed._run = real

    hang()
    for rest in (10.0, 20.0, 40.0):
        now[0] += rest - 1.0
        with pytest.raises(Overdue, match="rests"):
            timed(["answer"], {"takes": 0.0})
        now[0] += 2.0
        assert timed(["answer"], {"takes": 0.5}) == "answer"
        hang()


def test_the_brief_says_the_order():
    assert read_brief({"use_case": "x"}).fallback == ("cached", "previous", "rule")
    assert read_brief({"use_case": "x", "fallback": ["rule", "Previous"]}).fallback == ("rule", "previous")
    assert read_brief({"use_case": "x", "fallback": []}).fallback == ()
    assert read_brief({"use_case": "x", "fallback": "rule"}).fallback == ("rule",)
    with pytest.raises(BriefError, match="must be one of cached, previous, rule"):
        read_brief({"use_case": "x", "fallback": ["luck"]})


@pytest.mark.parametrize("fallback", [(), ("rule",), ("previous", "rule"), ("cached", "previous", "rule")])
def test_what_is_written_is_read_again(tmp_path, fallback):
    (tmp_path / "b.yaml").write_text(brief_text(Brief(use_case="x", fallback=fallback), {}))
    assert read_brief(tmp_path / "b.yaml").fallback == fallback
