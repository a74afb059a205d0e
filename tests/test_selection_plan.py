"""select: the plan, its costs, its reasons, and what a terminal and the document show of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.brief.brief import Brief, Budget, DataBrief, Latency, Target, Validation
from modelyard.core.errors import BriefError, WorkspaceError
from modelyard.core.machine import usable_cores
from modelyard.data.column import Column
from modelyard.families.fitted import Cost
from modelyard.selection.cost import run_cost
from modelyard.selection.document import _counts, architecture_document
from modelyard.selection.left_out import left_out
from modelyard.selection.prices import VARIABLE, prices
from modelyard.selection.select import select
from modelyard.selection.show import cost_line, duration, plan_lines
from modelyard.training.train import train
from toy_family import Toy, candidate, dataset, parts_of


def brief(**changes):
    return Brief(use_case="churn", data=DataBrief(label="y"), **changes)


def test_a_plan_settles_the_brief_and_describes_the_table():
    data = dataset()
    plan = select(brief(), data, family=Toy())
    assert (plan.brief.task, plan.brief.metric, plan.metric) == ("binary", "roc_auc", "roc_auc")
    assert (plan.rows, plan.fingerprint, plan.schema) == (300, data.fingerprint, data.schema)
    assert [c.name for c in plan.candidates] == ["plain", "squares"]
    assert plan.cores == usable_cores()


def test_models_are_chosen_from_the_development_rows_alone():
    seen = []

    class Watching(Toy):
        def candidates(self, brief, profile, data):
            seen.append((profile.rows, len(data)))
            return super().candidates(brief, profile, data)

    data = dataset()
    given = select(brief(), data, parts=parts_of(data), family=Watching())
    own = select(replace(brief(), validation=Validation(test_fraction=0.4)), data, family=Watching())
    assert seen == [(270, 270), (180, 180)]
    assert (given.rows, own.rows) == (300, 300)
    assert given.left_out[0].reason.startswith("270 rows")


def test_a_named_model_is_the_only_one_tried():
    for asked in ("squares", "Squares", "SQUARES classifier", "squares_model"):
        plan = select(brief(model=asked), dataset(), family=Toy())
        assert [c.name for c in plan.candidates] == ["squares"]
        assert plan.candidates[0].reason.startswith("the brief asks for it")
        assert [one.title for one in plan.left_out] == ["every other kind"]


@pytest.mark.parametrize(
    ("metric", "value", "seen"), [("mape", 0.0, "1 label of 0"), ("rmsle", -2.0, "1 label below 0, such as -2")]
)
def test_a_metric_that_a_label_leaves_without_a_value_is_refused(metric, value, seen):
    data = dataset("regression")
    first = pl.int_range(pl.len()) == 0
    frame = data.frame.with_columns(y=pl.when(first).then(value).otherwise(1 + pl.col("y").abs()), w=(~first) * 1.0)
    odd = replace(data, frame=frame)
    for asked in ({"metric": metric}, {"target": (Target(metric, "<=", 0.1),)}):
        with pytest.raises(BriefError, match=f"has no meaning for {seen}"):
            select(brief(**asked), odd, family=Toy())
    columns = (*data.schema.columns, Column("w", "number", "weight", "float"))
    weighted = replace(odd, schema=replace(data.schema, columns=columns))  # the row does not count
    assert select(brief(metric=metric), weighted, family=Toy()).metric == metric


def test_logistic_regression_of_a_number_is_refused():
    with pytest.raises(BriefError, match="Logistic regression tells classes apart, and 'y' is a number"):
        select(
            brief(model="logistic regression", task="regression", metric="rmse"), dataset("regression"), family=Toy()
        )


def test_a_model_nobody_brings_gets_a_suggestion():
    with pytest.raises(BriefError, match=r"No model is called 'squars'[\s\S]*Did you mean 'squares'"):
        select(brief(model="squars"), dataset(), family=Toy())
    with pytest.raises(BriefError, match="auto, plain, squares"):
        select(brief(model="transformer"), dataset(), family=Toy())


@given(
    st.lists(st.floats(0.001, 100), min_size=1, max_size=5),
    st.floats(0.1, 300),
    st.one_of(st.none(), st.integers(0, 300)),
)
def test_cost_of_the_run_is_at_most_the_budget_but_for_the_first(seconds, budget, trials):
    tried = [candidate(f"c{i}", seconds=s) for i, s in enumerate(seconds)]
    cost = run_cost(tried, Budget(budget, trials))
    assert seconds[0] <= cost.seconds <= max(seconds[0], budget)
    if trials == 0:
        assert cost.seconds == pytest.approx(max(seconds[0], min(sum(seconds), budget)))


def test_prices_scale_with_time_and_never_count_on_more_cores():
    one, two = prices(3600, 8), prices(7200, 8)
    assert [p.dollars * 2 for p in one] == pytest.approx([p.dollars for p in two])
    assert [p.dollars for p in one] == sorted(p.dollars for p in one)
    for price in prices(3600, 8):
        assert price.seconds == pytest.approx(3600 * max(1, 8 / price.cores))
        assert price.dollars == pytest.approx(price.seconds / 3600 * price.dollars_per_hour)
        assert price.dated
    assert all(p.seconds == 3600 for p in prices(3600, 1))


def test_the_table_of_prices_can_be_the_users_own(tmp_path, monkeypatch):
    own = tmp_path / "mine.toml"
    own.write_text('[[machine]]\nname = "the cupboard"\ncores = 4\ndollars_per_hour = 0.1\ndated = "2026-02"\n')
    monkeypatch.setenv(VARIABLE, str(own))
    plan = select(brief(), dataset(), family=Toy())
    assert [(p.machine, p.dated) for p in plan.prices] == [("the cupboard", "2026-02")]
    whole = own.read_text()
    for wrong in (
        '[[machine]]\nname = "the cupboard"\n',
        whole.replace("= 4", "= 0"),
        whole.replace("= 0.1", "= -1.0"),
    ):
        own.write_text(wrong)
        with pytest.raises(WorkspaceError, match=r"prices cannot be read[\s\S]*mine.toml"):
            select(brief(), dataset(), family=Toy())


def test_left_out_says_why():
    data = dataset()
    named = {one.title: one.reason for one in left_out(brief(), data, ())}
    assert named["deep tabular"] == "300 rows, under 10M, and a budget of 120 s, under 240"
    assert named["BERT on text"] == "no text column over 20 words"


def test_a_network_left_out_of_a_long_run_says_why(monkeypatch):
    asked = brief(budget=Budget(240))

    def told(**installed):
        monkeypatch.setattr("modelyard.selection.left_out.has", lambda module: installed.get(module, True))
        return {one.title: one.reason for one in left_out(asked, dataset(), ())}.get("deep tabular")

    assert told(torch=False) == 'torch is not installed (pip install "modelyard[nets]")'
    assert told() == "even a short training would take too much of 240 s"
    assert "deep tabular" not in {one.title for one in left_out(asked, dataset(), (candidate("mlp"),))}


def test_a_long_text_column_is_told_as_unused():
    data = dataset()
    words = pl.Series("note", [" ".join(["word"] * n) for n in np.resize([10, 50], len(data))])
    noted = replace(data.schema.columns[0], name="note", kind="text")
    schema = replace(data.schema, columns=(*data.schema.columns, noted))
    told = left_out(brief(), replace(data, frame=data.frame.with_columns(words), schema=schema), ())
    assert next(one.reason for one in told if one.title == "BERT on note").startswith("30 words on average")


def test_a_tight_latency_limit_leaves_out_what_keeps_its_rows():
    data = dataset(rows=200_000)
    tight = left_out(brief(latency=Latency(99, 0.001)), data, ())
    loose = left_out(brief(latency=Latency(99, 10_000.0)), data, ())
    assert {one.title for one in tight} - {one.title for one in loose} == {"nearest neighbours, Gaussian processes"}
    few = left_out(brief(latency=Latency(99, 1e-6)), dataset(), ())
    assert " 0.0 ms" not in next(one.reason for one in few if one.title.startswith("nearest"))


def test_trees_a_latency_limit_rules_out_are_told():
    line = replace(candidate("linear"), parameters={"algorithm": "linear"})
    limit = brief(latency=Latency(99, 0.001))
    assert any("too much of p99 < 0.001 ms" in one.reason for one in left_out(limit, dataset(), (line,)))
    assert "boosted trees" not in {one.title for one in left_out(limit, dataset(), (line, candidate("lightgbm")))}
    assert "boosted trees" not in {one.title for one in left_out(brief(), dataset(), (line,))}


def test_lines_of_a_terminal():
    asked = brief(target=(Target("roc_auc", ">=", 0.8),), latency=Latency(99, 100.0), infrastructure="kubernetes")
    plan = select(asked, dataset(), family=Toy())
    lines = plan_lines(plan, "stratified, 4 folds; last 15 % untouched")
    text = "\n".join(lines)
    assert lines[0].startswith(
        "Question   churn: y (binary, 300 rows x 2 columns), target roc_auc >= 0.8, p99 < 100 ms"
    )
    assert "Split      stratified, 4 folds" in text
    assert "Plan       1 plain " in text
    assert "           2 squares " in text
    assert "left out: " in text
    assert "Cost       about " in text
    assert "list price of " in text
    assert all(len(line) <= 118 for line in lines)
    order = [text.index(f"{word:<11}") for word in ("Question", "Split", "Plan", "Cost", "Doubts")]
    assert order == sorted(order)
    # The search takes what the rest leaves of the budget, and may end before it does.
    filled = replace(plan, cost=replace(plan.cost, seconds=plan.brief.budget.seconds))
    assert cost_line(filled).startswith("up to ")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.4 s"), (45, "45 s"), (89, "89 s"), (360, "6 min"), (4800, "80 min"), (7500, "2 h 5 min")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_the_document_of_a_plan_and_of_its_run(tmp_path):
    data = dataset()
    parts = parts_of(data)
    plan = select(replace(brief(), budget=Budget(30.0, 3)), data, family=Toy())
    planned = architecture_document(plan).markdown()
    assert "First bet: Plain" in planned.split("\n## ")[0]
    assert "mermaid" in planned
    assert "Weighted sum" in planned
    assert "Took" not in planned
    run = train(plan, parts, family=Toy())
    made = architecture_document(plan, run, None, {"trees": 1234, "nodes": 56789}).markdown()
    assert f"{run.score:.4g}" in made.split("\n## ")[0]
    assert "1,234 trees, 56,789 nodes" in made
    for fitted, weight in run.blend.members:
        assert f"| `{fitted.candidate.name}` | {weight:.1%} |" in made
        assert f"{weight:.0%}" in made
    assert f"{plan.rows - 270:,} of 300 rows (10%)" in made
    for fitted, _ in run.blend.members:
        assert f"**Why {fitted.candidate.title}:** A toy. In the model: " in made
        assert f"`{fitted.candidate.name}` of {_counts(fitted.rounds)} rounds" in made
    assert "The search then made 3 trials" in made
    twin = replace(run.leaderboard[0], name="plain-log", weight=0.0)  # a candidate in another way is none
    told = architecture_document(plan, replace(run, leaderboard=(*run.leaderboard, twin))).markdown()
    assert "The search then made 3 trials" in told
    unused = {"Plain", "Squares"} - {fitted.candidate.title for fitted, _ in run.blend.members}
    assert not any(f"Why {title}" in made for title in unused)
    markdown, page = architecture_document(plan, run).write(tmp_path, "1-architecture")
    assert "<svg" in page.read_text()
    assert markdown.exists()


def test_a_model_of_one_fit_says_whether_there_was_a_choice():
    plan = select(replace(brief(), budget=Budget(30.0, 3)), dataset(), family=Toy())
    run = train(plan, parts_of(dataset()), family=Toy())
    member = run.blend.members[0]
    blend = replace(run.blend, members=((member[0], 1.0),))
    alone = replace(run, blend=blend)
    assert "No blend of the candidates does better" in architecture_document(plan, alone).markdown()
    only = next(entry for entry in run.leaderboard if entry.name == member[0].candidate.name)
    assert "Nothing else was fitted" in architecture_document(plan, replace(alone, leaderboard=(only,))).markdown()


def test_the_selection_unit_stays_light():
    import subprocess
    import sys

    code = (
        "import sys, modelyard.selection.select, modelyard.selection.show, modelyard.selection.document\n"
        "print([m for m in ('sklearn', 'scipy', 'pandas', 'optuna', 'mlflow', 'lightgbm') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_peak_memory_is_what_is_held_and_what_the_largest_candidate_adds():
    tried = [replace(candidate("a"), cost=Cost(1, 10)), replace(candidate("b"), cost=Cost(1, 900_000))]
    held = run_cost(tried, Budget(60)).megabytes - 900_000
    assert 20 < held < 20_000
