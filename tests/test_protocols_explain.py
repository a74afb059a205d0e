"""/v1/explain: contributions from a process of its own, which may die; reasons from a reviewed table."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest
from click.testing import CliRunner

from bundles import ROW, bundle, table
from modelyard.bundle.bundle import Bundle
from modelyard.bundle.load import load_bundle
from modelyard.bundle.reasons import FILE, ReasonTable, compared, load_reasons, read_reasons
from modelyard.bundle.write import with_file
from modelyard.cli.main import cli
from modelyard.core.canonical import pretty_json
from modelyard.core.errors import DataError
from modelyard.serving.app import App
from modelyard.serving.log import PredictionLog, read_log
from modelyard.serving.predictor import Unanswered
from modelyard.serving.problem import HttpProblem
from modelyard.serving.protocols import explainer
from modelyard.serving.protocols.explainer import Explainer
from modelyard.serving.rollout.board import CANDIDATE, ERRORS, LATENCY, REQUESTS, STABLE, Board, no_evidence
from modelyard.serving.rollout.router import RolloutRouter
from modelyard.serving.router import OneVersion
from modelyard.serving.version import Version
from processes import command
from serving_client import Client, packed_linear, pointers, problem

TABLE = """
adverse: 1
reviewed_by: A. Berg
reviewed_on: 2026-11-01
reasons:
  - {column: age, direction: high, code: R1, text: Age above that of most}
  - {column: age, direction: low, code: R2, text: Age below that of most}
  - {column: income, direction: any, code: R3, text: Income}
  - {column: income, direction: missing, code: R4, text: Income was not stated}
  - {column: city, direction: any, code: R5, text: Place of residence}
  - {column: member, direction: any, code: R6, text: Membership}
  - {column: joined, direction: any, code: R6, text: Membership}
"""


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return packed_linear("binary", tmp_path_factory.mktemp("packed") / "bundle")


@pytest.fixture(scope="module")
def reviewed(packed: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("reviewed")
    (folder / "reasons.yaml").write_text(TABLE)
    made = compared(read_reasons(folder / "reasons.yaml", packed), packed, packed.frame(table("binary").frame))
    return load_bundle(with_file(packed.path, FILE, pretty_json(made), folder / "bundle"))


def asked(app: App, *requests: tuple[str, object]) -> list:
    """Send requests one after the other in one event loop, where the process lives."""

    async def all_of_them() -> list:
        client = Client(app)
        async with client.opened() as opened:
            answers = [await opened.post(path, json=body) for path, body in requests]
        app.close()
        return answers

    return asyncio.run(all_of_them())


def test_an_answer_is_explained_as_the_library_does(packed: Bundle, tmp_path: Path) -> None:
    rows = [ROW, {**ROW, "age": 70, "city": None}]
    app = App(packed, log=PredictionLog(tmp_path))
    one, many, plain = asked(
        app, ("/v1/explain", ROW), ("/v1/explain?coverage=0.9", {"instances": rows}), ("/v1/predict", ROW)
    )
    told = one.json()
    assert told["explanation"]["contributions"] == pytest.approx(packed.explain(ROW)[0])
    assert told["explanation"]["explained"] == 1
    chances = packed.predict_proba(ROW)
    score = told["explanation"]["base"] + sum(told["explanation"]["contributions"].values())
    assert score == pytest.approx(np.log(chances[1] / chances[0]), abs=1e-4)
    assert {k: v for k, v in told.items() if k not in ("id", "explanation")} == {
        k: v for k, v in plain.json().items() if k != "id"
    }
    assert "reasons" not in told
    assert [p["explanation"]["contributions"] for p in many.json()["predictions"]] == packed.explain(rows)
    assert "set" in many.json()["predictions"][0]
    first, *_ = read_log(tmp_path)
    assert (first.id, first.answers[0]["explanation"]) == (told["id"], told["explanation"])


def test_rows_are_checked_before_anything_is_started(packed: Bundle) -> None:
    app = App(packed)
    bad, much = asked(app, ("/v1/explain", {**ROW, "age": "old"}), ("/v1/explain", {"instances": [ROW] * 101}))
    assert pointers(bad) == ["/age"]
    problem(much, 413)
    assert not [p for p in psutil.Process().children() if "explainer" in command(p)]


def test_what_cannot_be_explained_says_so(tmp_path: Path) -> None:
    for task in ("forecast", "binary"):
        (answer,) = asked(App(bundle(tmp_path / task, task)), ("/v1/explain", ROW))
        assert "expla" in problem(answer, 501)["detail"]


def test_a_process_that_died_is_replaced_and_a_slow_one_ended(packed: Bundle) -> None:
    rows = [packed.schema.check_row(ROW)]

    async def through() -> None:
        explainer = Explainer(packed)
        first = await explainer.explain(rows)
        before = explainer.pid
        assert before is not None
        os.kill(before, signal.SIGKILL)
        psutil.Process(before).wait()
        again = await explainer.explain(rows)
        assert again == first
        assert explainer.pid != before
        os.kill(explainer.pid or 0, signal.SIGSTOP)
        explainer._seconds = 0.2
        with pytest.raises(Unanswered, match="not finished") as slow:
            await explainer.explain(rows)
        assert slow.value.again == 1.0
        assert explainer.pid is None
        explainer._seconds = 30.0
        assert await explainer.explain(rows) == first
        explainer.close()

    asyncio.run(through())


def between(stable: Bundle, candidate: Bundle, folder: Path) -> tuple[App, Board]:
    """Return a server whose candidate is sent every request."""
    app, board = App(stable), Board(folder, "churn")
    router = RolloutRouter(app.router.stable, board)
    router.take(app.version(candidate, "2", "canary"))
    plain = {"limit": 0.01, "needed": 100.0, "dispersion": 1.0, "evidence": no_evidence(0.01)}
    board.publish(1, 1.0, math.inf, sums=board.sums(), **plain)
    app.router = router
    return app, board


def failed(board: Board) -> list[list[int]]:
    """Return requests and errors of the stable version, and of the candidate."""
    sums = board.sums()
    return [[int(sums[arm, REQUESTS]), int(sums[arm, ERRORS])] for arm in (STABLE, CANDIDATE)]


def test_a_candidate_that_has_no_explanations_gives_way_and_has_failed(packed: Bundle, tmp_path: Path) -> None:
    app, board = between(packed, bundle(tmp_path / "plain"), tmp_path)
    good, bad, plain = asked(app, ("/v1/explain", ROW), ("/v1/explain", {**ROW, "age": "old"}), ("/v1/predict", ROW))
    assert (good.status_code, good.json()["bundle"]) == (200, packed.hash[:12])
    assert good.json()["explanation"]["contributions"] == pytest.approx(packed.explain(ROW)[0])
    assert pointers(bad) == ["/age"]  # of the caller's faults none is counted
    assert plain.json()["bundle"] != packed.hash[:12]
    assert failed(board) == [[1, 0], [2, 1]]


@pytest.mark.parametrize("how", ["dies", "is damaged"])
def test_a_candidate_whose_explainer_fails_gives_way_and_has_failed(
    packed: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    candidate = packed_linear("binary", tmp_path / "candidate", 200)
    app, board = between(packed, candidate, tmp_path)
    if how == "is damaged":
        (candidate.path / "members" / "explain.json").write_text("{}")
    else:
        start = explainer._start

        def starts(path: Path, expected: str) -> subprocess.Popen[bytes]:
            process = start(path, expected)
            if path == candidate.path:
                process.kill()
            return process

        monkeypatch.setattr(explainer, "_start", starts)
    (answer,) = asked(app, ("/v1/explain?coverage=0.9", {"instances": [ROW, ROW]}))
    assert (answer.status_code, answer.json()["bundle"]) == (200, packed.hash[:12])
    assert all("explanation" in one and "set" in one for one in answer.json()["predictions"])
    assert failed(board) == [[1, 0], [1, 1]]


def test_what_neither_version_explains_is_no_failure_of_either(tmp_path: Path) -> None:
    app, board = between(bundle(tmp_path / "one"), bundle(tmp_path / "two"), tmp_path)
    (answer,) = asked(app, ("/v1/explain", ROW))
    problem(answer, 501)
    assert failed(board) == [[0, 0], [0, 0]]


def test_what_a_rollout_compares_are_times_of_a_row_and_none_of_an_explanation(packed: Bundle, tmp_path: Path) -> None:
    heard = []

    class Hearing(OneVersion):
        def seen(self, version: Version, ok: bool, seconds: float | None, score: float | None) -> None:
            heard.append(seconds)

    app = App(packed, log=PredictionLog(tmp_path))
    app.router = Hearing(app.router.stable)
    asked(app, ("/v1/predict", ROW), ("/v1/predict", {"instances": [ROW] * 50}), ("/v1/explain", ROW))
    one, many, explained = (record.milliseconds / 1e3 for record in read_log(tmp_path))
    assert heard == [pytest.approx(one), pytest.approx(many / 50), None]
    assert explained > 0.0
    app, board = between(packed, packed, tmp_path)
    asked(app, ("/v1/explain", ROW), ("/v1/predict", ROW), ("/v1/explain", ROW))
    counted = board.sums()[CANDIDATE]
    assert (counted[REQUESTS], counted[ERRORS], counted[LATENCY:].sum()) == (3, 0, 1)


def test_more_than_may_wait_are_told_to_come_again(packed: Bundle) -> None:
    rows = [packed.schema.check_row(ROW)]

    async def through() -> list:
        explainer = Explainer(packed, waiting=2)
        answers = await asyncio.gather(*(explainer.explain(rows) for _ in range(6)), return_exceptions=True)
        explainer.close()
        return answers

    answers = asyncio.run(through())
    refused = [a for a in answers if isinstance(a, HttpProblem)]
    assert [(r.status, r.headers) for r in refused] == [(503, ((b"retry-after", b"1"),))] * 3
    assert len(answers) - len(refused) == 3


def test_the_worker_that_predicts_loads_no_booster(packed: Bundle) -> None:
    code = (
        "import asyncio, json, sys\n"
        "import httpx\n"
        "from modelyard.bundle.load import load_bundle\n"
        "from modelyard.serving.app import App\n"
        "async def once(app):\n"
        "    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url='http://m') as client:\n"
        f"        return await client.post('/v1/explain', json={ROW!r})\n"
        f"app = App(load_bundle({str(packed.path)!r}))\n"
        "status = asyncio.run(once(app)).status_code\n"
        "app.close()\n"
        "print(json.dumps([status, sorted(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    status, modules = json.loads(done.stdout)
    assert status == 200
    assert {m.split(".")[0] for m in modules}.isdisjoint(
        {"onnx", "lightgbm", "xgboost", "catboost", "sklearn", "torch"}
    )


def test_reasons_come_with_adverse_answers_alone(reviewed: Bundle, packed: Bundle) -> None:
    assert reviewed.hash != packed.hash
    frame = packed.frame(table("binary").frame.head(60))
    rows = [{**r, "joined": r["joined"] and r["joined"].isoformat()} for r in frame.to_dicts()]
    (answer,) = asked(App(reviewed), ("/v1/explain", {"instances": rows}))
    answers = answer.json()["predictions"]
    held = load_reasons(reviewed)
    assert held is not None
    assert {a["prediction"] for a in answers} == {0, 1}
    for row, one in zip(frame.to_dicts(), answers, strict=True):
        assert ("reasons" in one) == (one["prediction"] == 1)
        pushed = {n: c - held.moved[n] for n, c in one["explanation"]["contributions"].items()}
        for reason in one.get("reasons", ()):
            assert all(pushed[name] > 0 for name in reason["columns"])
            if reason["code"] in ("R1", "R2"):
                assert (reason["code"] == "R1") == (row["age"] >= held.usual["age"])
            if reason["code"] in ("R3", "R4"):
                assert (reason["code"] == "R4") == (row["income"] is None)
        codes = [reason["code"] for reason in one.get("reasons", ())]
        assert len(codes) == len(set(codes)) <= 4


def test_the_weightiest_reasons_come_first_and_columns_of_one_code_are_one() -> None:
    moved = dict.fromkeys("abcdef", 0.0)
    reasons = [{"column": n, "direction": "any", "code": c, "text": c} for n, c in zip("abcdef", "123455", strict=True)]
    plain = {"adverse": "0", "reviewed_by": "x", "reviewed_on": "", "usual": {}, "moved": moved, "rows": 1}
    made = msgspec.convert({**plain, "reasons": reasons}, ReasonTable)
    pushes = {"a": -1.0, "b": -2.0, "c": 5.0, "d": -0.5, "e": -1.5, "f": -1.0}
    told = made.told({}, pushes, positive=False)
    assert [(t["code"], t["columns"]) for t in told] == [("5", ["e", "f"]), ("2", ["b"]), ("1", ["a"]), ("4", ["d"])]


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("  - {column: city, direction: any, code: R5, text: Place of residence}\n", "", "no words for 'city'"),
        ("age, direction: low", "age, direction: missing", "no words for 'age'"),
        ("column: city", "column: town", "no column 'town'"),
        ("direction: low", "direction: high", "two reasons"),
        ("code: R2", "code: R1", "two texts"),
        ("adverse: 1", "adverse: 7", "'7' is none"),
        ("A. Berg", "' '", "Nobody reviewed"),
        ("direction: low", "direction: lower", "cannot be read"),
        ("reasons:", "words:", "cannot be read"),
    ],
)
def test_tables_that_cannot_be_used(packed: Bundle, tmp_path: Path, old: str, new: str, what: str) -> None:
    assert old in TABLE
    (tmp_path / "t.yaml").write_text(TABLE.replace(old, new))
    with pytest.raises(DataError, match=what):
        read_reasons(tmp_path / "t.yaml", packed)


def test_too_few_favourable_rows_are_no_comparison(packed: Bundle, tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(TABLE)
    with pytest.raises(DataError, match="favourably"):
        compared(read_reasons(tmp_path / "t.yaml", packed), packed, packed.frame(table("binary").frame.head(5)))


def test_the_command_adds_a_table_and_names_the_new_bundle(packed: Bundle, tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(TABLE)
    table("binary").frame.write_csv(tmp_path / "rows.csv")
    words = ["reasons", str(packed.path), str(tmp_path / "t.yaml"), "--rows", str(tmp_path / "rows.csv")]
    done = CliRunner().invoke(cli, [*words, "-o", str(tmp_path / "reviewed")])
    assert done.exit_code == 0, done.output
    made = load_bundle(tmp_path / "reviewed")
    assert made.hash[:12] in done.output
    held = load_reasons(made)
    assert held is not None
    assert (held.reviewed_by, held.reviewed_on) == ("A. Berg", "2026-11-01")
    assert held.rows == int((packed.predict(packed.frame(table("binary").frame)) == 0).sum())
    assert load_bundle(tmp_path / "reviewed.tar.gz").hash == made.hash
    np.testing.assert_array_equal(made.predict([ROW]), packed.predict([ROW]))
