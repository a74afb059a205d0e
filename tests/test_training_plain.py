"""Derived numbers: kept where the first kind of trees needs them, made by no later one where it does without."""

from __future__ import annotations

import numpy as np
import polars as pl

from modelyard.families.tabular import learning
from modelyard.families.tabular.derived import Derived
from modelyard.families.tabular.tabular import Tabular
from modelyard.training import twin
from test_training_link import trained

ROWS = 1_500


def table(answer):
    random = np.random.default_rng(1)
    x = random.uniform(1.0, 3.0, size=(ROWS, 4))
    return pl.DataFrame({**{f"x{i}": x[:, i] for i in range(4)}, "y": answer(x) + random.normal(0, 0.05, ROWS)})


def made(run):
    return {one.candidate.name: one.facts.get("derived", 0) for one, _ in run.blend.members}


def test_numbers_made_of_two_stay_where_whole_fits_gain_by_them(tmp_path):
    run, _ = trained(table(lambda x: x[:, 0] / x[:, 1] - x[:, 2] / x[:, 3]), tmp_path)
    why = {entry.name: entry.why for entry in run.leaderboard}
    assert why["lightgbm-plain"].startswith("put aside after 2 of 4 folds: the loss is ")
    assert why["lightgbm-plain"].endswith("more without derived numbers")
    assert any(made(run).values())


def test_no_later_candidate_makes_any_where_whole_fits_do_as_well_without(tmp_path, monkeypatch):
    # Products of noise: short boosters are told they help.
    pairs = Derived(np.array([[1, 0, 1], [1, 2, 3]]))
    monkeypatch.setattr(learning, "choose", lambda question, **_: pairs)
    run, _ = trained(table(lambda x: 3.0 * np.sign(x[:, 0] - 2.0)), tmp_path)
    tried = {entry.name: entry for entry in run.leaderboard}
    assert tried["catboost"].parameters["derived"] is False
    assert made(run).get("catboost", 0) == 0


def test_where_none_were_found_there_is_nothing_to_leave_out(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(learning, "choose", lambda question, **_: asked.append(question) or Derived.none())
    run, _ = trained(table(lambda x: x[:, 0]), tmp_path)
    assert asked
    assert "lightgbm-plain" not in {entry.name for entry in run.leaderboard}


def test_a_twin_over_all_folds_is_fitted_once(tmp_path, monkeypatch):
    fitted, real = [], Tabular.fit

    def fit(self, candidate, parts, *given):
        if given[2:] in ((), (None,)) and len(parts.split.folds) == 4:  # no recipe, nor for a curve of rows
            fitted.append((candidate.name, sum(len(fold.train) for fold in parts.split.folds)))
        return real(self, candidate, parts, *given)

    monkeypatch.setattr(Tabular, "fit", fit)
    monkeypatch.setattr(twin, "usable_cores", lambda: 4)
    pairs = Derived(np.array([[1, 0, 1], [1, 2, 3]]))
    monkeypatch.setattr(learning, "choose", lambda question, **_: pairs)
    run, _ = trained(table(lambda x: 3.0 * np.sign(x[:, 0] - 2.0)), tmp_path)
    assert "lightgbm-plain" in {entry.name for entry in run.leaderboard if entry.score > 0}
    assert fitted.count(("lightgbm-plain", max(rows for _, rows in fitted))) == 1
