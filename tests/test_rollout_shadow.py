"""What a shadow counts of its candidate: whatever it answers, one call for a batch, times of both versions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bundles import CITIES, ROW, Stumps, blend, draft, make, table
from modelyard.bundle.load import load_bundle
from modelyard.bundle.write import write_bundle
from modelyard.core.canonical import to_plain
from modelyard.data.profile import Profile
from modelyard.serving.metrics import Metrics
from modelyard.serving.rollout.board import (
    ARM,
    BESIDE,
    CANDIDATE,
    DIFFERENCE,
    ERRORS,
    LATENCIES,
    LATENCY,
    MILLION,
    PAIRS,
    REQUESTS,
    STABLE,
    WRONG,
    Board,
)
from modelyard.serving.rollout.router import latency_bin
from modelyard.serving.rollout.shadow import Scorer
from modelyard.serving.rollout.times import times_lines, times_of
from modelyard.serving.version import Version, version

ROWS = [{**ROW, "age": 20 + i % 60, "city": CITIES[i % 3]} for i in range(256)]


def served(path: Path) -> Version:
    return version(load_bundle(path), Metrics("churn"))


def spoilt(folder: Path, value: float, task: str = "regression", city: int | None = None) -> Path:
    """Write a bundle that adds `value` to every answer, or to those of one city alone."""
    data = table(task)
    made = blend(task, data)
    ((fitted, weight),) = made.members
    cities = fitted.arrays["cities"].copy()
    cities[slice(None) if city is None else city] += np.float32(value)
    made = replace(made, members=((replace(fitted, arrays={**fitted.arrays, "cities": cities}), weight),))
    export = Stumps().export(made, data)
    return write_bundle(folder, draft(data.schema, export), export, profile=Profile(12, ()), card="#", examples=[ROW])


def answered(by: Version, rows) -> list:
    checked = [by.bundle.schema.check_row(row) for row in rows]
    return [(row, found.plain()) for row, found in zip(rows, by.predictor.predict(checked), strict=True)]


@pytest.fixture
def board(tmp_path):
    board = Board(tmp_path / "rollouts", "churn")
    yield board
    board.close()


@pytest.mark.parametrize("value", [1e30, 3e38, -1e30])
def test_a_candidate_that_answers_far_beyond_the_label_is_counted_like_any_other(tmp_path, board, value):
    stable, far = served(make(tmp_path / "stable", "regression")), served(spoilt(tmp_path / "far", value))
    Scorer(far, board).compare(answered(stable, ROWS))
    counted = board.sums()[CANDIDATE]
    assert [counted[at] for at in (REQUESTS, ERRORS, PAIRS, WRONG)] == [256, 0, 256, 256]
    assert counted[DIFFERENCE] == 256 * MILLION  # each counts as the whole range of the label


def test_values_differ_by_shares_of_the_labels_range_and_chances_as_they_are(tmp_path, board):
    stable = served(make(tmp_path / "stable", "regression"))
    for shift, wrong in ((4.0, 0), (6.0, 256)):  # the label goes from 0 to 500: numbers agree within 5
        before = board.sums()[CANDIDATE]
        Scorer(served(spoilt(tmp_path / f"by-{shift}", shift)), board).compare(answered(stable, ROWS))
        counted = board.sums()[CANDIDATE] - before
        assert counted[WRONG] == wrong
        assert counted[DIFFERENCE] / MILLION / 256 == pytest.approx(shift / 500, rel=1e-3)
    before = board.sums()[CANDIDATE]
    stable, other = served(make(tmp_path / "chances")), served(spoilt(tmp_path / "other", 1.0, "binary"))
    pairs = answered(stable, ROWS)
    expected = np.mean(
        [
            abs(here["probabilities"]["1"] - there["probabilities"]["1"])
            for (_, here), (_, there) in zip(pairs, answered(other, ROWS), strict=True)
        ]
    )
    Scorer(other, board).compare(pairs)
    assert (board.sums()[CANDIDATE] - before)[DIFFERENCE] / MILLION / 256 == pytest.approx(expected, abs=2e-6)


def test_a_batch_is_one_call_and_a_row_that_spoils_it_is_counted_alone(tmp_path, board):
    stable = served(make(tmp_path / "stable", "regression"))
    candidate = served(spoilt(tmp_path / "infinite", np.inf, city=1))
    calls, run = [], candidate.bundle.runtime.run

    def counting(names, inputs, *more):
        calls.append(len(inputs["numbers"]))
        return run(names, inputs, *more)

    candidate.bundle.runtime.run = counting
    fine = [row for row in ROWS if row["city"] != CITIES[1]]
    Scorer(candidate, board).compare(answered(stable, fine))
    assert calls == [len(fine)]
    bad = {**ROW, "city": CITIES[1]}
    Scorer(candidate, board).compare(answered(stable, [*fine[:100], bad, *fine[100:]]))
    counted = board.sums()[CANDIDATE]
    assert counted[REQUESTS] == 2 * len(fine) + 1
    assert (counted[ERRORS], counted[PAIRS], counted[WRONG]) == (1, 2 * len(fine), 0)
    assert len(calls) < 25  # halves of halves, and not every row by itself
    Scorer(candidate, board).compare([({**ROW, "age": "old"}, {"prediction": 1.0, "served_by": "model"})])
    assert board.sums()[CANDIDATE, ERRORS] == 2


def test_one_row_of_each_batch_is_timed_by_both(tmp_path, board):
    stable, slow = served(make(tmp_path / "stable")), served(make(tmp_path / "slow", facts={"trees": 2}))
    run = slow.bundle.runtime.run

    def works(*arguments):
        return [run(*arguments) for _ in range(200)][-1]

    scorer = Scorer(slow, board)
    scorer.compare(answered(stable, ROWS))
    assert board.sums()[CANDIDATE, BESIDE:].sum() == 0  # what serves could not be loaded: nothing to compare with
    slow.bundle.runtime.run = works
    scorer.stable = stable
    rows = answered(stable, ROWS[:3])
    batches = 0
    while board.sums()[CANDIDATE, LATENCY:].sum() < 9:
        scorer.compare(rows[:1])  # a row as slow to score
        batches += 1
        assert batches < 5_000
    assert batches > 9  # most of the time is for scoring
    counted = board.sums()
    times = times_of(counted[CANDIDATE, BESIDE:])
    assert times.rows == 9
    assert times.median[0] > 20 * times.median[1] > 0
    assert times.p99 is None
    assert not counted[STABLE].any()  # what callers waited for is another matter
    line = "\n".join(times_lines(to_plain(times)))
    assert "n = 9" in line
    assert "p99" not in line


def test_times_are_told_as_medians_and_as_p99s_where_rows_suffice():
    took = np.zeros((2, LATENCIES), np.int64)
    assert times_of(took.ravel()) is None
    assert times_lines(None) == []
    for seconds, rows in ((1e-4, 195), (5e-3, 5)):
        took[0, latency_bin(seconds)] += rows
        took[1, latency_bin(3 * seconds)] += rows
    times = times_of(took.ravel())
    assert times.median == pytest.approx((3e-4, 1e-4), rel=0.06)
    assert times.p99 == pytest.approx((15e-3, 5e-3), rel=0.06)
    assert times_lines(to_plain(times))[0].count("beside") == 2
    assert BESIDE + LATENCIES == LATENCY == ARM - LATENCIES
