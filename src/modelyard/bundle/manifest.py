"""Manifest: what a bundle holds, where it comes from, and the hash of every file.

The format number
-----------------
``FORMAT`` counts up by one whenever a reader of the number before could misread a new bundle: a file renamed, a
field with another meaning, an input or output of the graph changed. Adding an optional field does not count up.
Whoever counts up adds a reader for the old number to ``bundle/verify.py``, a bundle of the old number to the tests, and
a line to the CHANGELOG. A bundle with a higher number than the reader's is refused by name.

In format 1 the parts of dates reached the graph in ``numbers``; since 2 the graph may take ``moments`` instead, where
the encoding names ``dates``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from modelyard.brief.brief import Brief
from modelyard.core.canonical import content_hash
from modelyard.data.schema import Schema
from modelyard.encoding.encoding import Encoding

FORMAT = 2


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


PLATFORM = frozenset({"python", "platform", "machine", "processor", "system", "cores", "kernels"})
"""Entries of the environment that say where training ran; every other one is a package and its version."""


def identity(manifest: Mapping[str, Any]) -> str:
    """Return the bundle's hash: SHA-256 over what the bundle is.

    When, where and under what name it was made does not count: left out are the lineage's run, moment and commit,
    the platform, and where brief and table lay. Two runs of one recipe give one hash.

    Parameters
    ----------
    manifest : mapping
        The manifest as plain JSON, as it is read from the file, so that a field a later version adds counts too.
    """
    lineage = {k: v for k, v in manifest["lineage"].items() if k not in {"run", "created", "commit"}}
    lineage["environment"] = {k: v for k, v in lineage["environment"].items() if k not in PLATFORM}
    brief = {k: v for k, v in manifest["brief"].items() if k != "source"}
    brief["data"] = {k: v for k, v in brief["data"].items() if k != "path"}
    return content_hash({**manifest, "lineage": lineage, "brief": brief})
