"""Model types as people write them: "XGBoost classifier", "demand forecast", "linear regression"."""

from __future__ import annotations

import re
from typing import NamedTuple

from modelyard.brief.brief import Task
from modelyard.brief.words import QUOTED, quote, unquote

_NAMES = {
    "xgb": "xgboost",
    "lgbm": "lightgbm",
    "light gbm": "lightgbm",
    "cat boost": "catboost",
    "logistic": "linear",
    "logistic regression": "linear",
    "linear regression": "linear",
    "neural net": "neural_network",
    "automatic": "auto",
}
_KNOWN = frozenset(
    "auto linear xgboost lightgbm catboost mlp realmlp tabm autoets seasonal_naive random_forest gradient_boosting "
    "neural_network deep_neural_network svm knn naive_bayes decision_tree cnn rnn lstm gru transformer bert resnet "
    "arima prophet".split()
)
_KINDS: dict[str, Task | None] = {
    "binary classification model": "binary",
    "binary classifier": "binary",
    "multiclass classification model": "multiclass",
    "multi-class classifier": "multiclass",
    "multiclass classifier": "multiclass",
    "classification model": None,
    "classifier": None,
    "regression model": "regression",
    "regressor": "regression",
    "regression": "regression",
    "time series model": "forecast",
    "forecasting model": "forecast",
    "forecast model": "forecast",
    "forecaster": "forecast",
    "forecast": "forecast",
    "recommender": None,
    "predictor": None,
    "system": None,
    "model": None,
}
_OF_TASK: dict[Task | None, str] = {
    None: "model",
    "binary": "binary classifier",
    "multiclass": "multiclass classifier",
    "regression": "regressor",
    "forecast": "forecaster",
}


def model_name(text: str) -> str:
    """Return the name of a kind of model: lower case, usual abbreviations resolved."""
    plain = re.sub(r"\s+", " ", text.strip().lower())
    return _NAMES.get(plain, plain.replace(" ", "_"))


class ModelType(NamedTuple):
    """What a model type says: the model's name ("auto" when none is named), the task, and what it is for."""

    name: str
    task: Task | None
    purpose: str


def parse_model_type(text: str) -> ModelType:
    """Read a model type.

    "Classifier" leaves the task open: the label decides between two classes and more. What stands before the kind is
    the model's name when it is known, capitalised or in double quotes; the purpose otherwise, as in "demand forecast".
    """
    plain = re.sub(r"\s+", " ", text.strip())
    kind = next((k for k in _KINDS if re.search(rf"(^|[\s\"]){k}$", plain, re.IGNORECASE)), "")
    task = _KINDS.get(kind)
    name = plain[: len(plain) - len(kind)].strip()
    if name.lower().startswith("logistic"):
        task = None  # logistic regression tells classes apart
    if re.fullmatch(QUOTED, name):
        return ModelType(unquote(name), task, "")
    known = model_name(name) in _KNOWN or re.sub(r"\s+", " ", name.lower()) in _NAMES
    if known or not kind or name != name.lower():
        return ModelType(model_name(name), task, "")
    return ModelType("auto", task, name)


def model_type_text(model: str, task: Task | None) -> str:
    """Return a model type as `parse_model_type` reads it back."""
    kind = _OF_TASK[task]
    if model == "auto":
        return kind
    plain = re.fullmatch(r"[a-z0-9_]+", model) and parse_model_type(f"{model} {kind}") == (model, task, "")
    return f"{model if plain else quote(model)} {kind}"
