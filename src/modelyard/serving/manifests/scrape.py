"""What Prometheus needs to find the pods, and its adapter to scale them by requests under way."""

from __future__ import annotations

from typing import Any

from modelyard.serving.manifests.argo import HASH
from modelyard.serving.manifests.deployed import Deployed
from modelyard.serving.metrics import IN_FLIGHT

_POD = "__meta_kubernetes_pod"


def scrape_files(deployed: Deployed) -> dict[str, str]:
    """Return a scrape configuration and the rule of prometheus-adapter."""
    return {
        "prometheus/scrape.yaml": deployed.yaml(
            {"scrape_configs": [scrape(deployed)]},
            "Named in scrape_config_files of prometheus.yml (2.43 or newer), or copied into its scrape_configs.",
            "Not needed where Prometheus scrapes annotated pods already, with their labels, as its usual chart does.",
        ),
        "prometheus/adapter.yaml": deployed.yaml(
            {"rules": [adapter_rule()]},
            "For prometheus-adapter's configuration: gives the autoscaler the requests under way.",
        ),
    }


def scrape(deployed: Deployed) -> dict[str, Any]:
    """Return the scrape of this model's pods, with the labels that the analysis and the adapter ask for."""
    copied = {
        f"{_POD}_name": "pod",
        "__meta_kubernetes_namespace": "namespace",
        f"{_POD}_label_{HASH}": HASH,
    }
    return {
        "job_name": deployed.name,
        "scrape_interval": "15s",
        "kubernetes_sd_configs": [
            {"role": "pod", "selectors": [{"role": "pod", "label": f"app.kubernetes.io/name={deployed.name}"}]}
        ],
        "relabel_configs": [
            {"source_labels": [f"{_POD}_container_port_name"], "regex": "http", "action": "keep"},
            {"source_labels": [f"{_POD}_phase"], "regex": "Pending|Succeeded|Failed", "action": "drop"},
            *({"source_labels": [source], "target_label": label} for source, label in copied.items()),
        ],
    }


def adapter_rule() -> dict[str, Any]:
    """Return the rule that serves the gauge as a metric of pods, in the mean over a minute."""
    return {
        "seriesQuery": f'{IN_FLIGHT}{{namespace!="",pod!=""}}',
        "resources": {"overrides": {"namespace": {"resource": "namespace"}, "pod": {"resource": "pod"}}},
        "name": {"as": IN_FLIGHT},
        "metricsQuery": "sum by (<<.GroupBy>>) (avg_over_time(<<.Series>>{<<.LabelMatchers>>}[1m]))",
    }
