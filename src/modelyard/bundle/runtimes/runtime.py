"""Runtime: what turns rows into answers, from the files of a bundle and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from modelyard.data.schema import Value

Answers = NDArray[np.floating[Any]]
"""``[n, k]``: probabilities of the schema's classes in their order, or one value."""


Row = Mapping[str, Value | datetime]
"""One row as ``Schema.check_row`` returns it."""


class Runtime(Protocol):
    """What turns rows into answers."""

    def rows(self, rows: Sequence[Row]) -> Answers:
        """Answer rows that passed ``Schema.check_row``.

        What only the runtime can see to be wrong is a RowError, with pointers ``/i/column``.
        """

    def frame(self, frame: pl.DataFrame) -> Answers:
        """Answer a frame typed as the schema says."""
