"""Draft: nodes and constants of an ONNX graph as they are added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from modelyard.core.optional import need


@dataclass(slots=True)
class Draft:
    """Nodes and constants as they are added; each is named by what it gives."""

    helper: Any
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)

    def add(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Add a node, and return the name of what it gives."""
        self.nodes.append(self.helper.make_node(kind, list(inputs), [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Add a constant, and return its name."""
        self.constants.append(need("onnx.numpy_helper", "train", "The ONNX export").from_array(value, name))
        return name
