"""A KServe InferenceService: the same container, run and scaled by KServe."""

from __future__ import annotations

from modelyard.serving.capacity import BUSY
from modelyard.serving.manifests.deployed import Deployed
from modelyard.serving.manifests.kubernetes import container, making_keys, metadata, pod_spec


def kserve_files(deployed: Deployed) -> dict[str, str]:
    """Return the InferenceService and its kustomization.

    The bundle is its own server, so KServe is given the container and no runtime. The mode `Standard` runs it as a
    plain Deployment: a pod takes seconds to start, which scaling to none and back would put on a caller.
    """
    server = container(deployed, "kserve-container")
    predictor = pod_spec(deployed, server) | {
        "minReplicas": deployed.needs.pods,
        "maxReplicas": deployed.needs.most_pods,
        "scaleMetric": "cpu",
        "scaleTarget": round(100 * BUSY),
    }
    service = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": metadata(deployed)
        | {
            "annotations": {
                "serving.kserve.io/deploymentMode": "Standard",
                "serving.kserve.io/autoscalerClass": "hpa",
                "modelyard/bundle": deployed.bundle.hash,
            }
        },
        "spec": {"predictor": predictor},
    }
    how = (
        "kubectl apply -f kserve/inferenceservice.yaml (KServe 0.16 or newer)",
        "Fill in: image, where your cluster pulls from another registry.",
        *deployed.callers.told(*making_keys(deployed, f"{deployed.name}-predictor")),
    )
    return {"kserve/inferenceservice.yaml": deployed.yaml(service, *how)}
