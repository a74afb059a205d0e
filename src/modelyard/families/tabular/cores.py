"""Cores: how folds share them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from modelyard.core.optional import need


def one_blas_thread() -> AbstractContextManager[Any]:
    """Keep matrix products to one thread each while folds are fitted side by side."""
    limited: AbstractContextManager[Any] = need("threadpoolctl", "train", "Training").threadpool_limits(1, "blas")
    return limited
