"""Contributions: how much each column moved each raw score.

Boosters say it by their own TreeSHAP, linear members by their weights. Networks are asked: columns of a typical row
(mean numbers, most frequent categories) are exchanged for the row's own, one after another in a few orders, and what
each exchange changes is averaged: Shapley values by sampled orders, whose sum is exact however few the orders.

References
----------
Castro, J., Gomez, D. and Tejada, J. (2009). Polynomial calculation of the Shapley value based on sampling. Computers
and Operations Research 36(5).
Mitchell, R. et al. (2022). Sampling permutations for Shapley value estimation. JMLR 23(43).
Lundberg, S. M. et al. (2020). From local explanations to global understanding with explainable AI for trees.
Nature Machine Intelligence 2.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard.core.errors import BundleError
from modelyard.core.optional import need

Floats = NDArray[np.float64]
PURPOSE = "An explanation"
ORDERS = 8
"""Orders of the columns in which a network is asked: half drawn, and each of those reversed as well."""
NETWORKS = "from_networks"
"""What all networks of the graph add to the raw scores."""


def contributions(folder: Path, facts: Mapping[str, Any], inputs: Mapping[str, NDArray[Any]]) -> tuple[Floats, Floats]:
    """Return what each column adds to the calibrated raw scores of rows.

    Parameters
    ----------
    folder : Path
        A bundle of a tabular model.
    facts : mapping
        The manifest's facts of the export.
    inputs : mapping of str to array
        Rows as the Encoding lays them out for the graph.

    Returns
    -------
    float64 array of shape [n, k]
        The base: the raw score of an average row.
    float64 array of shape [n, k, columns]
        By output and by feature of the schema; base plus their sum is the raw score before the link.

    Raises
    ------
    BundleError
        If the bundle does not hold what explanations need.
    MissingExtra
        If the library of a member is not installed.
    """
    recipe = folder / "members" / "explain.json"
    if not recipe.is_file():
        raise BundleError("This bundle holds nothing to explain its answers by.", where=str(recipe))
    known = json.loads(recipe.read_bytes())
    numbers = [tuple(of) if isinstance(of, list) else (of,) for of in known["numbers"]]  # older bundles name one column
    columns = len(facts["columns"])
    offset = np.array(known["offset"], dtype=np.float64)
    graph = _Graph(folder / "model.onnx", inputs)
    n = len(next(iter(inputs.values())))
    total = np.zeros((n, len(offset), columns))
    base = np.tile(offset, (n, 1))
    owners = _owners(known, numbers, columns)
    for booster in known["boosters"]:
        place = np.array(booster["features"], dtype=np.int64)
        used = place >= 0
        features = np.zeros((n, len(place)), dtype=np.float32)
        features[:, used] = graph.values("features")[:, place[used]]
        shap = SHAP[booster["library"]]((folder / booster["file"]).read_text(encoding="utf-8"), features)
        shap = booster["factor"] * shap.reshape(n, len(booster["outputs"]), -1)
        base[:, booster["outputs"]] += shap[:, :, -1]
        by_column = np.zeros((len(place), columns))
        by_column[used] = owners[place[used]]
        total[:, booster["outputs"]] += shap[:, :, :-1] @ by_column
    if known["linear"]:
        total += graph.linear(numbers, known["strings"], columns)
    if "networks" in known:
        usual, moved = graph.networks(known["networks"], numbers, known["strings"], columns)
        base += usual
        total += moved
    return base, total


def _owners(known: Mapping[str, Any], numbers: Sequence[tuple[int, ...]], columns: int) -> Floats:
    """Return how much of each feature of the graph belongs to each column: alike to all that it is made of."""
    made = [*numbers, *(tuple(of) for of in known.get("derived", ()))]
    made += [(column,) for column in known["strings"] for _ in range(known["width"])]
    owners = np.zeros((len(made), columns))
    for feature, of in enumerate(made):
        for column in of:
            owners[feature, column] += 1.0 / len(of)
    return owners


class _Opened:
    """A bundle's graph, opened up, and a session for each choice of values between its nodes."""

    def __init__(self, path: Path) -> None:
        self.model = need("onnx", "train", PURPOSE).load(str(path))
        self.names = {name for node in self.model.graph.node for name in node.output}
        self._sessions: dict[tuple[str, ...], Any] = {}

    def session(self, *wanted: str) -> Any:
        """Return what gives the values of these nodes."""
        if wanted not in self._sessions:
            del self.model.graph.output[:]
            make = need("onnx.helper", "train", PURPOSE).make_empty_tensor_value_info
            self.model.graph.output.extend(make(name) for name in wanted)
            self._sessions[wanted] = need("onnxruntime", "train", PURPOSE).InferenceSession(
                self.model.SerializeToString(), providers=["CPUExecutionProvider"]
            )
        return self._sessions[wanted]


@lru_cache(maxsize=4)
def _opened(path: Path, changed: int) -> _Opened:
    """Open a graph up once for as long as its file does not change: that takes longer than most explanations."""
    return _Opened(path)


class _Graph:
    """The values between a graph's nodes, for some rows."""

    def __init__(self, path: Path, rows: Mapping[str, Any]) -> None:
        self._graph = _opened(path, path.stat().st_mtime_ns)
        self._inputs = dict(rows)
        wanted = [n for n in ("features", "centred", "gaps", "by_level") if n in self._graph.names]
        values = self._graph.session(*wanted).run(wanted, self._inputs) if wanted else []
        self._values = dict(zip(wanted, values, strict=True))

    def values(self, name: str) -> NDArray[Any]:
        """Return what a node gives for the rows."""
        return np.asarray(self._values[name])

    def constant(self, name: str) -> Floats:
        """Return a constant of the graph."""
        found = next(c for c in self._graph.model.graph.initializer if c.name == name)
        return np.asarray(need("onnx", "train", PURPOSE).numpy_helper.to_array(found), dtype=np.float64)

    def linear(self, numbers: Sequence[tuple[int, ...]], strings: list[int], columns: int) -> Floats:
        """Return what each column adds through the linear members, [n, k, columns]."""
        terms: list[tuple[Floats, int]] = []
        if "centred" in self._values:
            centred = self.values("centred").astype(np.float64)  # [n, models, p]
            weights = self.constant("weights").reshape(centred.shape[1], centred.shape[2], -1)
            terms += [(centred[:, :, j] @ weights[:, j] / len(of), c) for j, of in enumerate(numbers) for c in of]
        if "gaps" in self._values:
            gaps, weight = self.values("gaps").astype(np.float64), self.constant("gap_weights")
            terms += [(gaps[:, [j]] * weight[j] / len(of), c) for j, of in enumerate(numbers) for c in of]
        if "by_level" in self._values:
            levels = self.values("by_level").astype(np.float64)  # [n, q, k]
            terms += [(levels[:, j], column) for j, column in enumerate(strings)]
        total = np.zeros((*terms[0][0].shape, columns))
        for moved, column in terms:
            total[:, :, column] += moved
        return total

    def networks(
        self, typical: Mapping[str, Any], numbers: Sequence[tuple[int, ...]], strings: list[int], columns: int
    ) -> tuple[Floats, Floats]:
        """Return what the networks say of a typical row, [k], and what each column adds to that, [n, k, columns]."""
        session = self._graph.session(NETWORKS)
        widths = {name: rows.shape[1] for name, rows in self._inputs.items()}
        # Where the graph takes moments, what it is given is not what its models read, and who owns it is told.
        plain = [of[0] for of in numbers[: widths.get("numbers", 0)]]
        owned = typical.get("owners", {"numbers": plain, "strings": strings})
        # Networks read no texts: those stay empty, and move nothing.
        owners = {name: np.array(owned.get(name, [-1] * width), dtype=np.int64) for name, width in widths.items()}
        types = {"numbers": np.float32, "moments": np.int64}
        usual = {
            name: np.array([typical.get(name, [""] * width)], dtype=types.get(name, object))
            for name, width in widths.items()
        }

        def ask(rows: Mapping[str, NDArray[Any]]) -> Floats:
            return np.asarray(session.run([NETWORKS], dict(rows))[0], dtype=np.float64)

        start = ask(usual)[0]
        size = len(next(iter(self._inputs.values())))
        total = np.zeros((size, len(start), columns))
        drawn = [np.random.default_rng(i).permutation(columns) for i in range(ORDERS // 2)]
        for order in (*drawn, *(one[::-1] for one in drawn)):
            rows = {name: np.repeat(row, size, axis=0) for name, row in usual.items()}
            before = np.tile(start, (size, 1))
            for column in order:
                for name, row in rows.items():
                    row[:, owners[name] == column] = self._inputs[name][:, owners[name] == column]
                after = ask(rows)
                total[:, :, column] += (after - before) / ORDERS
                before = after
        return start, total


def _lightgbm(text: str, features: NDArray[np.float32]) -> Floats:
    return np.asarray(_load_lightgbm(text).predict(features, pred_contrib=True), dtype=np.float64)


@lru_cache(maxsize=64)
def _load_lightgbm(text: str) -> Any:
    return need("lightgbm", "train", PURPOSE).Booster(model_str=text)


def _xgboost(text: str, features: NDArray[np.float32]) -> Floats:
    rows = need("xgboost", "train", PURPOSE).DMatrix(features)
    return np.asarray(_load_xgboost(text).predict(rows, pred_contribs=True), dtype=np.float64)


@lru_cache(maxsize=64)
def _load_xgboost(text: str) -> Any:
    booster = need("xgboost", "train", PURPOSE).Booster({"verbosity": 0})
    booster.load_model(bytearray(text.encode()))
    return booster


def _catboost(text: str, features: NDArray[np.float32]) -> Floats:
    rows = need("catboost", "catboost", PURPOSE).Pool(features)
    quiet = io.StringIO()  # it remarks that the text holds no training parameters
    values = _load_catboost(text).get_feature_importance(rows, type="ShapValues", log_cout=quiet, log_cerr=quiet)
    return np.asarray(values, dtype=np.float64)


@lru_cache(maxsize=64)
def _load_catboost(text: str) -> Any:
    model = need("catboost", "catboost", PURPOSE).CatBoost()
    with TemporaryDirectory() as folder:
        file = Path(folder) / "model.json"
        file.write_text(text, encoding="utf-8")
        model.load_model(str(file), format="json")
    return model


SHAP: Mapping[str, Callable[[str, NDArray[np.float32]], Floats]] = {
    "lightgbm": _lightgbm,
    "xgboost": _xgboost,
    "catboost": _catboost,
}
"""TreeSHAP of each library: [n, outputs x (features + 1)], an output's base last."""
