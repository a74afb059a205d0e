"""The training document tells this run's own figures."""

from __future__ import annotations

import dataclasses

import pytest

from modelyard.data.schema import Column
from modelyard.training.document import training_document
from modelyard.training.train import train
from toy_family import Toy, candidate, dataset, parts_of, plan_of


@pytest.fixture(scope="module", params=["binary", "multiclass", "regression"])
def made(request):
    data = dataset(request.param)
    parts = parts_of(data)
    tried = (candidate("plain"), candidate("squares", squares=True), candidate("odd", fails=True))
    run = train(plan_of(data, tried, trials=4), parts, family=Toy(), name="blend-0000-20260101-ab")
    return run, parts, training_document(run, parts, family=Toy())


def test_it_opens_with_what_was_trained_and_how_well(made):
    run, _, document = made
    text = document.markdown()
    opening = text.split("\n## ")[0]
    assert run.name in opening
    assert f"{run.score:.4g}" in opening
    assert "1 could not be fitted: `odd`" in opening


def test_a_choice_among_several_flatters_and_one_fit_alone_was_not_chosen(made):
    run, parts, document = made
    assert parts.test is not None
    text = document.markdown()
    assert "flatters" in text
    assert "rows that played no part" in text
    bare = training_document(run, dataclasses.replace(parts, test=None), family=Toy()).markdown()
    assert "flatters" in bare
    assert "rows that played no part" not in bare
    alone = dataclasses.replace(run, leaderboard=run.leaderboard[:1])
    opening = training_document(alone, parts, family=Toy()).markdown().split("\n## ")[0]
    assert "one candidate was scored" in opening
    assert "flatters" not in opening


def test_every_attempt_is_on_the_leaderboard(made):
    run, _, document = made
    text = document.markdown()
    for entry in run.leaderboard:
        assert f"(`{entry.name}`)" in text
    assert "failed: RuntimeError: the toy broke" in text


def test_it_names_split_calibration_search_and_how_to_do_it_again(made):
    run, parts, document = made
    text = document.markdown()
    assert run.plan.fingerprint in text
    assert parts.split.reason.capitalize() in text
    assert "4 trials" in text
    assert "--replay recipe.json" in text
    if run.blend.scale != 1.0:
        assert f"{run.blend.scale:.4g}" in text
    assert f"numpy | {run.environment['numpy']}" in text or run.environment["numpy"] in text


def test_both_faces_are_written(made, tmp_path):
    markdown, page = made[2].write(tmp_path, "2-training")
    assert markdown.stat().st_size > 2000
    assert page.stat().st_size < 500_000
    assert "<svg" in page.read_text()
    assert list((tmp_path / "figures").glob("2-training*.svg"))


def test_only_a_calibrated_run_speaks_of_calibration_on_other_folds(made):
    run, parts, _ = made
    for offset in (0.0, 0.3):
        blend = dataclasses.replace(run.blend, scale=1.0, offset=(offset,) * len(run.blend.offset))
        changed = dataclasses.replace(run, blend=blend)
        opening = training_document(changed, parts, family=Toy()).markdown().split("\n## ")[0]
        assert ("calibration fitted on other folds" in opening) is (offset > 0)


def test_a_family_that_ships_a_refit_says_so(made):
    run, parts, document = made
    family = Toy()
    family.refits = True
    said = "fitted once more on every row"
    assert said not in document.markdown()
    assert said in training_document(run, parts, family=family).markdown()


def test_weights_are_told(made):
    run, parts, document = made
    schema = run.plan.schema
    columns = (*schema.columns, Column("w", "number", "weight", "float"))
    plan = dataclasses.replace(run.plan, schema=dataclasses.replace(schema, columns=columns))
    assert "weighted by `w`" in training_document(dataclasses.replace(run, plan=plan), parts, family=Toy()).markdown()
    assert "weighted by" not in document.markdown()
