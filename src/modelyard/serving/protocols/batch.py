"""Batch: many rows answered column by column, and row by row only where the model could not."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from modelyard.bundle.bundle import Bundle
from modelyard.bundle.stream import COVERAGE, answer_columns
from modelyard.core.errors import RowError
from modelyard.serving.asked import Asked
from modelyard.serving.prediction import Prediction
from modelyard.serving.predictor import Predictor
from modelyard.serving.problem import without_values

_SLICE = 1_000
_LOGGER = logging.getLogger("modelyard.serving")


@dataclass(frozen=True, slots=True)
class Batch:
    """The answers to many rows.

    Attributes
    ----------
    columns : polars.DataFrame
        ``prediction``, ``served_by``, and those asked for or there: ``p_<class>``, ``low``, ``high``, ``set`` (a JSON
        list), ``ood``.
    plain : list of dict
        The same as `Prediction.plain` gives them.
    """

    columns: pl.DataFrame
    plain: list[dict[str, Any]]


def answer_batch(bundle: Bundle, predictor: Predictor, typed: pl.DataFrame, asked: Asked) -> Batch:
    """Answer a typed frame.

    Parameters
    ----------
    bundle : Bundle
        What answers.
    predictor : Predictor
        Its sources in order: asked row by row where the model fails as a whole or gives no finite number.
    typed : polars.DataFrame
        What `check_frame` returned.
    asked : Asked
        What is wanted beside the predictions.

    Raises
    ------
    RowError
        If rows ask for what the model does not have, with pointers ``/row/column``.
    Unanswered
        If no source could answer every row.
    """
    try:
        columns = pl.DataFrame(answer_columns(bundle, typed, asked.coverage, asked.ood))
    except RowError:
        raise
    except Exception as error:
        _LOGGER.error("a batch could not be answered by columns: %s", without_values(error))
        return _by_rows(bundle, predictor, typed, asked)
    numbers = [name for name in columns.columns if name == "prediction" or name.startswith("p_")]
    finite = columns.select(pl.col(numbers).cast(pl.Float64, strict=False).is_finite().fill_null(True).all())
    if not all(finite.row(0)):
        return _by_rows(bundle, predictor, typed, asked)
    columns = columns.with_columns(served_by=pl.lit("model"))
    return Batch(columns, _plain(columns, bundle, asked))


def _by_rows(bundle: Bundle, predictor: Predictor, typed: pl.DataFrame, asked: Asked) -> Batch:
    predictions: list[Prediction] = []
    for part in typed.iter_slices(_SLICE):
        predictions += predictor.predict(part.to_dicts(), asked)
    return Batch(_columns(predictions, bundle), [prediction.plain() for prediction in predictions])


def _columns(predictions: Sequence[Prediction], bundle: Bundle) -> pl.DataFrame:
    columns = {"prediction": pl.Series([p.prediction for p in predictions])}
    for name in bundle.schema.classes:
        columns[f"p_{name}"] = pl.Series([(p.probabilities or {}).get(name) for p in predictions], dtype=pl.Float64)
    if any(p.interval for p in predictions):
        for end in ("low", "high"):
            columns[end] = pl.Series([(p.interval or {}).get(end) for p in predictions], dtype=pl.Float64)
    if any(p.ood is not None for p in predictions):
        columns["ood"] = pl.Series([p.ood for p in predictions], dtype=pl.Float64)
    columns["served_by"] = pl.Series([p.served_by for p in predictions])
    return pl.DataFrame(columns)


def _plain(columns: pl.DataFrame, bundle: Bundle, asked: Asked) -> list[dict[str, Any]]:
    parts: list[pl.Expr] = [pl.col("prediction")]
    if bundle.schema.classes:
        # Rounded as one row's answer is: 0.1 and not 0.10000000149011612.
        chances = [pl.col(f"p_{name}").cast(pl.Float64).round(7).alias(name) for name in bundle.schema.classes]
        parts.append(pl.struct(chances).alias("probabilities"))
    coverage = pl.lit(COVERAGE / 100 if asked.coverage is None else asked.coverage).alias("coverage")
    if "low" in columns.columns:
        parts.append(pl.struct("low", "high", coverage).alias("interval"))
    if "set" in columns.columns:
        kind = pl.List(pl.Series(bundle.classes).dtype)
        parts.append(pl.struct(pl.col("set").str.json_decode(kind).alias("classes"), coverage).alias("set"))
    parts += [pl.col(name) for name in ("ood", "served_by") if name in columns.columns]
    return columns.select(parts).to_dicts()
