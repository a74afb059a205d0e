"""Kubernetes objects for a bundle: Deployment, Service, HorizontalPodAutoscaler."""

from __future__ import annotations

from typing import Any

import yaml

from modelyard.bundle.bundle import Bundle
from modelyard.core.names import slug
from modelyard.serving.capacity import BUSY, Capacity, plain_capacity
from modelyard.serving.image import LOG, PORT, USER

_DRAIN = 5
"""Seconds a pod goes on answering after it was told to stop, until no load balancer sends it requests any more."""


def manifests(bundle: Bundle, needs: Capacity, image: str) -> dict[str, str]:
    """Return the objects of a bundle as YAML, by file name, and the kustomization that names them.

    Parameters
    ----------
    bundle : Bundle
        What is served.
    needs : Capacity
        How many pods of what size.
    image : str
        The container image.
    """
    name = object_name(bundle)
    objects = {
        "deployment.yaml": deployment(bundle, needs, image),
        "service.yaml": service(name, bundle),
        "hpa.yaml": autoscaler(name, bundle, needs),
    }
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": list(objects),
    }
    return {file: yaml.safe_dump(content, sort_keys=False) for file, content in objects.items()} | {
        "kustomization.yaml": yaml.safe_dump(kustomization, sort_keys=False)
    }


def object_name(bundle: Bundle) -> str:
    """Return the model's name as every Kubernetes object takes it: a Service's must start with a letter (RFC 1035)."""
    name = slug(bundle.manifest.name)
    return name if name[0].isalpha() else f"model-{name}"


def deployment(bundle: Bundle, needs: Capacity, image: str) -> dict[str, Any]:
    """Return the Deployment: probes, resources, and a container that may do nothing but answer."""
    name = object_name(bundle)
    quantities = plain_capacity(needs)
    container = {
        "name": "server",
        "image": image,
        "ports": [{"name": "http", "containerPort": PORT}],
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
        "volumeMounts": [{"name": "predictions", "mountPath": LOG}, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
    }
    pod = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 45,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": _selector(name)},
            }
        ],
        "containers": [container],
        "volumes": [{"name": "predictions", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}],
    }
    scrape = {"prometheus.io/scrape": "true", "prometheus.io/path": "/metrics", "prometheus.io/port": str(PORT)}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "labels": _labels(name, bundle),
            "annotations": {"modelyard/bundle": bundle.hash, "modelyard/run": bundle.manifest.lineage.run},
        },
        "spec": {
            "replicas": needs.pods,
            "selector": {"matchLabels": _selector(name)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {"metadata": {"labels": _labels(name, bundle), "annotations": scrape}, "spec": pod},
        },
    }


def service(name: str, bundle: Bundle) -> dict[str, Any]:
    """Return the Service that callers within the cluster use."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": _labels(name, bundle)},
        "spec": {"selector": _selector(name), "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    }


def autoscaler(name: str, bundle: Bundle, needs: Capacity) -> dict[str, Any]:
    """Return the HorizontalPodAutoscaler: more pods when CPU passes the share capacity was reckoned with."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "labels": _labels(name, bundle)},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": needs.pods,
            "maxReplicas": needs.most_pods,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": round(100 * BUSY)},
                    },
                }
            ],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},
        },
    }


def _probe(path: str, **timing: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": "http"}, "timeoutSeconds": 2, **timing}


def _selector(name: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": name}


def _labels(name: str, bundle: Bundle) -> dict[str, str]:
    return {
        **_selector(name),
        "app.kubernetes.io/version": bundle.hash[:12],
        "app.kubernetes.io/component": "model-server",
        "app.kubernetes.io/managed-by": "modelyard",
    }
