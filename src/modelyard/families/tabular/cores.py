"""Cores: how folds share them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager

from modelyard.core.optional import need
from modelyard.families.tabular.network_training import one_torch_thread


@contextmanager
def one_thread(algorithm: str) -> Generator[None, None, None]:
    """Keep matrix products, and torch where the algorithm is its, to one thread each while folds are fitted."""
    with ExitStack() as limits:
        limits.enter_context(need("threadpoolctl", "train", "Training").threadpool_limits(1, "blas"))
        if algorithm == "mlp":
            limits.enter_context(one_torch_thread())
        yield
