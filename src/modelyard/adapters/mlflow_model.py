"""A bundle as an MLflow pyfunc: the module its ``MLmodel`` file names as the loader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelyard.bundle.load import Bundle, load_bundle
from modelyard.core.optional import need


class Pyfunc:
    """What ``mlflow.pyfunc.load_model`` wraps.

    Parameters
    ----------
    bundle : Bundle
        What answers.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """Answer rows.

        Parameters
        ----------
        model_input : pandas.DataFrame or list of dict
            One row or many, by column name.
        params : mapping, optional
            ``{"probabilities": True}`` asks for the probability of every class.

        Returns
        -------
        array of shape [n_rows] or pandas.DataFrame of shape [n_rows, n_classes]
            Classes or values; with probabilities a column named for each class.

        Raises
        ------
        RowError, DataError
            If a row does not fit the schema.
        """
        if not (params or {}).get("probabilities"):
            return self.bundle.predict(model_input)
        pandas = need("pandas", "train", "MLflow's probabilities")
        return pandas.DataFrame(self.bundle.predict_proba(model_input), columns=list(self.bundle.schema.classes))


def _load_pyfunc(path: str) -> Pyfunc:
    """Load the bundle MLflow found; the name is MLflow's."""
    return Pyfunc(load_bundle(Path(path)))
