"""Bad input gets one clear error (or a finding) with the exit code of its kind, and what was done before is kept."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from disks import mounted
from modelyard.brief.brief import Brief, DataBrief
from modelyard.cli.main import _run
from modelyard.flow.prepare import prepare

MODELYARD = str(Path(sys.executable).with_name("modelyard"))


def table(rows: int = 300, seed: int = 0) -> pl.DataFrame:
    """Return a small honest table: two numbers, a category, an entity, a date and a label they half explain."""
    random = np.random.default_rng(seed)
    x, z = random.normal(size=(2, rows))
    c = random.choice(["red", "green", "blue"], rows)
    chance = 1 / (1 + np.exp(-(x + (c == "red"))))
    return pl.DataFrame(
        {
            "x": x,
            "z": z,
            "colour": c,
            "who": [f"p{i % (rows // 3)}" for i in range(rows)],
            "day": pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 1, 1) + pl.duration(days=rows - 1), eager=True),
            "y": np.where(random.random(rows) < chance, "yes", "no"),
        }
    )


class Desk:
    """A folder with a table and a brief, and the command line over it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys

    def brief(self, text: str = "", data: str = "path: t.csv, label: y") -> Path:
        path = self.folder / "brief.yaml"
        path.write_text(f"use_case: t\ndata: {{{data}}}\nbudget: {{seconds: 4, trials: 0}}\n{text}\n", encoding="utf-8")
        return path

    def run(self, *words: object) -> tuple[int, str]:
        """Run one verb; return its exit code and what it said on standard error."""
        code = _raised(lambda: _run([str(w) for w in words]))
        said = self._capsys.readouterr().err
        assert "Traceback" not in said
        return code, said

    def plan(self) -> tuple[int, str]:
        return self.run("plan", self.folder / "brief.yaml")

    def develop(self, *words: object) -> tuple[int, str]:
        return self.run("develop", self.folder / "brief.yaml", "--workspace", self.folder / "yard", *words)


def _raised(call: Callable[[], int]) -> int:
    try:
        return call()
    except SystemExit as stop:
        return int(stop.code or 0)


@pytest.fixture
def desk(tmp_path, capsys):
    return Desk(tmp_path, capsys)


def refused(result: tuple[int, str], *words: str, code: int = 1) -> None:
    """One error, of the right kind, that names what a user needs."""
    assert result[0] == code, result[1]
    assert result[1].count("error: ") == 1, result[1]
    for word in words:
        assert word in result[1], result[1]


def test_missing_file(desk):
    desk.brief()
    refused(desk.plan(), "t.csv")


def test_missing_brief(desk):
    refused(desk.run("plan", desk.folder / "none.yaml"), "none.yaml")


def test_empty_file(desk):
    (desk.folder / "t.csv").write_text("")
    desk.brief()
    refused(desk.plan(), "empty", "t.csv")


def test_header_without_rows(desk):
    (desk.folder / "t.csv").write_text("x,y\n")
    desk.brief()
    refused(desk.plan(), "no rows")


def test_ragged_rows(desk):
    (desk.folder / "t.csv").write_text("x,y\n1,a\n2,b,3\n4,a\n")
    desk.brief()
    refused(desk.plan(), "t.csv", "line 3")


def test_wrong_delimiter(desk):
    (desk.folder / "t.csv").write_text("x^y\n" + "1^a\n2^b\n" * 30)
    desk.brief()
    refused(desk.plan(), "t.csv")


def test_not_a_parquet_file(desk):
    (desk.folder / "t.parquet").write_bytes(b"PAR1 but not really")
    desk.brief(data="path: t.parquet, label: y")
    refused(desk.plan(), "t.parquet")


def test_label_that_does_not_exist(desk):
    table().write_csv(desk.folder / "t.csv")
    desk.brief(data="path: t.csv, label: color")
    refused(desk.plan(), "color", "Did you mean 'colour'?")


def test_constant_label(desk):
    table().with_columns(y=pl.lit("no")).write_csv(desk.folder / "t.csv")
    desk.brief()
    refused(desk.plan(), "y")


def test_label_that_is_an_identifier(desk):
    table().with_columns(y=pl.format("k{}", pl.int_range(300))).write_csv(desk.folder / "t.csv")
    desk.brief()
    refused(desk.plan(), "'y' has 300 classes in 300 rows", "identifier")


def test_label_mostly_missing(desk):
    table().with_columns(y=pl.when(pl.int_range(pl.len()) < 40).then(pl.col("y"))).write_csv(desk.folder / "t.csv")
    desk.brief()
    refused(desk.plan(), "y", "missing")


def test_time_column_that_does_not_parse(desk):
    table().with_columns(day=pl.lit("soon")).write_csv(desk.folder / "t.csv")
    desk.brief(data="path: t.csv, label: y, time: day")
    refused(desk.plan(), "day", "soon")


def test_infinite_values(desk):
    table().with_columns(x=pl.when(pl.int_range(pl.len()) == 7).then(float("inf")).otherwise("x")).write_parquet(
        desk.folder / "t.parquet"
    )
    desk.brief(data="path: t.parquet, label: y")
    refused(desk.plan(), "infinite", "x")


def test_duplicate_column_names(desk):
    (desk.folder / "t.csv").write_text("x,x,y\n" + "1,2,a\n2,3,b\n" * 30)
    desk.brief()
    refused(desk.plan(), "x")


def test_unknown_key_in_the_brief(desk):
    table().write_csv(desk.folder / "t.csv")
    desk.brief("budgit: 3")
    refused(desk.plan(), "budgit", "Did you mean 'budget'?", "line 4")


def test_wrong_sign(desk):
    table().write_csv(desk.folder / "t.csv")
    desk.brief('target: "roc_auc <= 0.8"')
    refused(desk.plan(), "roc_auc", "line 4", ">=")


def test_unknown_metric(desk):
    desk.brief('target: "acu >= 0.8"')
    refused(desk.plan(), "acu", "Did you mean", "modelyard help metrics")


def test_impossible_split(desk):
    table().with_columns(who=pl.lit("same")).write_csv(desk.folder / "t.csv")
    desk.brief(data="path: t.csv, label: y, group: who")
    refused(desk.plan(), "who")


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("y = 'yes'", ["the label 'y'", "not known"]),
        ("x > 0 or w > 1", ["the weight 'w'", "not known"]),
        ("colour > 3", ["'colour' holds none"]),
        ("x > 0 and colour + 1 > 3", ["'colour' holds none"]),
        ("colour in [1, 2]", ["'colour' holds none"]),
        ("colour", ["'colour' holds none"]),
        ("day > 3", ["'day' holds none"]),
        ("day > 'spring'", ["'spring' holds none"]),
        ("x > 'high'", ["'high' holds none"]),
        ("x + 1", ["gives a number", "binary", "x + 1 > 1"]),
    ],
)
def test_rule_that_cannot_stand_beside_a_model(desk, rule, words):
    table().with_columns(w=pl.lit(1.5)).write_csv(desk.folder / "t.csv")
    desk.brief(f"rule: {json.dumps(rule)}", data="path: t.csv, label: y, weight: w")
    refused(desk.plan(), *words)


@pytest.mark.parametrize(
    "rule", ["x > 0 and colour = 'red'", "code > 5", "day > '2024-03-01'", "smoker", "x is missing"]
)
def test_rule_that_can(rule):
    made = table().with_columns(code=pl.Series(["5", "6", "x"] * 100), smoker=pl.Series([0, 1, None] * 100))
    brief = Brief(data=DataBrief(label="y"), rule=rule)
    assert len(prepare(brief, made)[0]) == 300


@pytest.mark.parametrize("name", ["prediction", "p_yes"])
def test_feature_with_the_name_of_an_answer(desk, name):
    table().rename({"z": name}).write_csv(desk.folder / "t.csv")
    desk.brief()
    refused(desk.plan(), f"'{name}'", "data.drop", "Rename")
    desk.brief(data=f"path: t.csv, label: y, drop: [{name}]")
    assert desk.plan()[0] == 0


def test_rule_over_a_column_that_is_not_there(desk):
    table().write_csv(desk.folder / "t.csv")
    desk.brief("rule: blood-pressure > 140")
    refused(desk.plan(), "blood", "backticks")


def test_unknown_verb_and_option(desk):
    refused(desk.run("devlop"), "Did you mean 'develop'?")
    refused(desk.run("plan", "--no-such-option"), "--no-such-option")


def test_workspace_that_is_a_file(desk):
    table().write_csv(desk.folder / "t.csv")
    desk.brief()
    (desk.folder / "yard").write_text("")
    refused(desk.develop(), "yard", "--workspace")


def test_a_leak_stops_the_run_until_the_brief_answers(desk):
    random = np.random.default_rng(1)
    leak = pl.Series("leak", np.where(table()["y"] == "yes", 1.0, 0.0) + random.normal(size=300) * 1e-3)
    table().with_columns(leak).write_csv(desk.folder / "t.csv")
    desk.brief()
    refused(desk.develop(), "leak", "data.drop", "data.keep", code=2)
    assert not list((desk.folder / "yard" / "runs").glob("*/steps/*"))
    desk.brief(data="path: t.csv, label: y, drop: leak")
    assert desk.plan()[0] == 0


def test_one_class_with_one_row(desk):
    frame = table().with_columns(y=pl.when(pl.int_range(pl.len()) == 3).then(pl.lit("maybe")).otherwise("y"))
    frame.write_csv(desk.folder / "t.csv")
    desk.brief()
    code, said = desk.develop("--quiet")
    assert code in (0, 2, 3), said


def test_all_null_and_constant_columns_and_names_that_are_not_ascii(desk):
    frame = table().with_columns(pl.lit(None).cast(pl.Float64).alias("leer"), pl.lit(1).alias("immer"))
    frame.rename({"x": "größe", "colour": "色"}).write_csv(desk.folder / "t.csv")
    desk.brief()
    code, said = desk.develop("--quiet")
    assert code in (0, 2, 3), said


def test_five_thousand_columns(desk):
    wide = np.random.default_rng(0).normal(size=(120, 5000)).astype(np.float32)
    frame = pl.DataFrame(wide, schema=[f"c{i}" for i in range(5000)])
    frame.with_columns(table(120)["y"]).write_parquet(desk.folder / "t.parquet")
    desk.brief("model: linear", data="path: t.parquet, label: y")
    code, said = desk.develop("--quiet")
    assert code in (0, 2, 3), said


def test_full_disk_keeps_what_was_finished(desk):
    table().write_csv(desk.folder / "t.csv")
    desk.brief()
    with mounted(desk.folder / "small", "size=400k") as small:
        words = ("develop", desk.folder / "brief.yaml", "--workspace", small / "yard", "--quiet")
        refused(desk.run(*words), "full", "Free some")
        assert list((small / "yard" / "runs").glob("*/plan.json"))


def test_read_only_workspace(desk):
    table().write_csv(desk.folder / "t.csv")
    desk.brief()
    with mounted(desk.folder / "sealed", "ro") as sealed:
        refused(desk.run("develop", desk.folder / "brief.yaml", "--workspace", sealed / "yard"), "--workspace")
    # Even where the operating system gives another reason, as in /proc.
    refused(desk.run("runs", "--workspace", "/proc/sys/yard"), "--workspace")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_goes_on_from_its_last_finished_step(desk, how):
    table(1200).write_csv(desk.folder / "t.csv")
    brief = desk.brief()
    brief.write_text(brief.read_text().replace("seconds: 4, trials: 0", "seconds: 8, trials: 2"))
    words = [MODELYARD, "develop", str(brief), "--workspace", str(desk.folder / "yard")]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    steps = desk.folder / "yard" / "runs"
    until = time.monotonic() + 90
    while not list(steps.glob("*/steps/*")) and child.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    child.send_signal(how)
    _, said = child.communicate(timeout=60)
    assert "Traceback" not in said
    if how is signal.SIGINT:
        assert child.returncode == 1
        assert "run the same command again" in said
    listed = subprocess.run(
        [MODELYARD, "runs", "--json", "--workspace", str(desk.folder / "yard")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert [r["status"] for r in json.loads(listed.stdout)] == ["interrupted"]
    kept = {p: p.stat().st_mtime_ns for p in steps.glob("*/steps/*/*") if p.is_file()}
    assert kept, said
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 2, 3), done.stderr
    assert len(list(steps.glob("*/run.json"))) == 1
    assert {p: p.stat().st_mtime_ns for p in kept} == kept


@pytest.mark.parametrize(("words", "named"), [([], "develop"), (["help"], "exit-codes"), (["keys"], "rotate")])
def test_no_words_at_all_ask_for_help_and_are_no_error(words, named, capsys):
    assert _run(words) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.startswith("Usage: ")
    assert named in said.out
