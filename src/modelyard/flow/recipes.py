"""Recipes by the names users give them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelyard.flow.workspace import Workspace
from modelyard.training.recipe import read_recipe


def find_recipe(word: str, yard: Workspace) -> Mapping[str, Any]:
    """Return the recipe of a run, by its id, or from a recipe file.

    Raises
    ------
    WorkspaceError
        If there is none.
    """
    path = Path(word)
    return read_recipe(path if path.is_file() else yard.folder(yard.find(word)) / "recipe.json")
