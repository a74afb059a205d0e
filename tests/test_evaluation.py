"""Evaluation: what is said of a model must follow from its answers, and no more than that."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.brief.brief import Brief, Target
from modelyard.bundle.examples import synthetic
from modelyard.core.canonical import canonical_json
from modelyard.core.errors import BriefError, WorkspaceError
from modelyard.data.dataset import Dataset, Floats, Parts
from modelyard.data.finding import Finding
from modelyard.data.profile import Profile
from modelyard.data.schema import Column, Schema
from modelyard.evaluation import wording as say
from modelyard.evaluation.answers import halves, out_of_fold
from modelyard.evaluation.card import model_card
from modelyard.evaluation.document import evaluation_document
from modelyard.evaluation.evaluate import evaluate
from modelyard.evaluation.levels import Levels
from modelyard.evaluation.report import Estimate, Report
from modelyard.evaluation.slices import FEW
from modelyard.evaluation.store import load_report, save_report
from modelyard.evaluation.threshold import crossed_thresholds
from modelyard.evaluation.verdict import met
from modelyard.families import find
from modelyard.families.family import Watch
from modelyard.families.fitted import Blend, Candidate, Cost, Export, Fitted
from modelyard.flow.look import report_lines
from modelyard.selection.plan import Plan
from modelyard.training.run import Run


class Toy:
    """A family whose fitted model is a weighted sum of columns; "other" counts 1 where the place is "b"."""

    name = "toy"
    tasks = frozenset({"binary", "multiclass", "regression", "forecast"})
    refits = False

    def predict(self, fitted: Fitted, rows: Dataset) -> Floats:
        columns = [rows.frame[c].fill_null(0.0).to_numpy() for c in fitted.facts["columns"]]
        return np.stack(columns, axis=1) @ fitted.arrays["weights"]

    def candidates(self, brief: Brief, profile: Profile, data: Dataset) -> tuple[Candidate, ...]:
        raise NotImplementedError

    def fit(
        self,
        candidate: Candidate,
        parts: Parts,
        seed: int,
        watch: Watch | None = None,
        rounds: tuple[int, ...] | None = None,
    ) -> Fitted:
        raise NotImplementedError

    def export(self, blend: Blend, data: Dataset) -> Export:
        raise NotImplementedError


@pytest.fixture(autouse=True, scope="module")
def _toy() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(find.BUILT_IN, "toy", f"{__name__}:Toy")
        yield


def made(n: int, seed: int, task: str = "binary", signal: float = 1.5) -> pl.DataFrame:
    """Rows whose label follows ``x``; ``noise`` says nothing, ``rare`` is almost always "common"."""
    random = np.random.default_rng(seed)
    x, noise = random.normal(size=n), random.normal(size=n)
    place = random.choice(["a", "b", "c"], size=n)
    rare = np.where(np.arange(n) < 8, "few", "common")
    chance = 1 / (1 + np.exp(-signal * x))
    if task == "binary":
        label: object = np.where(random.random(n) < chance, "yes", "no")
    elif task == "multiclass":
        label = np.where(random.random(n) < chance, "high", np.where(random.random(n) < 0.5, "low", "mid"))
    else:
        label = 10 + 3 * x + random.normal(size=n)
    return pl.DataFrame({"x": x, "noise": noise, "place": place, "rare": rare, "label": label})


def schema(task: str, sensitive: tuple[str, ...] = ()) -> Schema:
    classes = {"binary": ("no", "yes"), "multiclass": ("low", "mid", "high")}.get(task, ())
    columns = [
        Column("x", "number", "feature", "float"),
        Column("noise", "number", "feature", "float"),
        Column("place", "category", "feature", "string", levels=("a", "b", "c"), sensitive="place" in sensitive),
        Column("rare", "category", "feature", "string", levels=("common", "few"), sensitive="rare" in sensitive),
        Column("label", "category" if classes else "number", "label", "string" if classes else "float"),
    ]
    return Schema(tuple(columns), task, classes)  # type: ignore[arg-type]


def toy_run(
    task: str = "binary",
    *,
    metric: str = "roc_auc",
    weights: object = 1.5,
    development: pl.DataFrame | None = None,
    sensitive: tuple[str, ...] = ("place", "rare"),
    score: float = math.nan,
    **brief: object,
) -> Run:
    frame = made(600, 1, task) if development is None else development
    layout = schema(task, sensitive)
    rows = Dataset(frame, layout, "f" * 64)
    matrix = np.atleast_2d(np.asarray(weights, dtype=np.float64))
    candidate = Candidate("toy", "toy", "Toy", {}, {}, "a test", Cost(0, 0))
    fitted = Fitted(candidate, {"columns": ["x"]}, {"weights": matrix}, {}, np.empty((len(rows), matrix.shape[1])))
    link = {"binary": "logistic", "multiclass": "softmax"}.get(task, "identity")
    bias = (10.0,) if task == "regression" else (0.0,) * matrix.shape[1]
    blend = Blend(((fitted, 1.0),), link, 1.0, bias)  # type: ignore[arg-type]
    asked = Brief(task=task, use_case="a *toy*", metric=metric, **brief)  # type: ignore[arg-type]
    plan = Plan(asked, layout, "f" * 64, 1200, "toy", metric, (candidate,), (), (), Cost(0, 0), (), 1)
    answers = blend.answer(Toy().predict(fitted, rows))
    answers[:50] = np.nan  # the earliest rows of a forward split are never scored
    return Run("toy-ffff-1-zz", "zz", plan, rows, blend, answers, (), score, 0.0, {}, None, {})


def untouched(run: Run, n: int = 800, seed: int = 2, **changes: pl.Series) -> Dataset:
    frame = made(n, seed, run.plan.schema.task).with_columns(**changes)
    return Dataset(frame, run.plan.schema, "f" * 64)


def small(run: Run, rows: Dataset, **options: object) -> Report:
    return evaluate(run, rows, resamples=300, **options)  # type: ignore[arg-type]


def test_a_good_model_meets_its_target_and_beats_every_baseline() -> None:
    run = toy_run(target=(Target("roc_auc", ">=", 0.7),), rule="x > 0.5")
    report = small(run, untouched(run))
    assert report.on == "test"
    assert report.rows == report.estimate.n == 800
    assert report.estimate.low < report.estimate.value < report.estimate.high
    assert report.target_met == "yes"
    assert [b.name for b in report.baselines] == ["single_feature", "rule", "constant"]
    assert report.baselines[0].title == "the best single feature, x"
    assert report.baselines[1].gain_low > 0
    assert report.baselines[2].estimate.value == 0.5
    assert report.baselines[2].gain == pytest.approx(report.estimate.value - 0.5)
    assert {"log_loss", "f1", "accuracy"} <= {e.metric for e in report.others}


@pytest.mark.parametrize(("value", "answer"), [(0.6, "yes"), (0.99, "no"), (None, "inconclusive")])
def test_the_verdict_is_the_pessimistic_ends(value: float | None, answer: str) -> None:
    run = toy_run()
    rows = untouched(run)
    value = small(run, rows).estimate.value if value is None else value
    run = toy_run(target=(Target("roc_auc", ">=", value),))
    report = small(run, rows)
    assert report.target_met == report.targets[0].met == answer


def test_one_missed_target_is_enough_and_an_undecided_one_decides_nothing() -> None:
    run = toy_run(target=(Target("roc_auc", ">=", 0.6), Target("log_loss", "<=", 0.1)))
    assert small(run, untouched(run)).target_met == "no"
    undecided = small(run, untouched(run)).others[1].value
    run = toy_run(target=(Target("roc_auc", ">=", 0.6), Target("log_loss", "<=", undecided)))
    assert small(run, untouched(run)).target_met in {"inconclusive"}


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.sampled_from([">=", ">"]))
def test_a_target_and_its_mirror_image_agree(a: float, b: float, value: float, sign: str) -> None:
    low, high = min(a, b), max(a, b)
    up = met(Target("m", sign, value), Estimate("m", low, low, high, 9))  # type: ignore[arg-type]
    turned = "<=" if sign == ">=" else "<"
    down = met(Target("m", turned, -value), Estimate("m", -low, -high, -low, 9))  # type: ignore[arg-type]
    assert up == down
    assert (up == "yes") == (low >= value if sign == ">=" else low > value)
    assert not (up == "no" and high > value)


def test_without_a_target_the_baseline_is_the_target() -> None:
    worthless = toy_run(weights=0.0)
    report = small(worthless, untouched(worthless))
    assert not report.beats_baseline
    assert report.target_met == "no"
    assert report.worries[0].startswith("The model is not certainly better than the best single feature")
    good = toy_run(development=made(60, 1))
    assert small(good, untouched(good)).target_met in {"yes", "inconclusive"}


def test_out_of_fold_means_the_rows_a_fold_scored() -> None:
    run = toy_run()
    report = small(run, run.development)
    assert report.on == "out-of-fold"
    assert report.rows == 550
    assert any("No rows were kept untouched" in w for w in report.worries)


def test_a_weak_group_is_found_and_a_tiny_one_is_not_judged() -> None:
    run = toy_run()
    rows = untouched(run, 3000)
    random = np.random.default_rng(9)
    guessed = pl.Series(np.where(random.random(3000) < 0.5, "yes", "no"))
    weak = Dataset(
        rows.frame.with_columns(label=pl.when(pl.col("place") == "b").then(guessed).otherwise(pl.col("label"))),
        rows.schema,
        rows.fingerprint,
    )
    report = small(run, weak)
    places = [s for s in report.slices if s.column == "place"]
    assert sum(s.estimate.n for s in places) == 3000
    assert sum(s.share for s in places) == pytest.approx(1.0)
    worst = min(places, key=lambda s: s.estimate.value)
    assert worst.level == "b"
    assert "where place is b" in report.worries[0]
    assert "sensitive" in report.worries[0]
    few = next(s for s in report.slices if s.level == "few")
    assert (few.note, few.estimate.n) == (FEW, 8)
    assert math.isnan(few.estimate.value)
    assert any(w.startswith("Fairness by rare: insufficient data for 1 group") for w in report.worries)


def test_even_groups_raise_no_worry() -> None:
    raised = 0
    for seed in range(12):
        run = toy_run()
        report = evaluate(run, untouched(run, 700, seed=seed + 20), resamples=100)
        raised += any("where place is" in w for w in report.worries)
    assert raised <= 2


def test_the_column_that_matters_is_named_first() -> None:
    run = toy_run()
    report = small(run, untouched(run))
    assert report.importance[0].column == "x"
    assert report.importance[0].low > 0.1
    assert all(i.loss == 0 for i in report.importance[1:])
    assert {s.column for s in report.slices if not s.sensitive} == {"x"}


def test_an_overconfident_model_is_told_apart_from_a_calibrated_one() -> None:
    run = toy_run()
    honest = small(run, untouched(run, 2000))
    assert honest.calibration_error is not None
    assert honest.calibration_error.p_value > 0.05
    loud = toy_run(weights=6.0)
    report = small(loud, untouched(loud, 2000))
    assert report.calibration_error is not None
    assert report.calibration_error.value > report.calibration_error.null
    assert any(w.startswith("Predictions near") for w in report.worries)
    assert sum(b.n for b in report.calibration) == 2000


def test_a_fall_from_out_of_fold_to_untouched_rows_is_told() -> None:
    run = toy_run(score=0.99)
    assert any(w.startswith("Out-of-fold the model reached 0.99") for w in small(run, untouched(run)).worries)


def test_drift_in_the_data_becomes_a_worry() -> None:
    run = toy_run()
    finding = Finding("drift", "warn", "x", "x has moved.", "The test part differs.", "Look.")
    assert "x has moved. The test part differs." in small(run, untouched(run), findings=(finding,)).worries


def test_a_rule_that_cannot_be_applied_is_told_and_not_compared() -> None:
    run = toy_run(rule="absent > 2")
    report = small(run, untouched(run))
    assert "rule" not in {b.name for b in report.baselines}
    assert any("absent" in w for w in report.worries)


def test_a_target_may_name_a_class() -> None:
    run = toy_run(target=(Target("recall", ">=", 0.9, "no"),))
    report = small(run, untouched(run))
    confusion = report.confusion
    assert confusion is not None
    assert report.targets[0].estimate.value == pytest.approx(confusion.counts[0][0] / sum(confusion.counts[0]))
    assert report.targets[0].estimate.value > 0.85
    with pytest.raises(BriefError, match="no class 'nope'"):
        small(toy_run(target=(Target("recall", ">=", 0.9, "nope"),)), untouched(run))


def test_a_regression_is_judged() -> None:
    run = toy_run("regression", metric="rmse", weights=3.0)
    report = small(run, untouched(run))
    assert report.estimate.value == pytest.approx(1.0, abs=0.1)
    assert report.confusion is None
    assert report.calibration == ()
    assert report.beats_baseline
    assert {b.name for b in report.baselines} == {"constant", "single_feature"}
    assert report.baselines[-1].gain == pytest.approx(report.baselines[-1].estimate.value - report.estimate.value)


def test_several_classes_are_judged() -> None:
    run = toy_run("multiclass", metric="log_loss", weights=[[0.0, 0.0, 1.5]])
    report = small(run, untouched(run))
    assert report.confusion is not None
    assert report.confusion.threshold is None
    assert sum(map(sum, report.confusion.counts)) == 800
    assert report.baselines[-1].name == "constant"
    assert len(report.calibration) > 3


def test_a_forecast_is_compared_with_the_seasonal_naive() -> None:
    run = toy_run("forecast", metric="mae", weights=3.0)
    rows = untouched(run)
    truth = rows.truth()
    naive = Dataset(rows.frame, rows.schema, rows.fingerprint, {"naive": truth + 10.0, "scale": np.ones(len(rows))})
    report = small(run, naive)
    assert [b.name for b in report.baselines] == ["seasonal_naive"]
    assert report.baselines[0].estimate.value == pytest.approx(10.0)


@pytest.fixture(scope="module")
def judged() -> tuple[Run, Report]:
    run = toy_run(target=(Target("roc_auc", ">=", 0.7), Target("recall", ">=", 0.6)), rule="x > 0.5")
    return run, evaluate(run, untouched(run), resamples=200)


def test_a_report_survives_the_disk(judged: tuple[Run, Report], tmp_path: Path) -> None:
    _, report = judged
    read = load_report(save_report(report, tmp_path / "report.json"))
    assert canonical_json(read) == canonical_json(report)
    assert any(math.isnan(s.estimate.value) for s in read.slices)
    assert read.targets[0].target.label is None
    assert dataclasses.replace(read, slices=()) == dataclasses.replace(report, slices=())


def test_a_report_that_is_missing_or_damaged_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="no report"):
        load_report(tmp_path / "report.json")
    (tmp_path / "report.json").write_text('{"run": 3}')
    with pytest.raises(WorkspaceError, match="damaged"):
        load_report(tmp_path / "report.json")


def test_the_document_opens_with_the_verdict_and_holds_the_evidence(judged: tuple[Run, Report]) -> None:
    run, report = judged
    finding = Finding("id", "note", "z", "z is an <id>.", "It says nothing.", "Drop it.")
    document = evaluation_document(report, (finding,), run.plan)
    page, text = document.html(), document.markdown("3-evaluation")
    assert len(page.encode()) < 500_000
    for section in ("Targets", "Against simple predictors", "Calibration", "Confusion matrix", "Fairness", "Slices"):
        assert f"## {section}" in text
    assert f"{report.estimate.value:.3f}" in text[: text.index("## Targets")]
    assert "z is an &lt;id&gt;." in page
    assert "a *toy*" in page
    assert all(w.split(" [")[0] in page for w in report.worries)


def test_the_card_says_nothing_that_changes_between_reruns(judged: tuple[Run, Report]) -> None:
    run, report = judged
    card = model_card(report, run.plan, ())
    again = dataclasses.replace(report, run="toy-ffff-2-yy")
    moved = dataclasses.replace(run.plan.brief, source="/elsewhere/brief.yaml")
    assert card == model_card(again, dataclasses.replace(run.plan, brief=moved, cost=Cost(9, 9)), ())
    for section in ("Intended use", "Data", "Metrics", "Factors", "Ethical considerations", "Caveats"):
        assert f"## {section}" in card
    assert "`place` is a feature of the model" in card


def test_two_evaluations_of_one_run_are_the_same() -> None:
    run = toy_run(rule="x > 0")
    one, other = (canonical_json(small(run, untouched(run))) for _ in range(2))
    assert one == other


@settings(deadline=None, max_examples=8)
@given(st.integers(2, 40), st.sampled_from(["binary", "regression", "multiclass"]))
def test_few_rows_are_judged_without_a_crash(n: int, task: str) -> None:
    metric = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse"}[task]
    run = toy_run(task, metric=metric, weights=[[0.0, 0.0, 1.0]] if task == "multiclass" else 1.0)
    report = evaluate(run, untouched(run, n), resamples=50)
    assert report.rows == n
    evaluation_document(report, (), run.plan).html()


def test_where_entities_repeat_whole_entities_are_resampled() -> None:
    run = toy_run()
    rows = untouched(run, 300)
    columns = (*rows.schema.columns, Column("who", "id", "group", "integer"), Column("w", "number", "weight", "float"))
    layout = dataclasses.replace(rows.schema, columns=columns)
    repeated = pl.concat([rows.frame] * 4).with_columns(
        who=pl.Series(list(range(300)) * 4), w=pl.Series([2.0] * 1200, dtype=pl.Float64)
    )
    report = small(run, Dataset(repeated, layout, ""))
    alone = small(run, rows)
    assert report.estimate.unit == "groups"
    assert report.estimate.value == pytest.approx(alone.estimate.value)
    narrow = (report.estimate.high - report.estimate.low) / (alone.estimate.high - alone.estimate.low)
    assert narrow == pytest.approx(1.0, abs=0.25)  # four copies of a row are no more evidence than one


def test_weights_decide_what_a_figure_is_of() -> None:
    run = toy_run("regression", metric="rmse", weights=3.0)
    rows = untouched(run, 400)
    columns = (*rows.schema.columns, Column("w", "number", "weight", "float"))
    frame = rows.frame.with_columns(
        label=pl.when(pl.col("place") == "a").then(pl.col("label") + 5).otherwise(pl.col("label")),
        w=pl.when(pl.col("place") == "a").then(0.0).otherwise(1.0),
    )
    report = small(run, Dataset(frame, dataclasses.replace(rows.schema, columns=columns), ""))
    assert report.estimate.value == pytest.approx(1.0, abs=0.15)


def test_no_row_judges_a_threshold_it_helped_to_choose() -> None:
    run = toy_run(metric="f1", target=(Target("recall", ">=", 0.8),))
    found = crossed_thresholds(run)
    assert found is not None
    at, pair = found
    rows, _ = out_of_fold(run)
    one, other = halves(rows, run.plan.brief.seed)
    flipped = run.development.frame.with_row_index("i").with_columns(
        label=pl.when(pl.col("i").is_in(50 + one)).then(pl.lit("yes")).otherwise(pl.col("label"))
    )
    truth = np.asarray(rows.truth())
    assert set(at[one]) == {pair[0]}
    assert set(at[other]) == {pair[1]}
    changed = dataclasses.replace(run, development=dataclasses.replace(run.development, frame=flipped.drop("i")))
    assert len(np.unique(truth[one])) == 2
    assert crossed_thresholds(changed) is None  # a half with one class alone can choose nothing
    report = small(run, run.development)
    assert report.confusion is not None
    assert report.confusion.crossed == pair
    recall = next(t.estimate.value for t in report.targets)
    assert recall == pytest.approx(report.confusion.counts[1][1] / sum(report.confusion.counts[1]))
    text = evaluation_document(report, (), run.plan).markdown("3-evaluation")
    assert "not on the rows that judge it" not in text
    assert "each chosen on the half it does not judge" in text
    held = evaluation_document(small(run, untouched(run)), (), run.plan).markdown("3-evaluation")
    assert "not on the rows that judge it" in held


def test_the_least_p_that_resamples_can_give_is_a_bound() -> None:
    run = toy_run()
    best = small(run, untouched(run)).baselines[-1]
    assert best.p_value == pytest.approx(2 / 301)
    assert say.p(best) == "p <= 0.007"
    assert say.p(dataclasses.replace(best, p_value=4 / 301)) == "p = 0.013"
    alone = dataclasses.replace(best, p_value=1.0, estimate=dataclasses.replace(best.estimate, resamples=0))
    assert say.p(alone) == "p = 1.000"


def test_a_terminal_shows_the_figure_of_each_target_and_asks_nothing_back() -> None:
    run = toy_run(target=(Target("roc_auc", ">=", 0.7), Target("recall", ">=", 0.95)))
    report = small(run, untouched(run))
    first = report_lines(report)[0]
    assert f"recall >= 0.95: yes, {report.targets[1].estimate.value:.4g} [" in first
    assert first.count("roc_auc >= 0.7") == 1
    assert "(p <= 0.007)" in report_lines(report)[1]
    for weight, said in ((1.5, ""), (0.0, "not ")):
        free = toy_run(weights=weight)
        assert f"no target: {said}better than the best baseline" in report_lines(small(free, untouched(free)))[0]


def weighted(rows: Dataset, weights: pl.Expr | float) -> Dataset:
    columns = (*rows.schema.columns, Column("w", "number", "weight", "float"))
    frame = rows.frame.with_columns(w=pl.lit(weights) if isinstance(weights, float) else weights)
    return Dataset(frame, dataclasses.replace(rows.schema, columns=columns), "")


def test_where_figures_are_weighted_every_document_says_so() -> None:
    run = toy_run()
    rows = weighted(untouched(run), pl.when(pl.col("place") == "a").then(5.0).otherwise(1.0))
    report = small(run, rows)
    plan = dataclasses.replace(run.plan, schema=rows.schema)
    confusion = report.confusion
    assert report.weighted
    assert confusion is not None
    assert confusion.weighed is not None
    assert np.sum(confusion.weighed) == pytest.approx(rows.frame["w"].sum())
    recall = next(e.value for e in report.others if e.metric == "recall")
    assert confusion.weighed[1][1] / sum(confusion.weighed[1]) == pytest.approx(recall)
    text = evaluation_document(report, (), plan).markdown("3-evaluation")
    assert "Rows count by `w` in every figure" in text
    assert "Recall and precision are weighted" in text
    assert f"{100 * recall:.1f} %" in text
    assert "800 untouched rows, weighted" in report_lines(report)[0]
    assert "Rows count by their weight" in model_card(report, plan, ())
    assert "weighted" not in evaluation_document(small(run, untouched(run)), (), run.plan).markdown("3-evaluation")


def test_predicted_against_actual_shows_a_bias_and_a_useless_model() -> None:
    run = toy_run("regression", metric="rmse", weights=3.0)
    fair = small(run, untouched(run, 2000))
    assert fair.bias is not None
    assert fair.bias.low < 0 < fair.bias.high
    assert sum(b.n for b in fair.values) == 2000
    assert sum(b.low <= b.predicted <= b.high for b in fair.values) >= 7
    assert not any("R²" in w for w in fair.worries)
    rows = untouched(run, 2000)
    raised = Dataset(rows.frame.with_columns(pl.col("label") - 20), rows.schema, "")
    off = small(run, raised)
    assert off.bias is not None
    assert off.bias.low < 20 < off.bias.high
    assert any("R²" in w and "worse than the mean" in w for w in off.worries)
    text = evaluation_document(off, (), run.plan).markdown("3-evaluation")
    assert "## Predicted against actual" in text
    assert "too high on average" in text


@pytest.mark.parametrize("name", ["rows", "level"])
def test_a_column_may_have_any_name(name: str) -> None:
    column = pl.Series(name, ["a", "b", "a", None])
    assert Levels.of(column, 4, 8).names == ("a", "b")
    for kind in ("category", "text"):
        schema = Schema((Column(name, kind, "feature", "string", levels=("a", "b")),), "regression", ())  # type: ignore[arg-type]
        assert synthetic(column.to_frame(), schema, 0)[name].drop_nulls().len() > 0


@given(st.lists(st.integers(0, 6), min_size=1, max_size=200), st.integers(0, 60))
def test_merged_bins_hold_every_row_and_none_holds_too_few(values: list[int], least: int) -> None:
    column = pl.Series("v", values)
    levels = Levels.of(column, 4, 8)
    merged = levels.merged(column, least)
    counts = np.bincount(merged.codes(column), minlength=len(merged))
    assert counts.sum() == len(values)
    assert len(merged) == 2 or counts[:-1].min() >= least
    assert set(merged.edges) <= set(levels.edges)  # type: ignore[arg-type]


def test_a_card_with_one_group_of_enough_data_gives_no_range() -> None:
    run = toy_run(sensitive=("rare",))
    card = model_card(small(run, untouched(run)), run.plan, ())
    assert "for common (n = 792), the only group with enough data" in card
    assert "runs from" not in card


def test_nothing_is_said_of_slices_where_there_are_none(judged: tuple[Run, Report]) -> None:
    run, report = judged
    bare = dataclasses.replace(report, slices=(), baselines=report.baselines[:1])
    text = evaluation_document(bare, (), run.plan).markdown("3-evaluation")
    assert "Slices" not in text
    assert "1 simple predictor," in text
