"""Category tables and the graph's layout: what must hold for any codes and labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.families.tabular.derived import DIFFERENCE, PRODUCT, RATIO, Derived
from modelyard.families.tabular.forest import Forest, Tree, merge, plant
from modelyard.families.tabular.inputs import Inputs, find_levels, read_inputs
from modelyard.families.tabular.layout import Layout, vocabulary
from modelyard.families.tabular.tables import BLOCKS, LEAST, SMOOTHING, blocks, cross_fit, fit_tables, look_up, targets
from tabular_cases import parts, rows_of

LEVELS = st.lists(st.text(min_size=1, max_size=3), unique=True, max_size=6).map(tuple)


@st.composite
def coded(draw):
    rows, size = draw(st.integers(10, 60) | st.just(1_000)), draw(st.integers(1, 20) | st.just(300))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    codes = rng.integers(0, size + 2, (rows, 1)).astype(np.int32)
    return Inputs(np.zeros((rows, 0), dtype=np.float32), codes), size, rng.integers(0, 2, rows), rng


@settings(max_examples=50, deadline=None)
@given(coded())
def test_no_row_sees_its_own_label(case):
    inputs, size, truth, rng = case
    weights = rng.uniform(0.5, 2.0, len(truth))
    block = blocks(len(truth), 0, None)
    row = int(rng.integers(len(truth)))
    turned = truth.copy()
    turned[row] = 1 - turned[row]
    seen = []
    for labels in (truth, turned):
        target = targets(labels, 2)
        tables = fit_tables(inputs.codes, [size], target, weights)
        seen.append(cross_fit(inputs, tables, target, weights, block)[row])
    np.testing.assert_array_equal(seen[0], seen[1])


def test_levels_keep_their_order_where_classes_are_too_many_for_means():
    codes, weights = np.array([[2], [2], [0], [1], [3], [4]], dtype=np.int32), np.ones(6)
    many, few = (fit_tables(codes, [3], targets(np.arange(6) % k, k), weights)[0] for k in (7, 6))
    np.testing.assert_array_equal(many[:, 1], np.arange(5))
    assert many.shape[1] == 2
    assert few.shape[1] == 1 + 6


def test_groups_stay_in_one_block():
    groups = np.repeat(np.arange(20), 5)
    dealt = blocks(100, 1, groups)
    assert all(len(set(dealt[groups == g])) == 1 for g in range(20))
    assert set(dealt) == set(range(BLOCKS))


def test_means_do_not_tell_when_a_row_was():
    """A label that rises with time, levels that say nothing of it: a mean that knew its span would."""
    rng = np.random.default_rng(0)
    times = np.arange(2_000.0)
    inputs = Inputs(np.zeros((2_000, 0), dtype=np.float32), rng.integers(0, 400, (2_000, 1)).astype(np.int32))
    target, weights = targets(times / times.std(), 0), np.ones(2_000)
    tables = fit_tables(inputs.codes, [400], target, weights)
    means = cross_fit(inputs, tables, target, weights, blocks(2_000, 0, None))[:, -1]
    assert abs(np.corrcoef(means, times)[0, 1]) < 0.1


def test_a_table_holds_rank_count_and_smoothed_mean():
    codes = np.array([[0]] * 30 + [[1]] * 10 + [[14]] * 5, dtype=np.int32)
    truth = np.array([1] * 15 + [0] * 15 + [1] * 10 + [0] * 5)
    (table,) = fit_tables(codes, [13], targets(truth, 2), np.ones(45))
    prior = truth.mean()
    assert table.shape == (15, 3)
    np.testing.assert_allclose(table[0], [0, 30, (15 + SMOOTHING * prior) / (30 + SMOOTHING)], rtol=1e-6)
    np.testing.assert_allclose(table[1], [1, 10, (10 + SMOOTHING * prior) / (10 + SMOOTHING)], rtol=1e-6)
    np.testing.assert_allclose(table[14], [-1, 5, SMOOTHING * prior / (5 + SMOOTHING)], rtol=1e-6)
    np.testing.assert_allclose(table[13], [13, 0, prior], rtol=1e-6)
    np.testing.assert_array_equal(table[13], table[7])  # in no row: as if unseen


@pytest.mark.parametrize(("apart", "worth"), [(0.5, 4.0), (1.0, 1.0), (5.0, LEAST), (0.1, SMOOTHING)])
def test_the_less_a_column_of_many_levels_says_the_more_its_means_are_shrunk(apart, worth):
    """Levels `apart` as a normal deviate beside rows that deviate by 1: their own mean is best at 1 / apart^2 rows."""
    rng = np.random.default_rng(0)
    level = np.concatenate([rng.integers(0, 2_000, 11_999), [2_000]])  # the last stands alone
    truth = rng.normal(0, apart, 2_001)[level] + rng.normal(0, 1, 12_000)
    codes, weights = level[:, None].astype(np.int32), np.ones(12_000)
    target = targets(truth, 0)
    (table,) = fit_tables(codes, [2_001], target, weights)
    prior, alone = truth.mean(), truth[-1]
    found = (alone - table[2_000, -1]) / (table[2_000, -1] - prior)
    assert found == pytest.approx(worth, rel=0.15)
    inputs, block = Inputs(np.zeros((12_000, 0), dtype=np.float32), codes), blocks(12_000, 0, None)
    means = [
        cross_fit(inputs, (table,), targets(np.array(y), 0), weights, block)[-1, -1]
        for y in (truth, (*truth[:-1], 9.0))
    ]
    assert means[0] == means[1] == pytest.approx(truth[block != block[-1]].mean())


@pytest.mark.parametrize(("classes", "width"), [(0, 1), (2, 1), (3, 3), (6, 6), (7, 0)])
def test_means_are_kept_for_up_to_six_classes(classes, width):
    assert targets(np.arange(20) % max(classes, 2), classes).shape == (20, width)


def test_levels_are_sorted_and_unknown_ones_have_their_own_code():
    data = parts("binary").development
    levels = find_levels(data)
    assert levels[1] == ("blå", "grøn", "hvit", "rød")  # columns stand by name: city, then colour
    given_rows = rows_of(
        data,
        {name: [None] * 3 for name in data.frame.columns if name not in {"label", "colour"}}
        | {"colour": ["rød", "mauve", None]},
    )
    codes = read_inputs(given_rows, levels).codes
    assert codes[:, 1].tolist() == [3, 4, 5]
    assert (codes[:, 0] == len(levels[0]) + 1).all()


@settings(max_examples=50, deadline=None)
@given(st.tuples(*[st.lists(st.text(min_size=1, max_size=3), unique=True, max_size=6).map(tuple)] * 2))
def test_a_word_finds_the_row_of_its_level_in_every_column(whole):
    words, rows = vocabulary(whole)
    start = 0
    for column, known in enumerate(whole):
        place = dict(zip(words, rows[:, column], strict=False))
        assert [place[level] for level in known] == list(range(start, start + len(known)))
        assert rows[-1, column] == start + len(known)
        assert place[""] == start + len(known) + 1
        assert all(place[w] == rows[-1, column] for w in words[1:] if w not in known)
        start += len(known) + 2


def test_equal_figures_are_laid_out_once():
    levels = (("a", "b"), ("x",))
    tables = (np.arange(8, dtype=np.float32).reshape(4, 2), np.ones((3, 1), dtype=np.float32))
    layout = Layout(3, levels)
    first = layout.place(tables, Derived.none(), np.array([0, 3, 4, 5]))
    again = layout.place(tables, Derived.none(), np.array([1, 4]))
    assert layout.positions(first).tolist() == [0, -1, -1, 3, 4, 5]
    assert layout.positions(again).tolist() == [-1, 1, -1, -1, 4, -1]
    assert layout.width == 2
    np.testing.assert_array_equal(layout.table()[:4], tables[0])
    np.testing.assert_array_equal(layout.table()[4:, 0], 1.0)


def test_derived_numbers_stand_between_numbers_and_figures_those_of_a_kind_together():
    levels = (("a", "b"),)
    tables = (np.arange(4, dtype=np.float32)[:, None],)
    layout = Layout(2, levels)
    first = layout.place(tables, Derived(np.array([[RATIO, 0, 1], [PRODUCT, 0, 1]])), np.array([1, 2, 3, 4]))
    again = layout.place(tables, Derived(np.array([[PRODUCT, 0, 1], [DIFFERENCE, 0, 1]])), np.array([2, 4]))
    assert layout.derived.pairs.tolist() == [[PRODUCT, 0, 1], [RATIO, 0, 1]]  # the difference no split reads
    assert layout.positions(first).tolist() == [-1, 1, 3, 2, 4]
    assert layout.positions(again).tolist() == [-1, -1, 2, -1, 4]


def stump(threshold: float, low: float, high: float) -> Tree:
    return Tree(
        feature=np.array([0, -1, -1]),
        threshold=np.array([threshold, 0, 0], dtype=np.float32),
        left=np.array([1, 0, 0]),
        right=np.array([2, 0, 0]),
        nan_left=np.array([True, False, False]),
        mass=np.array([3.0, 2.0, 1.0]),
        leaf=np.array([1, 2]),
        target=np.array([0]),
        value=np.array([[low], [high]]),
    )


def walk(forest: Forest, x: float) -> float:
    total = 0.0
    for root in forest.roots:
        node = root
        while forest.feature[node] >= 0:
            left = bool(forest.nan_left[node]) if np.isnan(x) else np.float32(x) <= forest.threshold[node]
            node = (forest.left if left else forest.right)[node]
        total += float(forest.value[forest.leaf == node].sum())
    return total


@given(
    st.lists(st.tuples(*[st.floats(-10, 10)] * 3), min_size=1, max_size=8), st.floats(-12, 12) | st.just(float("nan"))
)
def test_merging_and_ordering_trees_changes_no_sum(stumps, x):
    one = plant([stump(*s) for s in stumps])
    both = merge([one, plant([stump(0.5, -1.0, 2.0)])])
    order = both.smallest_first()
    ordered = both.take(order)
    assert walk(both, x) == pytest.approx(walk(one, x) + walk(plant([stump(0.5, -1.0, 2.0)]), x))
    assert walk(ordered, x) == pytest.approx(walk(both, x))
    parted = walk(both.take(order[::2]), x) + walk(both.take(order[1::2]), x)
    assert parted == pytest.approx(walk(both, x))
    sizes = [np.abs(ordered.value[(ordered.leaf >= r) & (ordered.leaf < r + 3)]).max() for r in ordered.roots]
    assert sizes == sorted(sizes)


def test_rows_the_tables_learnt_from_and_new_rows_share_everything_but_the_mean():
    data = parts("regression").development
    levels = find_levels(data)
    inputs = read_inputs(data, levels)
    target = targets(data.truth(), 0)
    weights = np.ones(len(data))
    tables = fit_tables(inputs.codes, [len(known) for known in levels], target, weights)
    learnt = cross_fit(inputs, tables, target, weights, blocks(len(data), 0, None))
    new = look_up(inputs, tables)
    means = np.cumsum([5, *(t.shape[1] for t in tables)])[1:] - 1
    others = np.setdiff1d(np.arange(new.shape[1]), means)
    np.testing.assert_array_equal(learnt[:, others], new[:, others])
    assert not np.allclose(learnt[:, means], new[:, means])
