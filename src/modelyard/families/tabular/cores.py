"""Cores: how many there are, and how folds share them."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from typing import Any

from modelyard.core.optional import need


def usable_cores() -> int:
    """Return the cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def one_blas_thread() -> AbstractContextManager[Any]:
    """Keep matrix products to one thread each while folds are fitted side by side."""
    limited: AbstractContextManager[Any] = need("threadpoolctl", "train", "Training").threadpool_limits(1, "blas")
    return limited
