"""An Argo Rollout over the Deployment: a canary by weight, judged by sequential tests; undecided, it is held."""

from __future__ import annotations

import math
from typing import Any

from prometheus_client.utils import floatToGoString

from modelyard.brief.brief import Latency
from modelyard.serving.manifests.deployed import Deployed
from modelyard.serving.manifests.kubernetes import metadata, selector, service
from modelyard.serving.metrics import ANSWERS_ROWS, REQUESTS

ERROR_LIMIT = 0.01
"""Share of failed requests from which a version is not promoted."""
WORSE, BETTER = 3.0, 0.25
"""What the tests bet on: that the true share is this many times the limit."""
ROLLBACK_LEVEL, PROMOTE_LEVEL = 0.01, 0.05
WEIGHTS = (5, 25, 50)
LOOKS, LOOK_MINUTES = 60, 1
BAKE_MINUTES = 10
HASH = "rollouts_pod_template_hash"
"""Label that tells the canary's pods, as Prometheus writes the pod label of Argo Rollouts."""


def argo_files(deployed: Deployed) -> dict[str, str]:
    """Return the rollout, its analysis, its services and route, and a kustomization over the Kubernetes objects."""
    name = deployed.name
    rollouts = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": name}
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["../kubernetes", "rollout.yaml", "analysis.yaml", "services.yaml", "route.yaml"],
        # The rollout scales the Deployment it refers to: the autoscaler moves the rollout, and nobody else the pods.
        "patches": [
            {
                "target": {"kind": "HorizontalPodAutoscaler", "name": name},
                "patch": f"- op: replace\n  path: /spec/scaleTargetRef\n  value: {_flow(rollouts)}\n",
            },
            {"target": {"kind": "Deployment", "name": name}, "patch": "- op: remove\n  path: /spec/replicas\n"},
        ],
    }
    how = (
        "kubectl apply -k argo/ (Argo Rollouts 1.8 or newer with its Gateway API plugin, and Prometheus)",
        "Fill in: namespace, in rollout.yaml; the Gateway, in route.yaml; the address of Prometheus, in analysis.yaml.",
        *deployed.callers.told(
            f"Keys: see kubernetes/deployment.yaml; after a change of them: kubectl argo rollouts restart {name}"
        ),
    )
    return {
        "argo/rollout.yaml": deployed.yaml(rollout(deployed), "Fill in: namespace, where the route lies."),
        "argo/analysis.yaml": deployed.yaml(
            analyses(deployed),
            "Fill in: the value of `prometheus`, twice: its address within the cluster.",
            "Each look asks for the logarithm of an e-value, a likelihood ratio of all requests so far: however often",
            f"one looks, a version within the limit is rolled back with a chance of at most {ROLLBACK_LEVEL:.0%};",
            f"what is not decided in {LOOKS * LOOK_MINUTES} minutes, or not measured, holds the rollout for a person.",
        ),
        "argo/services.yaml": deployed.yaml([service(deployed, "stable"), service(deployed, "canary")]),
        "argo/route.yaml": deployed.yaml(route(deployed), "Fill in: parentRefs, your Gateway and its namespace."),
        "argo/kustomization.yaml": deployed.yaml(kustomization, *how),
    }


def rollout(deployed: Deployed) -> dict[str, Any]:
    """Return the Rollout: weights in steps, each after a bake and an analysis that must show the version is good.

    Beside the steps another analysis looks for evidence against the version from its first request on.
    """
    promoted, guarded = _judged(deployed.name), _judged(f"{deployed.name}-guard")
    steps: list[dict[str, Any]] = []
    for weight in WEIGHTS:
        steps += [{"setWeight": weight}, {"pause": {"duration": f"{BAKE_MINUTES}m"}}, {"analysis": promoted}]
    routes = {"httpRoute": deployed.name, "namespace": "default"}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": metadata(deployed),
        "spec": {
            "replicas": deployed.needs.pods,
            "selector": {"matchLabels": selector(deployed)},
            "workloadRef": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": deployed.name,
                "scaleDown": "progressively",
            },
            "progressDeadlineSeconds": 300,
            "progressDeadlineAbort": True,
            "strategy": {
                "canary": {
                    "stableService": f"{deployed.name}-stable",
                    "canaryService": f"{deployed.name}-canary",
                    "trafficRouting": {"plugins": {"argoproj-labs/gatewayAPI": routes}},
                    # The version before stays up this long, so that going back needs no new pod.
                    "scaleDownDelaySeconds": 3600,
                    "analysis": guarded,
                    "steps": steps,
                }
            },
        },
    }


def analyses(deployed: Deployed) -> list[dict[str, Any]]:
    """Return the AnalysisTemplates: what promotes a version, and what rolls it back meanwhile."""
    limit = deployed.bundle.manifest.brief.latency or Latency()
    queries = {
        "errors": decision(*counted_errors(deployed, "{{args.hash}}"), ERROR_LIMIT),
        "latency": decision(*counted_slow(deployed, "{{args.hash}}"), round(1 - limit.percentile / 100, 6)),
    }
    success = {
        "successCondition": f"len(result) > 0 && result[0] <= -{math.log(1 / PROMOTE_LEVEL):.4f}",
        "count": LOOKS,
        "consecutiveSuccessLimit": 1,
        "inconclusiveLimit": LOOKS,
    }
    return [
        _template(deployed, None, [_metric(name, query) | success for name, query in queries.items()]),
        _template(deployed, "guard", [_metric(name, query) for name, query in queries.items()]),
    ]


def counted_errors(deployed: Deployed, canary: str) -> tuple[str, str]:
    """Return PromQL for the canary's failed requests and for all of them, since it started."""
    asked = _asked(deployed, canary)
    failed = f'sum({REQUESTS}_count{{{asked},http_response_status_code=~"5.."}})'
    # No failure yet is no series yet, which counts as none; no request at all stays empty.
    everything = f"sum({REQUESTS}_count{{{asked}}})"
    return f"({failed} or {everything} * 0)", everything


def counted_slow(deployed: Deployed, canary: str) -> tuple[str, str]:
    """Return PromQL for the canary's requests over the latency limit and for all of them, since it started."""
    limit = deployed.bundle.manifest.brief.latency or Latency()
    asked = _asked(deployed, canary)
    end: str = floatToGoString(limit.milliseconds / 1e3)  # type: ignore[no-untyped-call]
    everything = f"sum({REQUESTS}_count{{{asked}}})"
    return f'({everything} - sum({REQUESTS}_bucket{{{asked},le="{end}"}}))', everything


def decision(bad: str, everything: str, limit: float) -> str:
    """Return PromQL for one number: the logarithm of the e-value against a version, or minus that of the one for it.

    Where neither has any evidence the answer is empty, and where nothing was measured too.

    Parameters
    ----------
    bad, everything : str
        PromQL that counts requests since the version started.
    limit : float
        The share of bad requests that is tested, from above and from below.

    References
    ----------
    Ramdas et al. (2023), "Game-theoretic statistics and safe anytime-valid inference", section 2: a likelihood ratio is
    a test martingale, and Ville's inequality bounds the chance that it ever passes 1/level by that level.
    """
    against, good = (
        _log_ratio(bad, everything, limit, min(times * limit, (1 + limit) / 2)) for times in (WORSE, BETTER)
    )
    return f"({against} > 0)\nor\n-({good} > 0)\n"


def _log_ratio(bad: str, everything: str, limit: float, bet: float) -> str:
    """Return PromQL for the logarithm of the likelihood of a share that is bet on, over that of the limit."""
    hit, miss = math.log(bet / limit), math.log((1 - bet) / (1 - limit))
    return f"({hit - miss:.6f} * {bad}\n  + {miss:.6f} * {everything})"


def route(deployed: Deployed) -> dict[str, Any]:
    """Return the HTTPRoute whose weights Argo Rollouts moves."""
    backends = [
        {"name": f"{deployed.name}-{role}", "port": 80, "weight": weight}
        for role, weight in (("stable", 100), ("canary", 0))
    ]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": metadata(deployed),
        "spec": {"parentRefs": [{"name": "gateway", "namespace": "gateway"}], "rules": [{"backendRefs": backends}]},
    }


def _template(deployed: Deployed, role: str | None, metrics: list[dict[str, Any]]) -> dict[str, Any]:
    prometheus = {"name": "prometheus", "value": "http://prometheus-server.monitoring.svc.cluster.local"}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisTemplate",
        "metadata": metadata(deployed, role),
        "spec": {"args": [{"name": "hash"}, prometheus], "metrics": metrics},
    }


def _metric(name: str, query: str) -> dict[str, Any]:
    """Return a metric that fails on the first evidence against a version, and not on a Prometheus that is away."""
    return {
        "name": name,
        "interval": f"{LOOK_MINUTES}m",
        "failureLimit": 0,
        "consecutiveErrorLimit": 10_000,
        "failureCondition": f"len(result) > 0 && result[0] >= {math.log(1 / ROLLBACK_LEVEL):.4f}",
        "provider": {"prometheus": {"address": "{{args.prometheus}}", "query": query}},
    }


def _judged(template: str) -> dict[str, Any]:
    canary = {"name": "hash", "valueFrom": {"podTemplateHashValue": "Latest"}}
    return {"templates": [{"templateName": template}], "args": [canary]}


def _asked(deployed: Deployed, canary: str) -> str:
    return f'model="{deployed.bundle.manifest.name}",{ANSWERS_ROWS},{HASH}="{canary}"'


def _flow(mapping: dict[str, str]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in mapping.items()) + "}"
