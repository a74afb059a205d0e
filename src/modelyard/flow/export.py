"""Deployment files: the server's, the registry's and the monitoring's, in one folder."""

from __future__ import annotations

from pathlib import Path

from modelyard.bundle.bundle import Bundle
from modelyard.monitoring.rules import rules_text
from modelyard.registry.workflow import workflow_text
from modelyard.serving.capacity import Capacity
from modelyard.serving.export import export_files


def export_all(bundle: Bundle, folder: Path, *, image: str | None = None, needs: Capacity | None = None) -> list[Path]:
    """Write Dockerfile, Kubernetes manifests, GitHub Actions workflow and Prometheus rules of a bundle.

    Raises
    ------
    WorkspaceError
        If the folder cannot be written.
    """
    return export_files(
        bundle, folder, image=image, workflow=ci_workflow(bundle, image), rules=alert_rules(bundle), needs=needs
    )


def ci_workflow(bundle: Bundle, image: str | None = None) -> str:
    """Return the workflow that retrains, evaluates and asks before production."""
    return workflow_text(bundle.manifest, image=image)


def alert_rules(bundle: Bundle) -> str:
    """Return the Prometheus rules of this bundle."""
    return rules_text(bundle)
