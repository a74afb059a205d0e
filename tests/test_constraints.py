"""A brief with every limit and demand, the whole way: what the documents say of them is what the bundle does."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest

import modelyard as my
from modelyard.brief.brief import Brief, DataBrief
from modelyard.brief.presets import fold_count
from modelyard.brief.read import read_brief
from modelyard.core.errors import BriefError, GateFailed, RowError
from modelyard.data.read import read_data
from modelyard.flow.asked import asked
from modelyard.flow.develop import Development, develop
from modelyard.flow.prepare import prepare, stop_at
from modelyard.selection.show import plan_lines
from test_monotone import ASKED, frame

BRIEF = """\
use_case: waves
size: under 300 kB
latency: p99 < 50 ms
presets: fast
data:
  path: rows.parquet
  label: label
  sensitive: who
  drop: [who, after]
  keep: [other, close]
  monotone: {wave: increasing, fall: decreasing, flag: increasing}
budget: {seconds: 8}
"""


@dataclass
class Done:
    """A development and the rows and pages it left."""

    development: Development
    rows: pl.DataFrame

    def page(self, stem: str) -> str:
        return (self.development.folder / f"{stem}.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Done:
    folder = tmp_path_factory.mktemp("waves")
    rng = np.random.default_rng(5)
    rows = frame("binary", 1_200)
    truth = (rows["label"] == "yes").to_numpy()
    rows = rows.with_columns(
        who=pl.Series(np.where(rng.random(1_200) < 0.5, "a", "b")),
        after=pl.Series(truth * 1.0),
        close=pl.Series(truth + rng.normal(0, 0.27, 1_200)),  # so near that it would stop the run
    )
    rows.write_parquet(folder / "rows.parquet")
    (folder / "brief.yaml").write_text(BRIEF)
    return Done(develop(read_brief(folder / "brief.yaml"), workspace=folder / "yard"), rows)


def test_the_plan_shows_limits_and_what_the_preset_settled(done):
    text = " ".join(" ".join(plan_lines(done.development.run.plan, "stratified")).split())
    assert "p99 < 50 ms an answer, of which the model may take 30%" in text
    assert "< 0.3 MB the model's file" in text
    assert "answers increasing with wave, flag" in text
    assert "answers decreasing with fall" in text
    assert "given to every model: other, close" in text
    assert "kept from every model: who, after" in text
    assert "Preset fast: 3 folds (4 under 5,000 rows), no networks" in text  # its 45 s gave way to the brief's own 8


def test_answers_of_the_bundle_follow_the_directions(done):
    bundle = my.load_bundle(done.development.bundle.path)
    few = done.rows.drop("label", "who", "after").head(40)
    for name, direction in ASKED.items():
        points = [False, True] if name == "flag" else np.linspace(-6, 6, 400).tolist()
        moved = pl.concat(
            few[i].select(pl.exclude(name)).join(pl.DataFrame({name: points}), how="cross") for i in range(few.height)
        )
        answer = bundle.predict_proba(moved)[:, 1].reshape(few.height, len(points))
        steps = np.diff(answer, axis=1) * (1 if direction == "increasing" else -1)
        assert steps.min() >= -5e-7


def test_what_the_architecture_document_says_was_seen(done):
    page, facts = done.page("1-architecture"), done.development.bundle.manifest.facts
    assert facts["bytes"] == (done.development.bundle.path / "model.onnx").stat().st_size < 300_000
    assert f"| {facts['bytes'] / 1e6:.3g} MB |" in page
    for name, one in facts["directions"].items():
        row = next(line for line in page.splitlines() if line.startswith(f"| {ASKED[name]} with `{name}`"))
        assert f"{one['rows']:,} rows moved over {one['points']:,} values" in row
        assert one["largest"] <= one["limit"]
    assert set(facts["directions"]) == set(ASKED)
    assert re.search(r"`other`[^|]* given to every model .* an input of the packed model", page)
    assert re.search(r"`who`, `after` kept from every model .* no input of the packed model", page)
    assert "not kept" not in page
    assert "fast: 3 folds (4 under 5,000 rows), no networks" in page
    card = (done.development.bundle.path / "model-card.md").read_text()
    assert "increasing with `wave`, decreasing with `fall`, increasing with `flag`" in card
    assert re.search(r"size \| pass", done.page("5-mlops")) or "MB is the file that answers" in done.page("5-mlops")


def test_what_is_dropped_is_no_input_but_may_be_compared_by(done):
    bundle, report = done.development.bundle, done.development.report
    names = {c.name for c in bundle.schema.features}
    assert names == {"wave", "fall", "other", "flag", "city", "close"}
    assert {s.column for s in report.slices if s.sensitive} == {"who"}
    row = {"wave": 0.1, "fall": 0.2, "other": 0.3, "flag": True, "city": "city 1", "close": 0.4}
    answer = bundle.predict_proba(row)
    for who in ("a", "b"):
        assert np.array_equal(bundle.predict_proba({**row, "who": who}), answer)
    with pytest.raises(RowError, match="'after' is not a column of this model"):
        bundle.predict_proba({**row, "after": 1.0})


def test_what_is_kept_is_not_left_out_by_a_leak_and_cannot_be_left_out_unsaid(done):
    table = done.rows.drop("after", "who")
    with pytest.raises(GateFailed, match="may leak the label"):
        stop_at(prepare(Brief(data=DataBrief(label="label")), table)[2])
    findings = prepare(Brief(data=DataBrief(label="label", keep=("close",))), table)[2]
    stop_at(findings)
    assert [f.severity for f in findings if f.kind == "leak" and f.column == "close"] == ["note"]
    for odd, why in (
        (pl.lit(1.0), "has one value in every row"),
        (pl.lit(None, dtype=pl.Float64), "is empty in all"),
        (pl.int_range(pl.len()).cast(pl.String) + " x", "an identifier"),
    ):
        held = table.with_columns(odd.alias("odd"))
        read_data(held, Brief(data=DataBrief(label="label")))
        with pytest.raises(BriefError, match="The brief keeps 'odd', and no model can read it") as caught:
            read_data(held, Brief(data=DataBrief(label="label", keep=("odd",))))
        assert why in str(caught.value)


def test_a_bundle_that_goes_the_other_way_is_not_packed(done, monkeypatch, tmp_path):
    from modelyard.bundle.pack import pack
    from modelyard.data.splitting import split
    from modelyard.families.tabular import folds

    monkeypatch.setattr(folds, "signs", lambda schema: ())  # training that forgets what was asked
    run = done.development.run
    parts = split(read_data(None, run.plan.brief), run.plan.brief)
    from modelyard.training.train import train

    loose = train(run.plan, parts)
    with pytest.raises(GateFailed, match="goes the other way"):
        pack(loose, done.development.report, parts, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_the_command_line_s_preset_goes_over_the_brief_s(done):
    path = done.development.folder.parents[2] / "brief.yaml"
    brief = asked(path, presets="best")
    assert (brief.presets, brief.budget.seconds, fold_count(brief)) == ("best", 8, 8)
    assert fold_count(asked(path)) == 3
