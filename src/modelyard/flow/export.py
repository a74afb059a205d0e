"""Deployment files: the server's, the registry's and the monitoring's, in one folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from modelyard.bundle.bundle import Bundle
from modelyard.monitoring.dashboard import dashboard_text
from modelyard.monitoring.rules import rules_text
from modelyard.registry.workflow import workflow_text
from modelyard.serving.capacity import Capacity
from modelyard.serving.manifests.callers import EVERYBODY, Callers
from modelyard.serving.manifests.export import export_files
from modelyard.serving.manifests.outside import Outside


def export_all(
    bundle: Bundle,
    folder: Path,
    *,
    image: str | None = None,
    needs: Capacity | None = None,
    targets: Sequence[str] = (),
    outside: Sequence[Outside] = (),
    callers: Callers = EVERYBODY,
) -> list[Path]:
    """Write what deploys a bundle, watches it and makes the next one; `targets` chooses a part.

    Servers may connect to what is `outside`, and be called by the `callers`.

    Raises
    ------
    ServingError
        If there is no such target, or the bundle cannot have it.
    WorkspaceError
        If the folder cannot be written.
    """
    more = {
        "prometheus": {"prometheus/rules.yaml": alert_rules(bundle)},
        "grafana": {"grafana/dashboard.json": dashboard_text(bundle)},
        "workflow": {f".github/workflows/{bundle.manifest.name}.yml": ci_workflow(bundle, image)},
    }
    return export_files(
        bundle, folder, targets=targets, image=image, more=more, needs=needs, outside=outside, callers=callers
    )


def ci_workflow(bundle: Bundle, image: str | None = None) -> str:
    """Return the workflow that retrains, evaluates and asks before production."""
    return workflow_text(bundle.manifest, image=image)


def alert_rules(bundle: Bundle) -> str:
    """Return the Prometheus rules of this bundle."""
    return rules_text(bundle)
