"""Training with the real family of tables: plan, train, and replay to the last bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from modelyard.brief.brief import Brief, Budget, DataBrief
from modelyard.brief.read import read_brief
from modelyard.data.read import read_data
from modelyard.data.splitting import split
from modelyard.families.find import family_named
from modelyard.selection.select import select
from modelyard.training.recipe import read_recipe, write_recipe
from modelyard.training.store import load_fitted, load_run, save_run
from modelyard.training.train import train


def table(task, rows=700):
    random = np.random.default_rng(3)
    x, z = random.normal(size=(2, rows))
    colour = random.choice(["red", "green", "blue"], rows)
    signal = x + 2 * (colour == "red") * z + random.normal(size=rows)
    if task == "regression":
        label = signal
    elif task == "binary":
        label = np.where(signal > 0, "yes", "no")
    else:
        label = np.array(["low", "mid", "high"])[np.digitize(signal, [-1, 1])]
    holes = [None if gone else float(v) for gone, v in zip(random.random(rows) < 0.1, z, strict=True)]
    return pl.DataFrame({"x": x, "z": holes, "colour": colour, "y": label})


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_recipe_replayed_gives_the_same_boosters(task, tmp_path):
    table(task).write_parquet(tmp_path / "t.parquet")
    brief = Brief(
        use_case="t", data=DataBrief(path=str(tmp_path / "t.parquet"), label="y"), budget=Budget(8.0, 2), seed=7
    )
    folder = tmp_path / "yard" / "runs" / "r"
    data = read_data(None, brief)
    parts = split(data, brief)
    plan = select(brief, data)
    assert {"linear"} < {c.parameters["algorithm"] for c in plan.candidates}
    run = train(plan, parts, folder=folder, name="blend-0000-20260101-r")
    save_run(run, folder)
    text = write_recipe(run, folder).read_text()
    assert str(tmp_path) not in text  # no path of this machine
    assert "../../../t.parquet" in text

    again_brief = read_brief(folder / "brief.yaml")
    assert replace(again_brief, source="") == replace(run.plan.brief, source="")
    again = train(select(again_brief, read_data(None, again_brief)), parts, replay=read_recipe(folder / "recipe.json"))
    assert again.answers.tobytes() == run.answers.tobytes()
    assert again.score == run.score
    for (ours, w), (theirs, v) in zip(run.blend.members, again.blend.members, strict=True):
        assert (w, ours.texts, ours.rounds, ours.facts) == (v, theirs.texts, theirs.rounds, theirs.facts)
        assert ours.scores.tobytes() == theirs.scores.tobytes()

    family = family_named("tabular")
    kept = load_run(folder, parts.development)
    for (ours, _), (stored, _) in zip(run.blend.members, kept.blend.members, strict=True):
        assert family.predict(ours, parts.test).tobytes() == family.predict(stored, parts.test).tobytes()
    first = next((folder / "steps").iterdir())
    assert load_fitted(first).scores.shape == run.blend.members[0][0].scores.shape
