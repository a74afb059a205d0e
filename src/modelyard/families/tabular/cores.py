"""Cores: how folds share them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager

from modelyard.core.optional import need
from modelyard.families.tabular.network_training import one_torch_thread


@contextmanager
def shared_cores(algorithm: str) -> Generator[None, None, None]:
    """Set libraries up for fits side by side; matrix products, and torch where it is asked, keep to one thread each.

    CatBoost takes its logger away when the fit that set it ends; another that still runs beside it may then write to
    what is gone, which kills the process (catboost/catboost#2620). Here the logger outlives every fit.
    """
    with ExitStack() as limits:
        limits.enter_context(need("threadpoolctl", "train", "Training").threadpool_limits(1, "blas"))
        if algorithm == "mlp":
            limits.enter_context(one_torch_thread())
        if algorithm == "catboost":
            limits.enter_context(need("catboost.core", "catboost", "A CatBoost candidate").log_fixup())
        yield
