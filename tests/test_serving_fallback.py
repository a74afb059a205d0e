"""What stands in for a model that raises, answers NaN or hangs, and in which order."""

from __future__ import annotations

import json
import re
import time
import weakref
from dataclasses import replace

import numpy as np
import pytest

from broken_graphs import EVERY, answers_nan, broken, hangs, raises
from bundles import PLAIN, make_plain
from modelyard.brief.brief import Brief
from modelyard.brief.read import read_brief
from modelyard.brief.write import brief_text
from modelyard.bundle.load import load_bundle
from modelyard.bundle.write import with_file
from modelyard.core.errors import BriefError, BundleError
from modelyard.serving import timed
from modelyard.serving.app import App
from modelyard.serving.terms import Terms
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


def fail(app: App, answer) -> None:
    """Have the model fail from now on."""

    def run(names, inputs, options=None):
        if isinstance(answer, Exception):
            raise answer
        return [np.full((len(inputs["numbers"]), 2), answer, dtype=np.float32)]

    app.bundle.runtime.run._run = run  # what is timed: the quick way holds the timed one


FAULTS = pytest.mark.parametrize("fault", [RuntimeError("the graph broke"), float("nan")], ids=["raises", "nan"])


@FAULTS
def test_in_the_brief_s_order(folders, fault):
    other = {**PLAIN, "age": 77}
    earlier = load_bundle(folders[0]).predict(other)
    client, app = asked(folders, "cached", "previous", "rule")
    well = client.predict(PLAIN).json()
    fail(app, fault)
    again, new = client.predict(PLAIN).json(), client.predict(other).json()
    assert (again["served_by"], again["prediction"]) == ("cached", well["prediction"])
    assert again["probabilities"] == well["probabilities"]
    assert (new["served_by"], new["prediction"]) == ("previous", earlier)
    both = client.predict({"instances": [PLAIN, other]}).json()["predictions"]
    assert [one["served_by"] for one in both] == ["cached", "previous"]
    client, app = asked(folders, "rule", "cached")
    client.predict(PLAIN)
    fail(app, fault)
    assert client.predict(PLAIN).json()["served_by"] == "rule"
    assert re.search(r'failures_total\{.*source="model".*\} 1\.0', app.metrics.text().decode())


@pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning")  # mlflow imports its own
def test_every_protocol_says_what_stood_in(folders):
    from mlflow.deployments import PredictionsResponse

    client, app = asked(folders, "cached", "rule")
    well = client.predict(PLAIN).json()["prediction"]
    fail(app, RuntimeError("the graph broke"))
    rows = [PLAIN, {**PLAIN, "age": 77}]
    for more in ({}, {"params": {"probabilities": True}}):
        invoked = client.send("POST", "/invocations", json={"instances": rows, **more})
        assert invoked.json()["served_by"] == ["cached", "rule"]
    assert PredictionsResponse.from_json(invoked.text).get_predictions().shape == (2, 2)
    kinds = {"age": "INT64", "income": "FP64", "city": "BYTES", "member": "BOOL"}
    inputs = [{"name": n, "datatype": k, "shape": [2], "data": [row[n] for row in rows]} for n, k in kinds.items()]
    infer = f"/v2/models/{app.bundle.manifest.name}/infer"
    named = client.send("POST", infer, json={"inputs": inputs, "outputs": [{"name": "prediction"}]}).json()
    assert [output["data"] for output in named["outputs"]] == [[well, 1]]  # those alone that are asked for
    assert named["parameters"]["served_by"] == "cached,rule"
    (*_, which) = client.send("POST", infer, json={"inputs": inputs}).json()["outputs"]
    assert which["data"] == ["cached", "rule"]


@FAULTS
def test_what_there_is_none_of_is_passed_over(folders, fault):
    client, app = asked(folders, "cached", "rule", rule=None)
    fail(app, fault)
    problem(client.predict({**PLAIN, "age": 30}), 503)
    client, app = asked(folders)
    client.predict(PLAIN)
    fail(app, fault)
    problem(client.predict(PLAIN), 503)


def test_a_version_behind_which_another_stands_answers_every_row_or_none(folders, monkeypatch):
    client, app = asked(folders, "rule")
    candidate, stable = app.router.stable, version(load_bundle(folders[0]), app.metrics)
    heard = []
    monkeypatch.setattr(app.router, "instead", lambda one: stable if one is candidate else None)
    monkeypatch.setattr(app.router, "seen", lambda one, ok, seconds, score: heard.append((one, ok, seconds)))
    whole = app.bundle.runtime.run

    def run(names, inputs, options=None):
        answers = whole(names, inputs, options)[0].copy()
        answers[1:] = np.nan
        return [answers]

    app.bundle.runtime.run = run
    answer = client.predict({"instances": [PLAIN, {**PLAIN, "age": 77}]}).json()
    assert answer["bundle"] == stable.bundle.hash[:12]
    assert [one["served_by"] for one in answer["predictions"]] == ["model", "model"]
    assert [(one, ok) for one, ok, _ in heard] == [(candidate, False), (stable, True)]
    assert heard[1][2] is None  # what the candidate took is no time of the stable version


def test_cached_answers_are_bounded_and_know_rows_read_either_way(folders):
    client, app = asked(folders, "cached")
    rows = [{**PLAIN, "income": float(i)} for i in range(1_500)]
    answer = app.router.stable.quick
    answers = [answer(json.dumps(row).encode())[2] for row in rows]
    client.predict({"instances": rows[:2]})
    fail(app, RuntimeError("the graph broke"))
    assert client.predict(rows[-1]).json()["probabilities"] == answers[-1]["probabilities"]
    assert client.predict(rows[0]).json()["probabilities"] == answers[0]["probabilities"]  # it was answered again
    problem(client.predict(rows[2]), 503)
    assert len(app.router.stable.predictor.cached._held) <= 1_000


def graph(folder, tmp_path, how, over=EVERY):
    """Load a bundle whose graph fails on rows of that age."""
    content = broken((folder / "model.onnx").read_bytes(), how, over)
    return load_bundle(with_file(folder, "model.onnx", content, tmp_path / how.__name__))


def test_a_model_that_hangs_is_stopped_and_rests(folders, tmp_path):
    first, hanging = load_bundle(folders[0]), graph(folders[1], tmp_path, hangs, 50.0)
    hanging = replace(hanging, manifest=replace(hanging.manifest, brief=Brief(rule=RULE, fallback=("rule",))))
    app = App(first)
    client = Client(app)
    run, calls = hanging.runtime.run, []
    hanging.runtime.run = lambda *asked: calls.append(1) or run(*asked)
    app.router.stable = version(hanging, app.metrics, seconds=0.2)
    assert client.predict(PLAIN).json()["served_by"] == "model"
    del calls[:]
    old = {**PLAIN, "age": 77}
    assert [client.predict(row).json()["served_by"] for row in [old, *[PLAIN] * 20]] == ["rule"] * 21
    # The quick way met it; the long one and all later requests found it resting.
    assert len(calls) == 1


def test_a_model_that_rests_says_when_to_come_again_and_one_that_fails_does_not(folders, tmp_path):
    def refused(how, age) -> str | None:
        bundle = graph(folders[1], tmp_path, how, 50.0)
        bundle = replace(bundle, manifest=replace(bundle.manifest, brief=Brief(fallback=())))
        app = App(bundle, terms=Terms(model_seconds=0.2))
        client = Client(app)
        client.predict({**PLAIN, "age": 77})
        answer = client.predict({**PLAIN, "age": age})
        problem(answer, 503)
        return answer.headers.get("retry-after")

    assert 1 <= int(refused(hangs, 30)) <= 10
    assert refused(raises, 77) is None


def test_a_graph_that_fails_tells_the_caller_of_it_and_not_the_error_output(folders, tmp_path, capfd):
    bundle = graph(folders[0], tmp_path, raises)
    for runs in (bundle.runtime.run, Timed(bundle.runtime.run)):
        bundle.runtime.run = runs
        with pytest.raises(Exception, match="out of data bounds"):
            bundle.predict(PLAIN)
    assert capfd.readouterr().err == ""  # ONNX Runtime would write a line for each request, with values of its row


@pytest.mark.parametrize("how", [raises, answers_nan, hangs])
@pytest.mark.parametrize("fallback", [(), ("previous", "rule")])
def test_a_version_lives_by_its_own_model_before_it_takes_anothers_place(folders, tmp_path, how, fallback):
    _, app = asked(folders, *fallback)
    bundle = graph(folders[1], tmp_path, how)
    bundle = replace(bundle, manifest=replace(bundle.manifest, brief=Brief(rule=RULE, fallback=fallback)))
    with pytest.raises(BundleError, match="does not answer the example rows"):
        version(bundle, app.metrics, previous=app.router.stable, seconds=0.1).prove()
    version(load_bundle(folders[1]), app.metrics).prove()


class Spinning:
    """A model whose calls take what processor's time they are told to, or until they are stopped."""

    def __init__(self, monkeypatch) -> None:
        self.used, self.now, self.takes = 0.0, 100.0, 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "clock_gettime", lambda clock: self.used)

    def __call__(self, names, inputs, options):
        end = self.used + self.takes
        self.timed.look()
        while self.used < end:
            self.used, self.now = self.used + 0.01, self.now + 0.01
            self.timed.look()
            if options.terminate:
                raise RuntimeError("terminated")
        return "answer"

    def ask(self, takes, rows=1):
        self.takes = takes
        return self.timed(["answer"], {"numbers": np.zeros((rows, 1))})


def test_after_its_rest_it_is_asked_again(monkeypatch):
    model = Spinning(monkeypatch)
    model.timed = Timed(model, 1.0)
    with pytest.raises(Overdue, match="stopped"):
        model.ask(takes=5.0)
    for rest in (10.0, 20.0, 40.0):
        model.now += rest - 1.0
        with pytest.raises(Overdue, match="rests"):
            model.ask(takes=0.0)
        model.now += 2.0
        assert model.ask(takes=0.5) == "answer"
        with pytest.raises(Overdue, match="stopped"):
            model.ask(takes=5.0)


def test_a_call_that_waits_for_its_turn_does_not_hang():
    def run(names, inputs, options):
        time.sleep(0.3)
        if options.terminate:
            raise RuntimeError("terminated")
        return "answer"

    assert Timed(run, 0.1)(["answer"], {"numbers": np.zeros((1, 1))}) == "answer"


def test_models_that_come_while_others_are_looked_at_do_not_end_the_looks(monkeypatch):
    class Slow(weakref.WeakSet):
        def __iter__(self):
            for one in super().__iter__():
                yield one
                time.sleep(0.005)

    def spin(names, inputs, options):
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if options.terminate:
                raise RuntimeError("terminated")

    monkeypatch.setattr(timed, "_watched", Slow())
    held = []
    for _ in range(20):
        held.append(Timed(spin, 0.05))
        time.sleep(0.012)
    with pytest.raises(Overdue, match="stopped"):
        held[-1](["answer"], {"numbers": np.zeros((1, 1))})


def test_few_rows_may_take_the_models_share_of_the_limit_and_what_they_usually_take_ten_times(monkeypatch):
    def stopped_at(takes, rows=1):
        before = model.used
        with pytest.raises(Overdue):
            model.ask(takes, rows)
        model.now += 1_000.0
        return round(model.used - before, 1)

    model = Spinning(monkeypatch)
    model.timed = Timed(model)
    assert stopped_at(5.0) == 1.0
    model.timed.expect(usual=0.001, share=0.3)
    assert [stopped_at(5.0, rows) for rows in (1, 2, 3, 4, 100)] == [0.3, 0.6, 0.9, 1.0, 1.0]
    model.timed.expect(usual=0.05, share=0.3)
    assert stopped_at(5.0) == 0.5
    model.timed = Timed(model, 2.0)
    model.timed.expect(usual=0.001, share=0.3)
    assert stopped_at(5.0) == 2.0  # what is asked for by name stands


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
