"""Optional packages: imported when needed, and named with the line that installs them when absent."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from modelyard.core.errors import MissingExtra


def need(module: str, extra: str, purpose: str) -> Any:
    """Import a module of an optional package.

    Parameters
    ----------
    module : str
        Dotted name, such as ``"lightgbm"``.
    extra : str
        The extra of modelyard that installs it.
    purpose : str
        What it is needed for, as in "LightGBM candidates".

    Raises
    ------
    MissingExtra
        If the package is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        if error.name is not None and module.split(".")[0] != error.name.split(".")[0]:
            raise
        raise MissingExtra(
            f"{purpose} needs the package '{error.name or module.split('.')[0]}', which is not installed.",
            do=f'Install it with: pip install "modelyard[{extra}]"',
        ) from None


def has(module: str) -> bool:
    """Say whether a package can be imported, without importing it."""
    from importlib.util import find_spec

    return find_spec(module) is not None
