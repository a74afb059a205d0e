"""Writing the deployment files of a bundle: one folder that builds, deploys and alerts, all from this run's facts."""

from __future__ import annotations

from pathlib import Path

from modelyard.bundle.bundle import Bundle
from modelyard.bundle.copy import copy_bundle
from modelyard.core.files import write_atomic
from modelyard.serving.capacity import Capacity, capacity
from modelyard.serving.image import constraints, dockerfile, dockerignore, image_name
from modelyard.serving.kubernetes import manifests
from modelyard.serving.rehearsal import request_microseconds


def export_files(
    bundle: Bundle,
    folder: Path | str,
    *,
    image: str | None = None,
    workflow: str | None = None,
    rules: str | None = None,
    needs: Capacity | None = None,
) -> list[Path]:
    """Write the files a bundle is deployed with.

    Parameters
    ----------
    bundle : Bundle
        What is deployed; what its manifest lists is copied, so that the folder alone builds the image.
    folder : path
        Where to.
    image : str, optional
        Name of the container image; default: the model's name, tagged with the bundle's hash.
    workflow : str, optional
        Text of the GitHub Actions workflow.
    rules : str, optional
        Text of the Prometheus rules.
    needs : Capacity, optional
        What the load needs; default: reckoned from a short measurement here.

    Returns
    -------
    list of Path
        The files written, without those of the bundle's copy.

    Raises
    ------
    BundleError
        If a file of the bundle was changed since it was loaded.
    WorkspaceError
        If the folder cannot be written.
    """
    root = Path(folder)
    needs = needs or capacity(bundle, request_microseconds(bundle))
    texts = {
        "Dockerfile": dockerfile(bundle),
        ".dockerignore": dockerignore(),
        "constraints.txt": constraints(),
        **{f"kubernetes/{name}": text for name, text in manifests(bundle, needs, image or image_name(bundle)).items()},
    }
    if rules is not None:
        texts["prometheus/rules.yaml"] = rules
    if workflow is not None:
        texts[f".github/workflows/{bundle.manifest.name}.yml"] = workflow
    written = [write_atomic(root / name, text) for name, text in texts.items()]
    copy_bundle(bundle.path, root / "bundle")
    return written
