"""Bytes of the graph's file: what trees take, and what all members share."""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.families.tabular.inputs import Levels
from modelyard.families.tabular.symmetric import DEPTHS
from modelyard.families.tabular.tables import FEW_LEVELS, MOST_CLASSES
from modelyard.families.tabular.texts import Vocabulary

NODE_BYTES, VALUE_BYTES = 28, 13
"""Bytes of a node of a tree, and of a leaf's value, in the graph's file: measured as 26.5 and 11.4 on forests of 130 to
720 trees, and rounded up."""
SPLIT_BYTES = 12
"""Bytes of a split of a whole level of a symmetric tree: its feature and its threshold."""
FRAME_BYTES = 3_000
"""Bytes of the graph's other nodes and of the small constants."""
CALENDAR_BYTES = 24_000
"""Bytes of the nodes and constants that work out the parts of dates."""


def forest_bytes(leaves: float, trees: float, values: int = 1) -> float:
    """Return what trees of so many leaves in all take, each leaf with so many values."""
    return NODE_BYTES * (2 * leaves - trees) + VALUE_BYTES * leaves * values


def compared_bytes(depth: int, trees: float, values: int = 1) -> float:
    """Return what symmetric trees take besides: splits by level and leaves by number, for many rows at once."""
    held = next((size for size in DEPTHS if size >= depth), None)
    return 0.0 if held is None else trees * (SPLIT_BYTES * held + 4.0 * values * 2**held)


def shared_bytes(levels: Levels, classes: int, vocabularies: Sequence[Vocabulary] = (), dates: bool = False) -> float:
    """Reckon what all members share of the file: names of levels, their places and figures; words; the calendar."""
    forms = (form for known in vocabularies for form in known.forms())
    frame = (
        FRAME_BYTES
        + CALENDAR_BYTES * dates
        + sum(len(form.encode()) + 18 for form in forms)
        + 16 * sum(len(v.pairs) for v in vocabularies)
    )
    if not levels:
        return frame
    words = set().union(*levels)
    names = sum(len(word.encode()) + 10 for word in words)
    places = 8 * (len(words) + 2) * len(levels)
    means = 0 if classes > MOST_CLASSES else classes if classes > 2 else 1
    width = 1 + means + (1 if max(map(len, levels)) > FEW_LEVELS else 0)
    return frame + names + places + 4 * width * sum(len(known) + 2 for known in levels)
