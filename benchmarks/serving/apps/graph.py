"""The packed graph without modelyard: what every server but ours runs, with the session settings of ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort


class Graph:
    """A session, and how a row becomes its inputs.

    Parameters
    ----------
    about : path
        ``graph.json``: the graph's file, and the columns of its two inputs.
    """

    def __init__(self, about: str | Path) -> None:
        known = json.loads(Path(about).read_text(encoding="utf-8"))
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        session = ort.InferenceSession(known["graph"], options, providers=["CPUExecutionProvider"])
        self._run = session.run
        self.numbers, self.strings = known["numbers"], known["strings"]
        self.levels: dict[str, list[str]] = known["levels"]

    def row(self, row: Mapping[str, Any]) -> list[float]:
        """Return the probability of each class for one row by name."""
        strings = np.empty((1, len(self.strings)), dtype=object)
        strings[0] = [row[name] for name in self.strings]
        return self.matrices(np.array([[row[name] for name in self.numbers]], dtype=np.float32), strings)[0].tolist()

    def matrices(self, numbers: Any, strings: Any) -> Any:
        """Return the probabilities, [n, 2], for a float32 matrix of numbers and an object matrix of strings."""
        return self._run(["answer"], {"numbers": numbers, "strings": strings})[0]
