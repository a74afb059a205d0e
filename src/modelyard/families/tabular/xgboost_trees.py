"""XGBoost: training, raw scores, and its JSON model as a forest.

References
----------
Chen, T. and Guestrin, C. (2016). XGBoost: a scalable tree boosting system. KDD 22.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from modelyard.core.optional import need
from modelyard.data.dataset import Floats
from modelyard.families.tabular.booster import THREADS, Boosted, Request, Sample, losses
from modelyard.families.tabular.forest import Forest, Tree, plant
from modelyard.families.tabular.inputs import Singles
from modelyard.families.tabular.parsed import Parsed

OBJECTIVE = {
    "logistic": "binary:logistic",
    "softmax": "multi:softprob",
    "squared": "reg:squarederror",
    "absolute": "reg:absoluteerror",
    "quantile": "reg:quantileerror",
    "poisson": "count:poisson",
    "tweedie": "reg:tweedie",
}
NO_BASE = {"logistic": 0.5, "poisson": 1.0, "tweedie": 1.0}
"""The `base_score` that adds nothing to a raw score, 0 for the others: what a row starts from is ours to add."""


class XGBoost:
    """The `Library` of XGBoost."""

    def train(self, request: Request) -> Boosted:
        """Train a booster."""
        xgb = _package()
        given, directions = request.parameters, request.directions
        parameters = {
            "objective": OBJECTIVE[request.loss],
            **({"num_class": request.outputs} if request.loss == "softmax" else {}),
            **({"quantile_alpha": request.at} if request.loss == "quantile" else {}),
            **({"tweedie_variance_power": request.at} if request.loss == "tweedie" else {}),
            "base_score": NO_BASE.get(request.loss, 0.0),
            "tree_method": "hist",
            "eta": given["learning_rate"],
            "max_depth": given["depth"],
            "min_child_weight": given["min_child_weight"],
            "lambda": given["l2"],
            "subsample": given["subsample"],
            "colsample_bytree": given["columns"],
            **({"monotone_constraints": tuple(directions)} if directions else {}),
            "seed": request.seed,
            "nthread": THREADS,
            "verbosity": 0,
        }
        learn = _matrix(request.learn, request.outputs)
        evals = [(learn, "train")]
        if request.stop is not None:
            evals.append((_matrix(request.stop, request.outputs, learn), "stop"))
        seen: dict[str, dict[str, list[float]]] = {}
        calls: list[Any] = [_guard(request, xgb)]
        if request.stops:
            calls.insert(0, xgb.callback.EarlyStopping(rounds=request.patience, data_name="stop"))
        booster = xgb.train(
            parameters, learn, request.most, evals=evals, evals_result=seen, callbacks=calls, verbose_eval=False
        )
        rounds = booster.best_iteration + 1 if request.stops else booster.num_boosted_rounds()
        booster = booster[:rounds]
        booster.set_attr(best_iteration=None, best_score=None)
        return Boosted(
            bytes(booster.save_raw("json")).decode(),
            rounds,
            losses(seen, "train", rounds),
            losses(seen, "stop", rounds),
        )

    def raw(self, text: str, x: Singles) -> Floats:
        """Return scores [n, outputs]."""
        data = _package().DMatrix(x, nthread=THREADS)
        return np.asarray(_booster(text).predict(data, output_margin=True), dtype=np.float64).reshape(len(x), -1)

    def leaves(self, text: str) -> list[int]:
        """Return the leaves of each tree."""
        return [(int(count) + 1) // 2 for count in re.findall(r'"num_nodes":"(\d+)"', text)]

    def forest(self, text: str) -> Forest:
        """Return the JSON model as a forest: ``x < t`` becomes ``x <=`` the float32 before t."""
        model = json.loads(text)["learner"]["gradient_booster"]["model"]
        return plant([_tree(t, int(k)) for t, k in zip(model["trees"], model["tree_info"], strict=True)])


def _package() -> Any:
    return need("xgboost", "train", "An XGBoost candidate")


@Parsed
def _booster(text: str) -> Any:
    booster = _package().Booster({"nthread": THREADS, "verbosity": 0})
    booster.load_model(bytearray(text.encode()))
    return booster


def _matrix(sample: Sample, outputs: int, reference: Any = None) -> Any:
    start = sample.start if outputs > 1 else sample.start[:, 0]
    return _package().QuantileDMatrix(
        sample.x, sample.y, weight=sample.weight, base_margin=start, ref=reference, nthread=THREADS
    )


def _guard(request: Request, xgb: Any) -> Any:
    class Guard(xgb.callback.TrainingCallback):  # type: ignore[misc]
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            return request.late()

    return Guard()


def _tree(tree: Mapping[str, Any], target: int) -> Tree:
    left = np.array(tree["left_children"], dtype=np.int64)
    right = np.array(tree["right_children"], dtype=np.int64)
    split = np.array(tree["split_conditions"], dtype=np.float32)
    is_leaf = left < 0
    return Tree(
        feature=np.where(is_leaf, -1, np.array(tree["split_indices"], dtype=np.int64)),
        threshold=np.nextafter(split, np.float32(-np.inf)),
        left=np.maximum(left, 0),
        right=np.maximum(right, 0),
        nan_left=np.array(tree["default_left"], dtype=np.bool_),
        mass=np.array(tree["sum_hessian"], dtype=np.float64),
        leaf=np.flatnonzero(is_leaf).astype(np.int64),
        target=np.array([target], dtype=np.int64),
        value=split[is_leaf].astype(np.float64)[:, None],
    )
