"""MLflow's model registry as a mirror of ours: versions, an alias for each stage, tags. On SQLite, with no server."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelyard.bundle.copy import copy_bundle
from modelyard.core.canonical import from_json
from modelyard.core.optional import need
from modelyard.registry.release import STAGES, Release

_TAG = "modelyard."


class MLflowMirror:
    """Shows releases in the MLflow registry of a workspace.

    Every release is a version of a registered model whose source is a copy of the bundle (MLflow writes a file of its
    own into the folder that it loads a version from, and nothing may be added to what was hashed), so
    ``mlflow.pyfunc.load_model("models:/NAME@production")`` answers. MLflow counts versions itself; ours is the tag
    ``modelyard.version``, and the bundle's hash, by which a version is found again, is ``modelyard.hash``.

    Parameters
    ----------
    root : Path
        The workspace's folder; the registry is its ``mlflow.db``, the copies lie in ``mlruns/releases``.

    Raises
    ------
    MissingExtra
        If MLflow is not installed.
    """

    def __init__(self, root: Path) -> None:
        # Read when MLflow is imported: nothing of a user's work leaves the machine.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("DO_NOT_TRACK", "true")
        self._copies = root.absolute() / "mlruns" / "releases"
        self.uri = f"sqlite:///{root.absolute() / 'mlflow.db'}"
        client = need("mlflow.tracking", "train", "Showing releases in MLflow").MlflowClient
        self._client: Any = client(tracking_uri=self.uri, registry_uri=self.uri)

    def show(self, release: Release, releases: Sequence[Release]) -> None:
        """Show a release and all those of its name; a version that is shown already only gets its tags and alias."""
        name = release.name
        known = self._versions(name)
        for one in sorted(releases, key=lambda r: r.version):
            if one.hash not in known:
                made = self._client.create_model_version(
                    name, source=self._source(one), tags=_tags(one), description=f"modelyard run {one.run}"
                )
                known[one.hash] = made.version
            self._client.set_model_version_tag(name, known[one.hash], f"{_TAG}stage", one.stage)
        aliases = self._client.get_registered_model(name).aliases
        for stage in STAGES[:-1]:
            newest = max((r for r in releases if r.stage == stage), key=lambda r: r.version, default=None)
            if newest is not None:
                self._client.set_registered_model_alias(name, stage, known[newest.hash])
            elif stage in aliases:
                self._client.delete_registered_model_alias(name, stage)

    def _source(self, release: Release) -> str:
        bundle = Path(release.bundle)
        if not bundle.is_dir():
            return bundle.as_uri()  # gone since it was registered: its version is shown all the same
        return copy_bundle(bundle, self._copies / release.hash[:12]).as_uri()

    def _versions(self, name: str) -> dict[str, str]:
        """Return MLflow's version of each bundle it shows, by hash; a name that is new is made."""
        if not self._client.search_registered_models(f"name = '{name}'"):
            self._client.create_registered_model(name)
        found = self._client.search_model_versions(f"name = '{name}'")
        return {version.tags[f"{_TAG}hash"]: version.version for version in found if f"{_TAG}hash" in version.tags}


def _tags(release: Release) -> dict[str, str]:
    tags = {"version": str(release.version), "hash": release.hash, "run": release.run, "registered": release.created}
    manifest = Path(release.bundle) / "manifest.json"
    if manifest.is_file():
        estimate = from_json(manifest.read_bytes(), dict[str, Any]).get("estimate", {})
        tags["target_met"] = str(estimate.get("target_met", "unknown"))
    return {f"{_TAG}{key}": value for key, value in tags.items()}
