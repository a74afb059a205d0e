"""Manifest: what a bundle holds, where it comes from, and the hash of every file.

The format number
-----------------
``FORMAT`` counts up by one whenever a reader of the number before could misread a new bundle: a file renamed, a
field with another meaning, an input or output of the graph changed. Adding an optional field does not count up.
Whoever counts up adds a reader for the old number to ``bundle/load.py``, a bundle of the old number to the tests, and
a line to the CHANGELOG. A bundle with a higher number than the reader's is refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from modelyard.brief.brief import Brief
from modelyard.data.schema import Schema
from modelyard.encoding.encoding import Encoding

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a bundle comes from: run name, moment (UTC, ISO 8601), code commit, data fingerprint, environment."""

    run: str
    created: str
    commit: str | None
    fingerprint: str
    environment: dict[str, str]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle holds.

    Attributes
    ----------
    format : int
        See the module's text.
    name : str
        The use case, as a file name.
    brief, schema, encoding
        What was asked, the columns, and their layout in the graph's inputs.
    runtime : {"onnx", "arrays"}
        What reads ``model.onnx`` or ``forecast.npz``.
    threshold : float or None
        Decision threshold of a binary task, chosen on out-of-fold answers.
    facts : mapping
        The export's facts: trees, members, parity.
    estimate : mapping
        The report's estimate and verdict, as plain JSON, for gates and cards.
    files : mapping of str to str
        SHA-256 by relative path of every file but the manifest.
    lineage : Lineage
        Where it comes from. The bundle's hash leaves out its run, moment, commit and platform (see ``identity``).
    """

    format: int
    name: str
    brief: Brief
    schema: Schema
    encoding: Encoding
    runtime: Literal["onnx", "arrays"]
    threshold: float | None
    facts: dict[str, Any]
    estimate: dict[str, Any]
    files: dict[str, str]
    lineage: Lineage
    extra: dict[str, Any] = field(default_factory=dict)
