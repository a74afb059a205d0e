"""The libraries of boosted trees by name; each is loaded when first asked for."""

from __future__ import annotations

from modelyard.core.errors import FamilyError
from modelyard.families.tabular.booster import Library


def library(name: str) -> Library:
    """Return the library of that name: lightgbm, xgboost or catboost.

    Raises
    ------
    FamilyError
        If there is none.
    """
    if name == "lightgbm":
        from modelyard.families.tabular.lightgbm_trees import LightGBM

        return LightGBM()
    if name == "xgboost":
        from modelyard.families.tabular.xgboost_trees import XGBoost

        return XGBoost()
    if name == "catboost":
        from modelyard.families.tabular.catboost_trees import CatBoost

        return CatBoost()
    raise FamilyError(f"'{name}' is not a library of boosted trees.", allowed="lightgbm, xgboost, catboost")
