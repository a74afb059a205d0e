"""LightGBM: training, raw scores, and its model text as a forest.

References
----------
Ke, G. et al. (2017). LightGBM: a highly efficient gradient boosting decision tree. NeurIPS 30.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard.core.errors import FamilyError
from modelyard.core.optional import need
from modelyard.data.dataset import Floats
from modelyard.families.tabular.booster import THREADS, Boosted, Request, Sample, losses
from modelyard.families.tabular.forest import Forest, Tree, floor_single, plant
from modelyard.families.tabular.inputs import Singles
from modelyard.families.tabular.parsed import Parsed

OBJECTIVE = {
    "logistic": "binary",
    "softmax": "multiclass",
    "squared": "regression",
    "absolute": "regression_l1",
    "quantile": "quantile",
    "poisson": "poisson",
    "tweedie": "tweedie",
}
MISSING_ZERO, MISSING_NAN = 1, 2
ZERO = np.float32(1e-35)
"""Numbers this near to zero LightGBM reads as zero."""

TREES_AT_ONCE = 288
"""Trees that all rows are sent through before the next: a row that goes through thousands finds none in the cache."""


class LightGBM:
    """The `Library` of LightGBM."""

    def train(self, request: Request) -> Boosted:
        """Train a booster; the text leaves out LightGBM's own copy of the parameters, which name the machine."""
        lgb = _package()
        given, directions = request.parameters, request.directions
        parameters = {
            "objective": OBJECTIVE[request.loss],
            **({"num_class": request.outputs} if request.loss == "softmax" else {}),
            **({"metric": "rmse"} if request.loss == "squared" else {}),
            **({"alpha": request.at} if request.loss == "quantile" else {}),
            **({"tweedie_variance_power": request.at} if request.loss == "tweedie" else {}),
            "learning_rate": given["learning_rate"],
            "num_leaves": given["leaves"],
            "min_data_in_leaf": given["min_data_in_leaf"],
            "min_sum_hessian_in_leaf": 1e-2,
            "lambda_l2": given["l2"],
            "bagging_fraction": given["subsample"],
            "bagging_freq": 1 if given["subsample"] < 1 else 0,
            "feature_fraction": given["columns"],
            "extra_trees": given.get("extra", False),
            # "advanced" lets answers fall where columns or rows are sampled, as of LightGBM 4.7.
            **({"monotone_constraints": directions, "monotone_constraints_method": "basic"} if directions else {}),
            "boost_from_average": False,
            "feature_pre_filter": False,
            "deterministic": True,
            "force_row_wise": True,
            "seed": request.seed,
            "num_threads": THREADS,
            "verbosity": -1,
        }
        learn = _dataset(request.learn, request.outputs)
        sets, names = [learn], ["train"]
        if request.stop is not None:
            sets.append(_dataset(request.stop, request.outputs, learn))
            names.append("stop")
        seen: dict[str, dict[str, list[float]]] = {}
        grown: list[int] = []
        calls: list[Any] = [lgb.record_evaluation(seen), _count(grown), _guard(request, lgb)]
        if request.stops:
            calls.append(lgb.early_stopping(request.patience, verbose=False))
        booster = lgb.train(parameters, learn, request.most, valid_sets=sets, valid_names=names, callbacks=calls)
        rounds = request.most if request.rounds is not None else booster.best_iteration or len(grown)
        # A round that finds no split adds no tree; and no trees at all would mean "every tree" to LightGBM.
        rounds = next((i for i, trees in enumerate(grown, start=1) if i >= rounds and trees), len(grown))
        text = booster.model_to_string(num_iteration=grown[rounds - 1])
        return Boosted(
            text[: text.index("\nparameters:")] + "\n",
            rounds,
            losses(seen, "train", rounds),
            losses(seen, "stop", rounds),
        )

    def raw(self, text: str, x: Singles) -> Floats:
        """Return scores [n, outputs]."""
        booster = _booster(text)
        rounds, outputs = booster.current_iteration(), booster.num_model_per_iteration()
        at_once = max(1, TREES_AT_ONCE // outputs)
        scores = np.zeros((len(x), outputs))
        for start in range(0, rounds, at_once):
            some = booster.predict(x, start_iteration=start, num_iteration=at_once, raw_score=True, num_threads=THREADS)
            scores += np.asarray(some, dtype=np.float64).reshape(scores.shape)
        return scores

    def leaves(self, text: str) -> list[int]:
        """Return the leaves of each tree."""
        return [int(count) for count in re.findall(r"^num_leaves=(\d+)$", text, re.MULTILINE)]

    def forest(self, text: str) -> Forest:
        """Return the model text as a forest: NaN takes the side of 0 where a column had none in training."""
        head, *trees = text.split("\nTree=")
        outputs = int(_fields(head)["num_tree_per_iteration"])
        return plant([_tree(tree, i % outputs) for i, tree in enumerate(trees)])


def gains(text: str, features: int) -> Floats:
    """Return what each feature's splits took off the loss in a model text, of shape [features]."""
    total = np.zeros(features)
    for tree in text.split("\nTree=")[1:]:
        fields = _fields(tree)
        if int(fields["num_leaves"]) > 1:
            split = np.array(fields["split_feature"].split(), dtype=np.int64)
            np.add.at(total, split, np.array(fields["split_gain"].split(), dtype=np.float64))
    return total


def _package() -> Any:
    return need("lightgbm", "train", "A LightGBM candidate")


@Parsed
def _booster(text: str) -> Any:
    return _package().Booster(model_str=text)


def _dataset(sample: Sample, outputs: int, reference: Any = None) -> Any:
    start = sample.start if outputs > 1 else sample.start[:, 0]
    return _package().Dataset(
        sample.x,
        sample.y,
        weight=sample.weight,
        init_score=start,
        reference=reference,
        free_raw_data=False,
        params={"verbosity": -1, "feature_pre_filter": False, "num_threads": THREADS},
    )


def _count(grown: list[int]) -> Any:
    """Return a callback that writes down how many rounds had trees, after each round."""

    def count(env: Any) -> None:
        grown.append(env.model.current_iteration())

    count.order = 20  # type: ignore[attr-defined]  # before early stopping, which LightGBM runs as number 30
    return count


def _guard(request: Request, lgb: Any) -> Any:
    best: list[tuple[float, int]] = []

    def stop(env: Any) -> None:
        best.append((env.evaluation_result_list[-1][2], env.iteration))  # the rows to stop by are the last of the sets
        if request.late():
            raise lgb.callback.EarlyStopException(min(best)[1], env.evaluation_result_list)

    stop.order = 40  # type: ignore[attr-defined]  # after early stopping, which LightGBM runs as number 30
    return stop


def _beside_zero(threshold: NDArray[np.float32]) -> NDArray[np.float32]:
    """Move thresholds off the values that LightGBM reads as zero, so that those fall where zero falls."""
    below = np.nextafter(-ZERO, np.float32(-np.inf))
    moved = np.where((threshold >= -ZERO) & (threshold < 0), below, threshold)
    return np.where((moved >= 0) & (moved < ZERO), ZERO, moved).astype(np.float32)


def _fields(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.splitlines() if "=" in line)


def _tree(block: str, target: int) -> Tree:
    fields = _fields(block)
    leaves = int(fields["num_leaves"])
    inner = leaves - 1
    if int(fields.get("num_cat", "0")):
        raise FamilyError("A LightGBM tree splits on a set of categories, which the graph has no node for.")
    value = np.array(fields["leaf_value"].split(), dtype=np.float64)
    feature = np.full(inner + leaves, -1, dtype=np.int64)
    threshold = np.zeros(inner + leaves, dtype=np.float32)
    left, right = np.zeros((2, inner + leaves), dtype=np.int64)
    nan_left = np.zeros(inner + leaves, dtype=np.bool_)
    mass = np.ones(inner + leaves)
    if inner:
        kind = np.array(fields["decision_type"].split(), dtype=np.int64)
        missing = (kind >> 2) & 3
        if (missing == MISSING_ZERO).any():
            raise FamilyError("A LightGBM tree treats zero as missing, which the graph has no node for.")
        border = np.array(fields["threshold"].split(), dtype=np.float64)
        feature[:inner] = np.array(fields["split_feature"].split(), dtype=np.int64)
        threshold[:inner] = _beside_zero(floor_single(border))
        nan_left[:inner] = np.where(missing == MISSING_NAN, (kind & 2) > 0, border >= 0.0)
        mass[:] = f"{fields['internal_count']} {fields['leaf_count']}".split()
        for side, name in ((left, "left_child"), (right, "right_child")):
            child = np.array(fields[name].split(), dtype=np.int64)
            side[:inner] = np.where(child >= 0, child, inner + ~child)
    leaf = np.arange(inner, inner + leaves, dtype=np.int64)
    one = np.array([target], dtype=np.int64)
    return Tree(feature, threshold, left, right, nan_left, mass, leaf, one, value[:, None])
