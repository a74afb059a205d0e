"""Explanation: how much each column moved a row's raw score away from that of an average row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from modelyard.bundle.contributions import contributions
from modelyard.bundle.runtimes.arrays import ArraysRuntime
from modelyard.bundle.verify import check_files
from modelyard.core.errors import BundleError

if TYPE_CHECKING:
    # A bundle explains itself by what stands here.
    from modelyard.bundle.bundle import Bundle

_READ = ("model.onnx", "members/")
"""Files an explanation reads."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why one row was answered as it was.

    Attributes
    ----------
    prediction : str, int, float or bool
        What the model answers.
    explained : str, int, float, bool or None
        The class whose raw score is explained: the positive one of a binary task, the likeliest of several; None for
        numbers.
    base : float
        The raw score of an average row: log-odds of the positive class, the score of the class, or the label's unit.
    contributions : dict of str to float
        What each column adds; base and their sum are the row's raw score.
    """

    prediction: Any
    explained: Any
    base: float
    contributions: dict[str, float]


def explanations(bundle: Bundle, frame: pl.DataFrame) -> list[Explanation]:
    """Explain the rows of a typed frame.

    Parameters
    ----------
    bundle : Bundle
        What answers them.
    frame : polars.DataFrame
        Typed as the schema says.

    Raises
    ------
    BundleError
        If the model is a forecast, the bundle holds nothing to explain by, or a file changed since it was packed.
    MissingExtra
        If the library of a member is not installed: explanations run the native models.
    """
    explains(bundle)
    names = [column.name for column in bundle.schema.features]
    # They are read anew from the folder, which may have changed since it was checked.
    check_files(bundle.path, {n: h for n, h in bundle.manifest.files.items() if n.startswith(_READ)})
    inputs = bundle.manifest.encoding.inputs_of_frame(frame)
    base, parts = contributions(bundle.path, bundle.manifest.facts, inputs)
    answers = bundle.runtime.frame(frame)
    rows = np.arange(len(parts))
    outputs = np.zeros(len(parts), dtype=np.intp) if parts.shape[1] == 1 else answers.argmax(axis=1)
    classes = bundle.classes
    told = [(classes[-1] if parts.shape[1] == 1 else classes[i]) if classes else None for i in outputs.tolist()]
    return [
        Explanation(prediction, explained, start, dict(zip(names, moved, strict=True)))
        for prediction, explained, start, moved in zip(
            bundle.decide(answers).tolist(),
            told,
            base[rows, outputs].tolist(),
            parts[rows, outputs].tolist(),
            strict=True,
        )
    ]


def explains(bundle: Bundle) -> None:
    """Raise BundleError unless a bundle's answers can be explained."""
    if isinstance(bundle.runtime, ArraysRuntime):
        raise BundleError(
            "A forecast is not made from columns, so no column explains it.",
            allowed="Explanations come with binary, multiclass and regression models.",
            do="Use interval to see how sure it is.",
        )
    if "members/explain.json" not in bundle.manifest.files:
        raise BundleError("This bundle holds nothing to explain its answers by.", where=str(bundle.path))
