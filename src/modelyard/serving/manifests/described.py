"""What each deployment file is, and how files of its kind were checked: the words that documents use."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

_SCHEMA = "schema-valid"
_KUBERNETES = "schema-valid (kubernetes-validate --strict)"
FILES: Mapping[str, tuple[str, str]] = {
    "Dockerfile": ("the image", "hadolint; not built there"),
    ".dockerignore": ("what the build leaves out", "against the Dockerfile"),
    "constraints.txt": ("the versions in the image", "those that ran the tests"),
    "compose.yaml": ("the image on one machine: read-only root, no capabilities", f"{_SCHEMA} (Compose); not run"),
    "kubernetes/deployment.yaml": ("pods, probes, measured resources", _KUBERNETES),
    "kubernetes/service.yaml": ("the address within the cluster", _KUBERNETES),
    "kubernetes/hpa.yaml": ("more pods by CPU and by requests under way", _KUBERNETES),
    "kubernetes/pdb.yaml": ("one pod at a time when machines are emptied", _KUBERNETES),
    "kubernetes/networkpolicy.yaml": ("who may call, and what is reached", _KUBERNETES),
    "kubernetes/kustomization.yaml": ("names the objects for kubectl apply -k", "kubectl kustomize"),
    "kserve/inferenceservice.yaml": ("the same container under KServe", f"{_SCHEMA} (KServe's own)"),
    "argo/rollout.yaml": ("a canary in steps, each judged", f"{_SCHEMA} (Argo's own)"),
    "argo/analysis.yaml": ("the sequential tests that judge it", f"{_SCHEMA}; queries run by promtool"),
    "argo/services.yaml": ("stable and canary", _KUBERNETES),
    "argo/route.yaml": ("the weights, through a Gateway", f"{_SCHEMA} (Gateway API's own)"),
    "argo/kustomization.yaml": ("all of it, over the Kubernetes objects", "kubectl kustomize"),
    "config.pbtxt": ("Triton: inputs, types, widths", "parsed as Triton's ModelConfig; not started"),
    "model.onnx": ("Triton: the graph", "answers as the bundle does"),
    "classes.txt": ("Triton: names of the classes", "against the bundle"),
    "nginx.conf": ("canary, mirror, one caller one version", "started; the split was counted"),
    "envoy.yaml": ("the same with Envoy", "started; the split was counted"),
    ".service": ("a systemd unit, sandboxed", "systemd-analyze verify and security; not started"),
    "prometheus/rules.yaml": ("alerts, and the shares they read", "promtool; they fire when they should"),
    "prometheus/scrape.yaml": ("how Prometheus finds the pods", "promtool"),
    "prometheus/adapter.yaml": ("requests under way, for the autoscaler", "its query, by promtool"),
    "dashboard.json": ("a Grafana dashboard", "read by Grafana's SDK; a Prometheus answered its queries"),
    ".yml": ("GitHub Actions workflow", "zizmor"),
}
"""By the end of their path: what they are, and how such files were checked in modelyard's tests."""


def described(path: PurePath) -> tuple[str, str]:
    """Return what a file is and how such files were checked."""
    text = path.as_posix()
    found = (said for end, said in FILES.items() if text.endswith(end))
    return next(found, ("", ""))
