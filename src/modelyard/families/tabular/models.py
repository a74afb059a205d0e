"""Model: what one fit learnt, as data, and the raw scores it gives."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard.data.dataset import Dataset, Floats, Ints
from modelyard.families.fitted import Fitted
from modelyard.families.tabular.derived import Derived
from modelyard.families.tabular.inputs import Inputs, Singles, read_inputs
from modelyard.families.tabular.libraries import library
from modelyard.families.tabular.linear import Linear
from modelyard.families.tabular.network import Network
from modelyard.families.tabular.tables import look_up
from modelyard.families.tabular.text_tables import TextTable, with_figures
from modelyard.families.tabular.texts import Vocabulary


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """What one fit learnt, of a fold or of all rows; with no booster, linear model or network it answers its base.

    Attributes
    ----------
    algorithm : str
        lightgbm, xgboost, catboost, linear or mlp.
    base, scale, present
        As in `modelyard.families.tabular.labels.Labels`.
    text : str
        The native booster.
    tables : tuple of float32 arrays
        Its category tables.
    derived : Derived
        Its derived numbers.
    linear : Linear or None
        The linear model.
    network : Network or None
        The network.
    texts : tuple of TextTable
        What the booster or the linear model reads of each text column; a network reads none.
    """

    algorithm: str
    base: Floats
    scale: float
    present: Ints
    text: str = ""
    tables: tuple[Singles, ...] = ()
    derived: Derived = field(default_factory=Derived.none)
    linear: Linear | None = None
    network: Network | None = None
    texts: tuple[TextTable, ...] = ()

    def with_booster(
        self, text: str, tables: tuple[Singles, ...], derived: Derived, texts: tuple[TextTable, ...] = ()
    ) -> Model:
        """Return the model with its booster, and the tables and derived numbers the booster reads."""
        return replace(self, text=text, tables=tables, derived=derived, texts=texts)

    def with_linear(self, fitted: Linear, texts: tuple[TextTable, ...] = ()) -> Model:
        """Return the model with its linear part, and the text tables it reads."""
        return replace(self, linear=fitted, texts=texts)

    def with_network(self, fitted: Network) -> Model:
        """Return the model with its network."""
        return replace(self, network=fitted)

    def raw(self, inputs: Inputs) -> Floats:
        """Return raw scores [n, k]."""
        scores = np.tile(self.base, (len(inputs.codes), 1))
        if self.linear is not None:
            scores[:, self.present] += self.scale * self.linear.raw(with_figures(inputs, self.texts))
        elif self.network is not None:
            scores[:, self.present] += self.scale * self.network.raw(inputs)
        elif self.text and len(scores):
            x = np.ascontiguousarray(look_up(self.derived.extend(with_figures(inputs, self.texts)), self.tables))
            scores[:, self.present] += self.scale * library(self.algorithm).raw(self.text, x)
        return scores


def dump_model(
    model: Model, name: str, arrays: MutableMapping[str, NDArray[Any]], texts: MutableMapping[str, str]
) -> dict[str, Any]:
    """Put a model's arrays and text under its name, and return the facts that go with them."""
    kind = "booster" if model.text else "constant"
    arrays[f"{name}.base"] = model.base
    for i, table in enumerate(model.texts):
        arrays.update({f"{name}.text{i}.weights": table.weights, f"{name}.text{i}.squares": table.squares})
    if model.linear is not None:
        kind = "linear"
        arrays.update({f"{name}.linear.{part}": array for part, array in model.linear.arrays().items()})
    if model.network is not None:
        kind = "network"
        arrays.update({f"{name}.network.{part}": array for part, array in model.network.arrays().items()})
    if model.text:
        texts[name] = model.text
        arrays.update({f"{name}.table{i}": table for i, table in enumerate(model.tables)})
        arrays[f"{name}.derived"] = model.derived.pairs
    return {"name": name, "kind": kind, "scale": model.scale, "present": model.present.tolist()}


def read_for(fitted: Fitted, rows: Dataset) -> Inputs:
    """Return rows as the models of a fit take them: by the levels and words it knows."""
    levels = tuple(tuple(known) for known in fitted.facts["levels"])
    return read_inputs(rows, levels, tuple(Vocabulary.of(known) for known in fitted.facts.get("texts", ())))


def load_models(fitted: Fitted) -> tuple[Model, ...]:
    """Return the models a fitted candidate holds; their mean is its answer."""
    loaded = []
    for record in fitted.facts["models"]:
        name = record["name"]
        texts = _under(fitted.arrays, f"{name}.text")
        model = Model(
            str(fitted.facts["algorithm"]),
            fitted.arrays[f"{name}.base"],
            float(record["scale"]),
            np.array(record["present"], dtype=np.int64),
            texts=tuple(TextTable(texts[f"{i}.weights"], texts[f"{i}.squares"]) for i in range(len(texts) // 2)),
        )
        if record["kind"] == "linear":
            own = _under(fitted.arrays, f"{name}.linear.")
            model = model.with_linear(Linear.of(own), model.texts)
        elif record["kind"] == "network":
            model = model.with_network(Network.of(_under(fitted.arrays, f"{name}.network.")))
        elif record["kind"] == "booster":
            tables = tuple(fitted.arrays[f"{name}.table{i}"] for i in range(len(fitted.facts["levels"])))
            model = model.with_booster(
                fitted.texts[name], tables, Derived(fitted.arrays[f"{name}.derived"]), model.texts
            )
        loaded.append(model)
    return tuple(loaded)


def _under(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
