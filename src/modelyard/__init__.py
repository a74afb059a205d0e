"""modelyard: a brief and a data set go in; a served, watched, governed model and six documents come out.

The public names, each loaded when first used, so that ``import modelyard`` stays fast.
"""

import os
from importlib import import_module

# ONNX Runtime 1.32 gathers for its maker how it is used, and sends it, from the moment it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOMES = {
    "read_brief": "modelyard.brief.read",
    "read_data": "modelyard.data.read",
    "split": "modelyard.data.splitting",
    "findings": "modelyard.data.findings",
    "select": "modelyard.selection.select",
    "train": "modelyard.training.train",
    "evaluate": "modelyard.evaluation.evaluate",
    "pack": "modelyard.bundle.pack",
    "load_bundle": "modelyard.bundle.load",
    "register": "modelyard.registry.register",
    "watch": "modelyard.monitoring.watch",
    "read_log": "modelyard.serving.log",
    "propose": "modelyard.retraining.propose",
    "develop": "modelyard.flow.develop",
    "Brief": "modelyard.brief.brief",
    "Bundle": "modelyard.bundle.bundle",
    "Dataset": "modelyard.data.dataset",
    "ModelyardError": "modelyard.core.errors",
    "Report": "modelyard.evaluation.report",
    "Run": "modelyard.training.run",
}

__all__ = sorted(_HOMES)
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'modelyard' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
