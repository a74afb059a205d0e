"""Writing the deployment files of a bundle: one folder that builds, deploys and alerts, all from this run's facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from modelyard.bundle.bundle import Bundle
from modelyard.bundle.copy import copy_bundle
from modelyard.core.errors import ServingError
from modelyard.core.files import write_atomic
from modelyard.serving.capacity import Capacity, capacity
from modelyard.serving.manifests.argo import argo_files
from modelyard.serving.manifests.callers import EVERYBODY, Callers
from modelyard.serving.manifests.deployed import Deployed
from modelyard.serving.manifests.image import image_files, image_name
from modelyard.serving.manifests.kserve import kserve_files
from modelyard.serving.manifests.kubernetes import kubernetes_files
from modelyard.serving.manifests.outside import Outside
from modelyard.serving.manifests.proxies import envoy_files, nginx_files
from modelyard.serving.manifests.scrape import scrape_files
from modelyard.serving.manifests.systemd import systemd_files
from modelyard.serving.manifests.triton import triton_files
from modelyard.serving.rehearsal import request_microseconds

Files = Mapping[str, str | bytes]

TARGETS: Mapping[str, Callable[[Deployed], Files]] = {
    "docker": image_files,
    "kubernetes": kubernetes_files,
    "kserve": kserve_files,
    # A rollout lies over the Kubernetes objects.
    "argo": lambda deployed: {**kubernetes_files(deployed), **argo_files(deployed)},
    "triton": triton_files,
    "nginx": nginx_files,
    "envoy": envoy_files,
    "systemd": systemd_files,
    "prometheus": scrape_files,
}
"""What makes the files of each target."""


def export_files(
    bundle: Bundle,
    folder: Path | str,
    *,
    targets: Sequence[str] = (),
    image: str | None = None,
    more: Mapping[str, Files] | None = None,
    needs: Capacity | None = None,
    outside: Sequence[Outside] = (),
    callers: Callers = EVERYBODY,
) -> list[Path]:
    """Write the files a bundle is deployed with.

    Parameters
    ----------
    bundle : Bundle
        What is deployed; for the target "docker" what its manifest lists is copied, so that the folder alone builds
        the image.
    folder : path
        Where to.
    targets : sequence of str
        Which files; default all that the bundle can have.
    image : str, optional
        Name of the container image; default: the model's name, tagged with the bundle's hash.
    more : mapping, optional
        Files of other stages, by target.
    needs : Capacity, optional
        What the load needs; default: reckoned from a short measurement here.
    outside : sequence of Outside
        What the server connects to: a network policy lets it, and nowhere else.
    callers : Callers
        Who may call the server; default: everybody who reaches it.

    Returns
    -------
    list of Path
        The files written, without those of the bundle's copy.

    Raises
    ------
    BundleError
        If a file of the bundle was changed since it was loaded.
    ServingError
        If there is no such target, or the bundle cannot have it.
    WorkspaceError
        If the folder cannot be written.
    """
    root, more = Path(folder), more or {}
    known = dict.fromkeys([*TARGETS, *more])
    unknown = [target for target in targets if target not in known]
    if unknown:
        raise ServingError(f"No target is called '{unknown[0]}'.", allowed=f"{', '.join(known)}.")
    chosen = targets or [t for t in known if t != "triton" or bundle.manifest.runtime == "onnx"]
    needs = needs or capacity(bundle, request_microseconds(bundle))
    deployed = Deployed(bundle, needs, image or image_name(bundle), tuple(outside), callers)
    files: dict[str, str | bytes] = {}
    for target in chosen:
        files |= {**(TARGETS[target](deployed) if target in TARGETS else {}), **more.get(target, {})}
    written = [write_atomic(root / name, content) for name, content in files.items()]
    if "docker" in chosen:
        copy_bundle(bundle.path, root / "bundle")
    return written
