"""Kubernetes objects: Deployment, Service, HorizontalPodAutoscaler, PodDisruptionBudget, NetworkPolicy."""

from __future__ import annotations

from typing import Any

from modelyard.serving.capacity import BODIES, BUSY, plain_capacity
from modelyard.serving.guard.store import FILE
from modelyard.serving.manifests.deployed import KEYS, PORT, STATE, USER, Deployed
from modelyard.serving.metrics import IN_FLIGHT

CALLERS = "modelyard/callers"
"""Label of the namespaces whose pods may send requests, beside the model's own namespace."""
SCRAPED = {"prometheus.io/scrape": "true", "prometheus.io/path": "/metrics", "prometheus.io/port": str(PORT)}
"""By these annotations Prometheus finds the pods."""
_DRAIN = 5
"""Seconds a pod goes on answering after it was told to stop, until no load balancer sends it requests any more."""
_MANY = BODIES // 2
"""Requests under way in a pod, in the mean, from which on another is started: half of what its memory is made for."""


def kubernetes_files(deployed: Deployed) -> dict[str, str]:
    """Return the objects as YAML by file name, and the kustomization that names them."""
    objects = {
        "deployment.yaml": deployment(deployed),
        "service.yaml": service(deployed),
        "hpa.yaml": autoscaler(deployed),
        "pdb.yaml": disruption_budget(deployed),
        "networkpolicy.yaml": network_policy(deployed),
    }
    repository = repository_of(deployed.image)
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "images": [{"name": repository, "newName": repository}],
        "resources": list(objects),
    }
    how = (
        "kubectl apply -k kubernetes/",
        "Fill in: newName, the registry your cluster pulls the image from.",
        "Let other namespaces call the model, such as those of your gateway and of Prometheus:",
        f"kubectl label namespace NAME {CALLERS}=yes",
    )
    more = {
        "deployment.yaml": (
            *deployed.callers.told(*making_keys(deployed, deployed.name)),
            "For traces: export with --traces URL, which is OTEL_EXPORTER_OTLP_ENDPOINT among the container's env.",
        ),
        "networkpolicy.yaml": _ways_out(deployed),
    }
    return {f"kubernetes/{file}": deployed.yaml(it, *more.get(file, ())) for file, it in objects.items()} | {
        "kubernetes/kustomization.yaml": deployed.yaml(kustomization, *how)
    }


def deployment(deployed: Deployed) -> dict[str, Any]:
    """Return the Deployment: several pods, replaced one by one, on several machines where there are."""
    bundle = deployed.bundle
    pod = pod_spec(deployed, container(deployed))
    pod["topologySpreadConstraints"] = [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": selector(deployed)},
        }
    ]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(deployed)
        | {"annotations": {"modelyard/bundle": bundle.hash, "modelyard/run": bundle.manifest.lineage.run}},
        "spec": {
            "replicas": deployed.needs.pods,
            "selector": {"matchLabels": selector(deployed)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {"metadata": {"labels": labels(deployed), "annotations": SCRAPED}, "spec": pod},
        },
    }


def container(deployed: Deployed, name: str = "server") -> dict[str, Any]:
    """Return the container: probes, measured resources, and no right to do anything but answer."""
    quantities = plain_capacity(deployed.needs)
    callers = deployed.callers
    keys = {"name": "keys", "mountPath": KEYS, "subPath": FILE, "readOnly": True}
    return {
        "name": name,
        "image": deployed.image,
        **({"args": [word.replace("$", "$$") for word in callers.words]} if callers.words else {}),
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "resources": {"requests": dict(quantities), "limits": {"memory": quantities["memory"]}},
        "startupProbe": _probe("/health/ready", periodSeconds=1, failureThreshold=60),
        "readinessProbe": _probe("/health/ready", periodSeconds=2, failureThreshold=1),
        "livenessProbe": _probe("/health/live", periodSeconds=10, failureThreshold=3),
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(_DRAIN)]}}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "state", "mountPath": STATE},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
            *([keys] if callers.keys else []),
        ],
    }


def pod_spec(deployed: Deployed, server: dict[str, Any]) -> dict[str, Any]:
    """Return the pod around the container: not root, no token of the cluster, and two folders it may write.

    Its keys are a Secret's: SQLite shares a file among the processes of one machine, and pods run on several.
    """
    keys = {"name": "keys", "secret": {"secretName": keys_name(deployed)}}
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 45,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [server],
        "volumes": [
            {"name": "state", "emptyDir": {}},
            {"name": "tmp", "emptyDir": {}},
            *([keys] if deployed.callers.keys else []),
        ],
    }


def keys_name(deployed: Deployed) -> str:
    """Return the name of the Secret that holds the file of keys."""
    return f"{deployed.name}-keys"


def making_keys(deployed: Deployed, pods: str) -> tuple[str, ...]:
    """Return how the Secret of the keys is made, and what brings it to the `pods` of a Deployment."""
    return (
        "Keys: modelyard keys create NAME --workspace keys, and before the pods start:",
        f"kubectl create secret generic {keys_name(deployed)} --from-file=keys/{FILE} --dry-run=client -o yaml"
        " | kubectl apply -f -",
        f"After another change of the keys the same, and then: kubectl rollout restart deployment/{pods}",
    )


def service(deployed: Deployed, role: str | None = None) -> dict[str, Any]:
    """Return the Service that callers within the cluster use, or one of a rollout's two."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(deployed, role),
        "spec": {"selector": selector(deployed), "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    }


def autoscaler(deployed: Deployed) -> dict[str, Any]:
    """Return the HorizontalPodAutoscaler.

    More pods are started when CPU passes the share that capacity was reckoned with, and when requests pile up without
    using CPU: long bodies on slow lines, a full queue.
    """
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(deployed),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployed.name},
            "minReplicas": deployed.needs.pods,
            "maxReplicas": deployed.needs.most_pods,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": round(100 * BUSY)},
                    },
                },
                {
                    "type": "Pods",
                    "pods": {
                        "metric": {"name": IN_FLIGHT},
                        "target": {"type": "AverageValue", "averageValue": str(_MANY)},
                    },
                },
            ],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},
        },
    }


def disruption_budget(deployed: Deployed) -> dict[str, Any]:
    """Return the PodDisruptionBudget: machines are emptied one pod at a time, and a broken pod stops nobody."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(deployed),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": selector(deployed)},
        },
    }


def network_policy(deployed: Deployed) -> dict[str, Any]:
    """Return the NetworkPolicy: one port for the namespace and for those labelled as callers, and what is needed out.

    What is outside is let through by port alone, as policies know no names, and so are name servers; where there is
    nothing outside, nothing is.
    """
    ports = dict.fromkeys(place.port for place in deployed.outside)
    names = [{"ports": [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]}] if ports else []
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(deployed),
        "spec": {
            "podSelector": {"matchLabels": selector(deployed)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {
                    "from": [{"podSelector": {}}, {"namespaceSelector": {"matchLabels": {CALLERS: "yes"}}}],
                    "ports": [{"port": "http", "protocol": "TCP"}],
                }
            ],
            "egress": [*names, *({"ports": [{"port": port, "protocol": "TCP"}]} for port in ports)],
        },
    }


def _ways_out(deployed: Deployed) -> tuple[str, ...]:
    """Return what the file of the NetworkPolicy says of its egress."""
    if not deployed.outside:
        return ("No way out: where a server needs one, export again with --store, --redis, --issuer or --traces.",)
    named = ", ".join(f"{place.option} at {place.host}:{place.port}" for place in deployed.outside)
    return (
        f"Ways out, by port: name servers, {named}.",
        "Fill in: `to`, where you know their namespaces or addresses; the pods' ports, where a Service has others.",
    )


def repository_of(image: str) -> str:
    """Return an image's name without its tag or digest."""
    path, slash, last = image.partition("@")[0].rpartition("/")
    return path + slash + last.partition(":")[0]


def metadata(deployed: Deployed, role: str | None = None) -> dict[str, Any]:
    """Return the name and labels of an object; `role` is added to the name."""
    return {"name": deployed.name if role is None else f"{deployed.name}-{role}", "labels": labels(deployed)}


def selector(deployed: Deployed) -> dict[str, str]:
    """Return the label by which objects find the model's pods."""
    return {"app.kubernetes.io/name": deployed.name}


def labels(deployed: Deployed) -> dict[str, str]:
    """Return the labels of every object."""
    return {
        **selector(deployed),
        "app.kubernetes.io/version": deployed.bundle.hash[:12],
        "app.kubernetes.io/component": "model-server",
        "app.kubernetes.io/managed-by": "modelyard",
    }


def _probe(path: str, **timing: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": "http"}, "timeoutSeconds": 2, **timing}
