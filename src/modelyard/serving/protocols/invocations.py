"""Invocations: bodies as MLflow's and SageMaker's clients send them, and the answer they look for.

References
----------
MLflow, "Model scoring server", inference payload formats (mlflow.org/docs); Amazon SageMaker, "Use your own inference
code with hosting services": ``/ping`` and ``/invocations``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec
import polars as pl

from modelyard.bundle.bundle import Bundle
from modelyard.core.errors import RowError
from modelyard.data.frame_check import check_frame
from modelyard.serving.predict import json_object
from modelyard.serving.problem import HttpProblem, bad_fields
from modelyard.serving.protocols.sent import Sent, escaped

_SHAPE = "an object with one of dataframe_split, dataframe_records, instances and inputs"
_PARAMETERS = ("probabilities",)


def read_json(body: bytes, bundle: Bundle) -> tuple[Sent, bool]:
    """Read ``dataframe_split``, ``dataframe_records``, ``instances`` or ``inputs``.

    Returns
    -------
    (Sent, bool)
        The rows, and whether probabilities were asked for (``"params": {"probabilities": true}``).

    Raises
    ------
    HttpProblem
        400 if the body is none of these.
    """
    held = json_object(body, _SHAPE)
    params = held.pop("params", None) or {}
    if len(held) != 1 or not _FORMS.keys() >= held.keys():
        raise HttpProblem(400, f"The body must be {_SHAPE}. It has {', '.join(map(repr, held)) or 'nothing'}.")
    if not isinstance(params, dict) or not set(_PARAMETERS).issuperset(params):
        raise HttpProblem(400, f"'params' may hold: {', '.join(_PARAMETERS)}.")
    wanted = params.get("probabilities", False)
    if not isinstance(wanted, bool) or (wanted and not bundle.schema.classes):
        raise HttpProblem(400, "'probabilities' is true or false, and true only for a model of classes.")
    ((form, content),) = held.items()
    sent = _FORMS[form](content, f"/{form}")
    if not sent.rows:
        raise HttpProblem(400, f"'{form}' holds no row.")
    return sent, wanted


def read_csv(body: bytes, bundle: Bundle, unknown: Literal["refuse", "ignore"] = "refuse") -> Sent:
    """Read CSV (RFC 4180): a header, and a line for each row; an empty cell is missing.

    Raises
    ------
    HttpProblem
        400 if it is not; 422 naming each cell that does not fit the schema, as ``/row/column``.
    """
    try:
        records = list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise HttpProblem(400, f"The body is not CSV in UTF-8: {error}.") from None
    header, *lines = [record for record in records if record] or [[]]
    if not header or not lines:
        raise HttpProblem(400, "The CSV needs a header with the columns' names, and one line for each row.")
    if len(set(header)) < len(header):
        raise HttpProblem(400, "Two columns of the CSV have the same name.")
    odd = next((i for i, line in enumerate(lines) if len(line) != len(header)), None)
    if odd is not None:
        raise HttpProblem(400, f"Row {odd} of the CSV has {len(lines[odd])} fields, and its header {len(header)}.")
    columns = zip(header, zip(*lines, strict=True), strict=True)
    frame = pl.DataFrame(
        {name: [value or None for value in values] for name, values in columns},
        schema_overrides=dict.fromkeys(header, pl.String),
    )
    try:
        typed = check_frame(bundle.schema, frame, text=True, unknown=unknown)
    except RowError as error:
        raise bad_fields(error.problems) from None
    return Sent(typed.to_dicts(), lambda row, column: f"/{row}/{escaped(column)}", {})


def write(answers: Sequence[Mapping[str, Any]], about: Mapping[str, Any], probabilities: bool, bundle: Bundle) -> bytes:
    """Return ``{"predictions": [...], "served_by": [...]}``, a value of each for every row.

    A prediction is a class or a number, or an object of probabilities by class. What answered stands beside the list,
    as clients read that alone: MLflow's server too may write other members there.
    """
    if probabilities:
        nothing = dict.fromkeys(bundle.schema.classes)
        predictions = [answer.get("probabilities", nothing) for answer in answers]
    else:
        predictions = [answer["prediction"] for answer in answers]
    served_by = [answer["served_by"] for answer in answers]
    return msgspec.json.encode({"predictions": predictions, "served_by": served_by, **about})


def _records(content: Any, at: str) -> Sent:
    if not isinstance(content, list):
        raise HttpProblem(400, f"'{at[1:]}' must be a list of rows, each an object by column name.")
    return Sent(content, lambda row, column: f"{at}/{row}/{escaped(column)}" if column else f"{at}/{row}", {})


def _split(content: Any, at: str) -> Sent:
    columns, data = (content.get("columns"), content.get("data")) if isinstance(content, dict) else (None, None)
    names = columns if isinstance(columns, list) and all(isinstance(c, str) for c in columns) else None
    if names is None or not isinstance(data, list) or not content.keys() <= {"columns", "data", "index"}:
        raise HttpProblem(400, '\'dataframe_split\' must be {"columns": [name, ...], "data": [[value, ...], ...]}.')
    if len(set(names)) < len(names):
        raise HttpProblem(400, "Two columns of 'dataframe_split' have the same name.")
    odd = next((i for i, row in enumerate(data) if not isinstance(row, list) or len(row) != len(names)), None)
    if odd is not None:
        raise HttpProblem(400, f"{at}/data/{odd} is no list of {len(names)} values, one for each column.")
    places = {name: i for i, name in enumerate(names)}

    def pointer(row: int, column: str) -> str:
        return f"{at}/data/{row}/{places[column]}" if column in places else f"{at}/columns"

    return Sent([dict(zip(names, row, strict=True)) for row in data], pointer, {})


def _inputs(content: Any, at: str) -> Sent:
    """Read values by column: a list for each, or one value for one row."""
    if not isinstance(content, dict):
        return _records(content, at)
    columns = {name: values if isinstance(values, list) else [values] for name, values in content.items()}
    if len({len(values) for values in columns.values()}) > 1:
        raise HttpProblem(400, "The columns of 'inputs' are not of one length.")
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]

    def pointer(row: int, column: str) -> str:
        if column not in content:
            return at
        return f"{at}/{escaped(column)}/{row}" if isinstance(content[column], list) else f"{at}/{escaped(column)}"

    return Sent(rows, pointer, {})


_FORMS: Mapping[str, Callable[[Any, str], Sent]] = {
    "dataframe_split": _split,
    "dataframe_records": _records,
    "instances": _records,
    "inputs": _inputs,
}
