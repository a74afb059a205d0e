"""CatBoost on numeric features: training, raw scores, and its JSON model as a forest.

References
----------
Prokhorenkova, L. et al. (2018). CatBoost: unbiased boosting with categorical features. NeurIPS 31.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from modelyard.core.errors import FamilyError
from modelyard.core.optional import need
from modelyard.data.dataset import Floats
from modelyard.families.tabular.booster import THREADS, Boosted, Request, Sample, losses
from modelyard.families.tabular.forest import Forest, Tree, plant
from modelyard.families.tabular.inputs import Singles
from modelyard.families.tabular.parsed import Parsed

OBJECTIVE = {
    "logistic": "Logloss",
    "softmax": "MultiClass",
    "squared": "RMSE",
    "absolute": "MAE",
    "quantile": "Quantile:alpha={at}",
    "poisson": "Poisson",
    "tweedie": "Tweedie:variance_power={at}",
}
LEAF_STEPS = {"logistic": 5, "poisson": 5}
"""Newton steps for each leaf, 1 for the others. CatBoost's own choice depends on the most rounds, so that a replay
would differ."""
UNEVEN_STEPS = 10
"""Gradient steps for each leaf where a quantile's rows weigh unequally: CatBoost's exact way ignores weights."""
KEPT = ("features_info", "oblivious_trees", "scale_and_bias")
"""Parts of the JSON model that scores need; the rest names the moment and the machine."""


class CatBoost:
    """The `Library` of CatBoost."""

    def train(self, request: Request) -> Boosted:
        """Train a booster of symmetric trees."""
        cb = _package()
        given, directions = request.parameters, request.directions
        model = cb.CatBoost(
            {
                "loss_function": OBJECTIVE[request.loss].format(at=request.at),
                **({"classes_count": request.outputs} if request.loss == "softmax" else {}),
                "iterations": request.most,
                "learning_rate": given["learning_rate"],
                "depth": given["depth"],
                "l2_leaf_reg": given["l2"],
                "bootstrap_type": "Bernoulli",
                "subsample": given["subsample"],
                "rsm": given["columns"],
                "border_count": 128,
                "boosting_type": "Plain",
                **_leaves(request),
                # Shrinking the model, CatBoost's way under a constraint, does not go with what rows start from.
                **({"monotone_constraints": directions, "model_shrink_rate": 0} if directions else {}),
                "boost_from_average": False,
                "random_seed": request.seed,
                "thread_count": THREADS,
                "use_best_model": request.stops,
                **({"od_type": "Iter", "od_wait": request.patience} if request.stops else {}),
                "logging_level": "Silent",
                "allow_writing_files": False,
            }
        )
        stop = None if request.stop is None else _pool(request.stop, request.outputs)
        model.fit(_pool(request.learn, request.outputs), eval_set=stop, callbacks=[_Guard(request)])
        rounds = int(model.tree_count_)
        seen = model.get_evals_result()
        with TemporaryDirectory() as folder:
            file = Path(folder) / "model.json"
            model.save_model(str(file), format="json")
            whole = json.loads(file.read_text())
        return Boosted(_plain(whole), rounds, losses(seen, "learn", rounds), losses(seen, "validation", rounds))

    def raw(self, text: str, x: Singles) -> Floats:
        """Return scores [n, outputs]."""
        scores = _model(text).predict(x, prediction_type="RawFormulaVal", thread_count=THREADS)
        return np.asarray(scores, dtype=np.float64).reshape(len(x), -1)

    def leaves(self, text: str) -> list[int]:
        """Return the leaves of each tree, equal ones beside each other joined as `forest` joins them."""
        model = json.loads(text)
        outputs = len(model["scale_and_bias"][1])
        return [_leaf_count(np.array(t["leaf_values"]).reshape(-1, outputs)) for t in model["oblivious_trees"]]

    def forest(self, text: str) -> Forest:
        """Return the JSON model as a forest: a symmetric tree becomes a full binary one, equal leaves joined."""
        model = json.loads(text)
        scale, bias = model["scale_and_bias"]
        if scale != 1 or any(bias):
            raise FamilyError("A CatBoost model carries a scale or a bias, which training never asks for.")
        left = {
            f["feature_index"]: (f["flat_feature_index"], f["nan_value_treatment"] != "AsTrue")
            for f in model["features_info"]["float_features"]
        }
        return plant([_tree(tree, left, len(bias)) for tree in model["oblivious_trees"]])


def _leaves(request: Request) -> dict[str, Any]:
    """Return how leaf values are found."""
    weight = request.learn.weight
    if request.loss in ("absolute", "quantile") and weight.min() < weight.max():
        return {"leaf_estimation_method": "Gradient", "leaf_estimation_iterations": UNEVEN_STEPS}
    return {"leaf_estimation_iterations": LEAF_STEPS.get(request.loss, 1)}


def _plain(model: Mapping[str, Any]) -> str:
    """Return the parts of the JSON model that scores need, free of what trees dropped at the end have left behind."""
    kept = {name: model[name] for name in KEPT}
    used: dict[int, set[float]] = {}
    for tree in kept["oblivious_trees"]:
        for split in tree["splits"] or ():
            used.setdefault(split["float_feature_index"], set()).add(split["border"])
    place: dict[tuple[int, float], int] = {}
    for feature in kept["features_info"]["float_features"]:
        feature["borders"] = sorted(used.get(feature["feature_index"], ()))
        for border in feature["borders"]:
            place[feature["feature_index"], border] = len(place)
    for tree in kept["oblivious_trees"]:
        for split in tree["splits"] or ():
            split["split_index"] = place[split["float_feature_index"], split["border"]]
    return json.dumps(kept, sort_keys=True, separators=(",", ":"))


class _Guard:
    def __init__(self, request: Request) -> None:
        self.request = request

    def after_iteration(self, info: Any) -> bool:
        return not self.request.late()


def _package() -> Any:
    return need("catboost", "catboost", "A CatBoost candidate")


@Parsed
def _model(text: str) -> Any:
    model = _package().CatBoost()
    with TemporaryDirectory() as folder:
        file = Path(folder) / "model.json"
        file.write_text(text)
        model.load_model(str(file), format="json")
    return model


def _pool(sample: Sample, outputs: int) -> Any:
    start = sample.start if outputs > 1 else sample.start[:, 0]
    return _package().Pool(sample.x, sample.y, weight=sample.weight, baseline=start, thread_count=THREADS)


def _tree(tree: Mapping[str, Any], columns: Mapping[int, tuple[int, bool]], outputs: int) -> Tree:
    """Unfold a symmetric tree: bit i of a leaf's number says whether ``x > border`` of split i."""
    splits = (tree["splits"] or [])[::-1]  # null in a tree that found nothing to split on
    if any(s["split_type"] != "FloatFeature" for s in splits):
        raise FamilyError("A CatBoost tree splits on something that is not a number.")
    depth = len(splits)
    inner = 2**depth - 1
    place = [columns[s["float_feature_index"]] for s in splits]
    level = np.repeat(np.arange(depth), 2 ** np.arange(depth))
    nodes = np.arange(inner)
    nothing = np.zeros(inner + 1, dtype=np.int64)
    mass = [np.array(tree["leaf_weights"], dtype=np.float64)]
    while len(mass[0]) > 1:
        mass.insert(0, mass[0][::2] + mass[0][1::2])
    whole = Tree(
        feature=np.concatenate([np.array([p[0] for p in place], dtype=np.int64)[level], nothing - 1]),
        threshold=np.concatenate(
            [np.array([s["border"] for s in splits], dtype=np.float32)[level], nothing.astype(np.float32)]
        ),
        left=np.concatenate([2 * nodes + 1, nothing]),
        right=np.concatenate([2 * nodes + 2, nothing]),
        nan_left=np.concatenate([np.array([p[1] for p in place], dtype=np.bool_)[level], nothing > 0]),
        mass=np.concatenate(mass),
        leaf=np.arange(inner, 2 * inner + 1, dtype=np.int64),
        target=np.arange(outputs, dtype=np.int64),
        value=np.array(tree["leaf_values"], dtype=np.float64).reshape(-1, outputs),
    )
    return _joined(whole)


def _leaf_count(value: Floats) -> int:
    """Return how many leaves are left of a full tree's, [2^depth, outputs], once equal neighbours are joined."""
    leaf = np.ones(len(value), dtype=np.bool_)
    count = len(value)
    while len(value) > 1:
        same = leaf[::2] & leaf[1::2] & (value[::2] == value[1::2]).all(axis=1)
        count -= int(same.sum())
        leaf, value = same, value[::2]
    return count


def _joined(tree: Tree) -> Tree:
    """Replace splits between equal leaves by the leaf: leaves no row reached in training all hold zero."""
    size = len(tree.feature)
    inner = size - len(tree.leaf)
    value = np.zeros((size, tree.value.shape[1]))
    value[inner:] = tree.value
    leaf = tree.feature < 0
    depths = [np.arange(2**d - 1, 2 ** (d + 1) - 1) for d in range(inner.bit_length())]
    for nodes in reversed(depths):
        a, b = tree.left[nodes], tree.right[nodes]
        same = nodes[leaf[a] & leaf[b] & (value[a] == value[b]).all(axis=1)]
        leaf[same], value[same] = True, value[tree.left[same]]
    reached = np.zeros(size, dtype=np.bool_)
    reached[0] = True
    for nodes in depths:
        open_ = nodes[reached[nodes] & ~leaf[nodes]]
        reached[tree.left[open_]] = reached[tree.right[open_]] = True
    number = np.cumsum(reached) - 1
    kept = np.flatnonzero(reached)
    ends = leaf[kept]
    return Tree(
        feature=np.where(ends, -1, tree.feature[kept]),
        threshold=tree.threshold[kept],
        left=np.where(ends, 0, number[tree.left[kept]]),
        right=np.where(ends, 0, number[tree.right[kept]]),
        nan_left=tree.nan_left[kept],
        mass=tree.mass[kept],
        leaf=np.flatnonzero(ends).astype(np.int64),
        target=tree.target,
        value=value[kept[ends]],
    )
