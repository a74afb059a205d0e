"""Conformal bounds: what is promised holds on rows, groups and classes that are exchangeable, whatever the errors."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.core.canonical import from_json
from modelyard.core.errors import BundleError
from modelyard.uncertainty import conformal
from modelyard.uncertainty.conformal import Intervals, Sets, intervals, sets, unit_weights, units_needed
from modelyard.uncertainty.uncertainty import COVERAGES, Bounds

Z = 4.0
"""Standard errors allowed: a right program fails one comparison in 15,000."""
Rows = tuple[np.ndarray, np.ndarray]


def spread(coverage: float, units: int, tested: int, times: int) -> float:
    """Return the standard error of a mean coverage: of bounds made from so many units, on so many rows, so many times.

    A bound's own coverage is a Beta variable with variance c (1 - c) / (n + 2); rows are binomial around it.
    """
    return float(np.sqrt(coverage * (1 - coverage) * (1 / (units + 2) + 1 / tested) / times))


def normal(random: np.random.Generator, n: int) -> Rows:
    x = random.normal(size=n)
    return x, x + random.normal(size=n)


def widening(random: np.random.Generator, n: int) -> Rows:
    x = random.uniform(0, 3, n)
    return x, x + x * random.normal(size=n)


def skewed(random: np.random.Generator, n: int) -> Rows:
    x = random.normal(size=n)
    return x, x + random.exponential(size=n) ** 2


def heavy(random: np.random.Generator, n: int) -> Rows:
    x = random.normal(size=n)
    return x, x + random.standard_cauchy(n)


def tied(random: np.random.Generator, n: int) -> Rows:
    x = random.integers(0, 3, n).astype(float)
    return x, x + random.integers(-2, 3, n)


@pytest.mark.parametrize("draw", [normal, widening, skewed, heavy, tied])
@pytest.mark.parametrize(("units", "times"), [(4, 1000), (19, 500), (60, 300), (400, 120), (2500, 30)])
def test_intervals_hold_on_exchangeable_rows(
    draw: Callable[[np.random.Generator, int], Rows], units: int, times: int
) -> None:
    tested, held = 200, {}
    for seed in range(times):
        random = np.random.default_rng([units, seed])
        made = intervals(*draw(random, units), COVERAGES)
        x, y = draw(random, tested)
        for one in made:
            low, high = one(x).T
            held.setdefault(one.coverage, []).append(np.mean((low <= y) & (y <= high)))
    assert set(held) == {c for c in COVERAGES if units >= units_needed(c)}
    for coverage, shares in held.items():
        error = Z * spread(coverage, units, tested, times)
        assert np.mean(shares) >= coverage - error
        if draw is not tied:
            # Each end of each bin errs by at most one unit of its own to the safe side.
            bins = max(1, min(10, units // 200))
            ends = 2 if units >= 200 else 1
            assert np.mean(shares) <= coverage + ends * bins / (units + bins) + error


def test_width_follows_the_size_of_the_errors() -> None:
    random = np.random.default_rng(0)
    (one,) = intervals(*widening(random, 5000), (0.9,))
    x, y = widening(random, 20_000)
    low, high = one(x).T
    for first, last in ((0, 1), (1, 2), (2, 3)):
        where = (first <= x) & (x < last)
        # Within a bin errors still grow: to a tenth of the range they hold as promised.
        assert np.mean(((low <= y) & (y <= high))[where]) == pytest.approx(0.9, abs=0.03)
    assert np.mean((high - low)[x > 2.5]) > 5 * np.mean((high - low)[x < 0.5])


def grouped(random: np.random.Generator, groups: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of groups of very different sizes whose errors are mostly their group's."""
    sizes = random.integers(1, 30, groups)
    codes = np.repeat(np.arange(groups), sizes)
    x = random.normal(size=len(codes))
    return x, x + random.normal(0, 2, groups)[codes] + random.normal(0, 0.5, len(codes)), codes


@pytest.mark.parametrize("units", [12, 40])
def test_intervals_hold_for_a_new_group_where_rows_alone_would_not(units: int) -> None:
    times = 1500
    ours, naive = [], []
    for seed in range(times):
        random = np.random.default_rng([units, seed])
        x, y, codes = grouped(random, units)
        new_x, new_y, _ = grouped(random, 1)
        for made, shares in ((intervals(x, y, (0.9,), groups=codes), ours), (intervals(x, y, (0.9,)), naive)):
            low, high = made[0](new_x).T
            shares.append(np.mean((low <= new_y) & (new_y <= high)))
    # One new group at a time: its share varies by no more than a coin that falls right nine times in ten.
    error = Z * np.sqrt(0.9 * 0.1 / times)
    assert np.mean(ours) >= 0.9 - error
    assert np.mean(ours) <= 0.9 + 2 / (units + 1) + error
    if units == 12:  # of more groups the pooled rows show more and more of what a new one may be
        assert np.mean(naive) < 0.9 - error


def classes(random: np.random.Generator, n: int, rare: float = 0.03) -> tuple[np.ndarray, np.ndarray]:
    """Honest probabilities of three classes, the last of them rare and hard to tell."""
    codes = random.choice(3, n, p=[0.6, 0.4 - rare, rare])
    x = random.normal(size=n) + np.array([0.0, 2.0, 1.0])[codes]
    like = np.exp(-0.5 * (x[:, None] - np.array([0.0, 2.0, 1.0])) ** 2) * np.array([0.6, 0.4 - rare, rare])
    return like / like.sum(axis=1, keepdims=True), codes


def test_sets_hold_for_each_class_and_a_rare_one_too() -> None:
    units, tested, times = 3000, 4000, 40
    held = {c: np.zeros((times, 3)) for c in COVERAGES}
    for seed in range(times):
        random = np.random.default_rng(seed)
        p, codes = classes(random, tested)
        for one in made_of(*classes(random, units)):
            chosen = one(p, p.argmax(axis=1))[np.arange(tested), codes]
            held[one.coverage][seed] = [chosen[codes == k].mean() for k in range(3)]
    p, codes = classes(np.random.default_rng(times), 200_000)
    for coverage, shares in held.items():
        for k, share in enumerate((0.6, 0.37, 0.03)):
            own = 0.8 * share  # of a class there are seldom fewer rows than that
            right = float(np.mean(p[codes == k].argmax(axis=1) == k))
            promised = max(coverage, right)  # the answer is always in the set
            error = Z * spread(promised, int(units * own), int(tested * own), times)
            assert shares[:, k].mean() >= promised - error
            assert shares[:, k].mean() <= promised + 1 / (units * own) + error


def made_of(p: np.ndarray, codes: np.ndarray, coverages: tuple[float, ...] = COVERAGES) -> tuple[Sets, ...]:
    """The sets of answers that are the likeliest class."""
    return sets(p, p.argmax(axis=1), codes, coverages)


def logits(random: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities of three classes, the first of them nearly certain where it is true, the others alike."""
    codes = random.choice(3, n, p=[0.4, 0.3, 0.3])
    x, sure = random.normal(size=n) + np.array([0.0, 0.0, 2.0])[codes], random.normal(size=n)
    first = 8.0 * (codes == 0) - 4.0 + sure
    return np.stack([first, -0.5 * x**2, -0.5 * (x - 2) ** 2], axis=1), codes


def chances(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("surer", [0.0, 1.5])
def test_sets_hold_as_much_of_a_class_that_those_who_answer_are_surer_of(surer: float) -> None:
    # Models of every row push the certain class further up than those of the folds; which class they answer stays.
    units, tested, times = 2000, 2000, 60
    gaps = {c: np.zeros((times, 3)) for c in COVERAGES}
    naive = np.zeros(times)
    for seed in range(times):
        random = np.random.default_rng(seed)
        z, codes = logits(random, units)
        made = made_of(chances(z), codes)
        new, truth = logits(random, tested)
        new[:, 0] += surer * np.sign(new[:, 0])
        p = chances(new)
        for one in made:
            held = one(p, p.argmax(axis=1))[np.arange(tested), truth]
            right = [np.mean(z[codes == k].argmax(axis=1) == k) for k in range(3)]
            gaps[one.coverage][seed] = [held[truth == k].mean() - max(one.coverage, right[k]) for k in range(3)]
        least = np.quantile(chances(z)[codes == 0, 0], 0.2)
        naive[seed] = np.mean(p[truth == 0, 0] >= least)
    for coverage, found in gaps.items():
        # 0.3 of the rows are of the rarest class, seldom fewer than 0.25.
        error = Z * spread(coverage, units // 4, tested // 4, times)
        assert (np.abs(found.mean(axis=0)) <= error + 1 / (units // 4)).all()
    # A threshold between the certain class's own probabilities holds as promised only while they stay the same.
    assert naive.mean() == pytest.approx(0.8, abs=0.02) if surer == 0 else naive.mean() > 0.95


def test_a_set_says_what_it_held_out_of_fold() -> None:
    random = np.random.default_rng(4)
    p, codes = classes(random, 4000)
    for one in made_of(p, codes):
        assert one.held == pytest.approx(np.mean(one(p, p.argmax(axis=1))[np.arange(4000), codes]))
        right = [np.mean(p[codes == k].argmax(axis=1) == k) for k in range(3)]
        least = [max(one.coverage, r) for r in right]
        assert one.held == pytest.approx(np.average(least, weights=np.bincount(codes)), abs=3 / 50)
        assert [least == pytest.approx(1.0, rel=1e-4) for least in one.least] == [r >= one.coverage for r in right]


def test_a_record_that_does_not_say_what_was_held_is_still_read() -> None:
    one = from_json('{"coverage": 0.8, "least": [0.4, 0.6]}', Sets)
    assert np.isnan(one.held)
    assert one(np.array([[0.5, 0.5]]), np.array([1])).tolist() == [[True, True]]


def test_the_answer_is_in_every_set_and_alone_where_it_is_right_often_enough() -> None:
    p = np.array([[0.6, 0.4], [0.3, 0.7], [0.45, 0.55]])
    one = Sets(0.8, (1.0, 0.5), 0.9)
    assert one(p, np.array([0, 1, 0])).tolist() == [[True, False], [False, True], [True, True]]


def test_one_threshold_for_all_would_leave_a_rare_class_out(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    p, codes = classes(random, 20_000)
    made = classes(random, 5000)
    (own,) = made_of(*made, (0.9,))
    monkeypatch.setattr(conformal, "_OWN", 10**9)
    (shared,) = made_of(*made, (0.9,))
    assert len(set(shared.least)) == 1
    rare, answered = codes == 2, p.argmax(axis=1)
    assert own(p, answered)[rare, 2].mean() > 0.85
    assert shared(p, answered)[rare, 2].mean() < 0.1
    assert shared(p, answered)[np.arange(len(codes)), codes].mean() == pytest.approx(0.9, abs=0.02)


def test_a_class_too_rare_for_its_own_threshold_takes_that_of_all_rows() -> None:
    random = np.random.default_rng(2)
    p, codes = classes(random, 400, rare=0.05)
    few = int((codes == 2).sum())
    assert 0 < few < 50
    (one,) = made_of(p, codes, (0.9,))
    own = np.sort(np.where(p.argmax(axis=1) == codes, 1.0, p[np.arange(400), codes]))
    assert one.least[2] == pytest.approx(own[400 - int(np.ceil(0.9 * 401))], rel=1e-4)
    assert one.least[0] != one.least[2]


@pytest.mark.parametrize(
    ("units", "known"), [(0, ()), (3, ()), (4, (0.8,)), (8, (0.8,)), (9, (0.8, 0.9)), (18, (0.8, 0.9)), (19, COVERAGES)]
)
def test_too_few_units_give_no_bound_and_say_how_many_it_takes(units: int, known: tuple[float, ...]) -> None:
    random = np.random.default_rng(units)
    x, y = normal(random, units)
    made = intervals(x, y, COVERAGES)
    assert tuple(one.coverage for one in made) == known
    p = np.full((units, 2), 0.5)
    assert tuple(one.coverage for one in made_of(p, np.zeros(units, dtype=np.int64))) == known
    codes = np.repeat(np.arange(units), 3)
    assert tuple(o.coverage for o in intervals(np.repeat(x, 3), np.repeat(y, 3), COVERAGES, groups=codes)) == known
    bounds = Bounds(units, units, False, None, made)
    assert bounds.coverages == known
    for coverage in set(COVERAGES) - set(known):
        with pytest.raises(BundleError, match=f"takes {units_needed(coverage)} out-of-fold rows; there were {units}"):
            bounds.place(coverage)


def test_a_coverage_that_is_not_held_is_refused_with_those_that_are() -> None:
    bounds = Bounds(30, 30, False, None, (Intervals(0.8, (), (-1.0,), (1.0,)), Intervals(0.9, (), (-2.0,), (2.0,))))
    assert bounds.place(0.9) == 1
    with pytest.raises(BundleError, match=r"no bounds of coverage 0\.85") as caught:
        bounds.place(0.85)
    assert caught.value.allowed == "Coverages: 0.8, 0.9."


@settings(deadline=None, max_examples=60)
@given(
    st.integers(19, 900),
    st.sampled_from([normal, widening, skewed, heavy, tied]),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0, 3, 40]),
    st.booleans(),
)
def test_bounds_are_finite_nested_and_blind_to_the_order_of_rows(
    n: int, draw: Callable[[np.random.Generator, int], Rows], seed: int, size: int, weighted: bool
) -> None:
    random = np.random.default_rng(seed)
    x, y = draw(random, n)
    groups = random.integers(0, max(1, n // size), n) if size else None
    weights = random.uniform(0.5, 2, n) if weighted else None
    made = intervals(x, y, COVERAGES, groups=groups, weights=weights)
    asked = random.normal(size=50) * 10
    bounds = [one(asked) for one in made]
    assert all(np.isfinite(b).all() and (b[:, 0] <= b[:, 1]).all() for b in bounds)
    for narrow, wide in pairwise(bounds):
        assert (wide[:, 0] <= narrow[:, 0]).all()
        assert (narrow[:, 1] <= wide[:, 1]).all()
    order = random.permutation(n)
    again = intervals(
        x[order],
        y[order],
        COVERAGES,
        groups=None if groups is None else groups[order],
        weights=None if weights is None else weights[order],
    )
    if weights is None and groups is None:
        assert again == made
    else:  # sums of weights differ in their last bits
        assert [one.coverage for one in again] == [one.coverage for one in made]
    p = random.dirichlet([0.3] * 4, n)
    codes = random.integers(0, 4, n)
    answered = random.integers(0, 4, n)
    made = sets(p, answered, codes, COVERAGES, groups=groups, weights=weights)
    chosen = [one(p, answered) for one in made]
    for narrow, wide in pairwise(chosen):
        assert (wide >= narrow).all()


def test_sets_hold_what_they_promise_of_new_groups_not_of_rows() -> None:
    """Large groups are easy and small ones hard: rows alone would be held, groups would not."""
    random = np.random.default_rng(8)

    def drawn(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        sizes = np.where(np.arange(count) % 2, 1, 30)
        groups = np.repeat(np.arange(count), sizes)
        codes, hard = random.integers(0, 3, len(groups)), np.repeat(sizes == 1, sizes)
        other = (codes + 1) % 3
        given = np.where(hard, random.uniform(0, 0.3, len(groups)), 0.8)  # the true class's probability
        p = np.full((len(groups), 3), 0.0)
        p[np.arange(len(groups)), codes] = given
        p[np.arange(len(groups)), other] += np.where(hard, 1 - given, 0.2)
        return p, np.where(hard, other, codes), codes, groups

    p, answered, codes, groups = drawn(2_000)
    new = drawn(2_000)
    held = {}
    for by, name in ((groups, "groups"), (None, "rows")):
        (made,) = sets(p, answered, codes, (0.9,), groups=by)
        inside = made(new[0], new[1])[np.arange(len(new[2])), new[2]]
        of_class = [np.unique(new[3][new[2] == k], return_inverse=True)[1] for k in range(3)]
        held[name] = [
            np.mean(np.bincount(g, inside[new[2] == k]) / np.bincount(g)) for k, g in enumerate(of_class)
        ]  # each group of a class counts once
    assert held["groups"] == pytest.approx([0.9] * 3, abs=0.03)
    assert max(held["rows"]) < 0.8


def test_each_group_counts_once_and_rows_without_weight_not_at_all() -> None:
    shares, units = unit_weights(5, np.array([7, 7, 7, 2, 2]), None)
    assert units == 2
    np.testing.assert_allclose(shares, [1 / 3, 1 / 3, 1 / 3, 1 / 2, 1 / 2])
    shares, units = unit_weights(4, None, np.array([0.0, 1.0, 3.0, 0.0]))
    assert units == 2
    np.testing.assert_allclose(shares, [0.0, 0.5, 1.5, 0.0])
    random = np.random.default_rng(3)
    x, y = normal(random, 150)
    weights = np.where(np.arange(150) < 100, 1.0, 0.0)
    np.testing.assert_allclose(
        [one.high for one in intervals(x, y, COVERAGES, weights=weights)],
        [one.high for one in intervals(x[:100], y[:100], COVERAGES)],
        atol=1e-4,
    )
