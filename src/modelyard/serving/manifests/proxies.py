"""nginx and Envoy in front of two versions: the canary's weight, a caller's own version, and copies to a shadow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modelyard.serving.answerer import REQUEST_KEY as KEY
from modelyard.serving.manifests.deployed import Deployed
from modelyard.serving.predict import PATH
from modelyard.serving.protocols.columnar import BODY_LIMIT as COLUMNS_LIMIT
from modelyard.serving.terms import BODY_LIMIT

_PATHS = r"^/(v1/(predict|explain|labels)|v2(/.*)?|ping|invocations|openapi\.json)$"
"""What callers reach: not the metrics, and nothing that administers."""
_SECONDS = 30
_TYPE = "type.googleapis.com/envoy.extensions."


@dataclass(frozen=True, slots=True)
class Split:
    """Where versions listen, as ``host:port``, and how much each is sent, in percent."""

    stable: str = "127.0.0.1:8000"
    canary: str = "127.0.0.1:8001"
    shadow: str = "127.0.0.1:8002"
    canary_percent: float = 5.0
    shadow_percent: float = 10.0
    listen: str = "127.0.0.1:8080"


def nginx_files(deployed: Deployed, split: Split | None = None) -> dict[str, str]:
    """Return ``nginx.conf``."""
    s = split or Split()
    text = f"""\

worker_processes auto;
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}

http {{
  upstream stable {{ server {s.stable} max_fails=3 fail_timeout=5s; keepalive 64; }}
  # A canary that is down or answers 502 to 504 fails nobody: stable is asked instead.
  upstream canary {{ server {s.canary} max_fails=3 fail_timeout=5s; server {s.stable} backup; keepalive 64; }}
  upstream shadow {{ server {s.shadow} max_fails=3 fail_timeout=5s; keepalive 16; }}

  # A caller that sends {KEY} stays on one version; other requests are divided one by one.
  map $http_{KEY.replace("-", "_")} $split_key {{ "" $request_id; default $http_{KEY.replace("-", "_")}; }}
  split_clients "version$split_key" $version {{ {s.canary_percent:g}% canary; * stable; }}
  split_clients "shadow$request_id" $copied {{ {s.shadow_percent:g}% shadow; * ""; }}

  log_format split '$time_iso8601 $status $request_time $version "$request_method $uri" $upstream_addr';
  access_log /dev/stdout split;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Host $host;
  proxy_set_header X-Forwarded-For $remote_addr;
  proxy_connect_timeout 1s;
  proxy_read_timeout {_SECONDS}s;
  proxy_next_upstream error timeout http_502 http_503 http_504 non_idempotent;
  # As long as a body of columns, and held in memory: no disk is to have what the prediction log leaves out.
  client_max_body_size {COLUMNS_LIMIT};
  client_body_buffer_size {COLUMNS_LIMIT};

  server {{
    listen {s.listen};
    location = {PATH} {{ mirror /shadow; proxy_pass http://$version; }}
    location ~ {_PATHS} {{ proxy_pass http://$version; }}
    location = /health {{ proxy_pass http://stable/health/ready; }}
    location / {{ return 404; }}
    location = /shadow {{
      internal;
      if ($copied = "") {{ return 204; }}
      proxy_pass http://shadow$request_uri;
    }}
  }}
}}
"""
    how = (
        "nginx -c nginx.conf -p FOLDER -g 'daemon off;'",
        "Fill in: the servers of stable, canary and shadow (several a line each where there are several), the canary's",
        "and the shadow's percent in split_clients, and listen, with your certificate where callers come from outside.",
    )
    return {"nginx/nginx.conf": deployed.commented(text, *how)}


def envoy_files(deployed: Deployed, split: Split | None = None) -> dict[str, str]:
    """Return ``envoy.yaml``."""
    s = split or Split()
    how = (
        "envoy -c envoy.yaml",
        "Fill in: the addresses of the clusters stable, canary and shadow, the weights of weighted_clusters and the",
        "numerator of request_mirror_policies (of 10,000), and the listener, with your certificate where needed.",
    )
    content = {
        "admin": {"address": _address("127.0.0.1:9901")},
        "static_resources": {
            "listeners": [
                {
                    "name": deployed.name,
                    "address": _address(s.listen),
                    "per_connection_buffer_limit_bytes": 2 * BODY_LIMIT,
                    "filter_chains": [{"filters": [_manager(deployed, s)]}],
                }
            ],
            "clusters": [
                _cluster("stable", [s.stable]),
                # Where the canary is unhealthy or an answer is retried, the second priority answers: stable.
                _cluster("canary", [s.canary, s.stable]),
                _cluster("shadow", [s.shadow]),
            ],
        },
    }
    return {"envoy/envoy.yaml": deployed.yaml(content, *how)}


def _manager(deployed: Deployed, split: Split) -> dict[str, Any]:
    canary = round(100 * split.canary_percent)
    weighted = {
        "clusters": [{"name": "stable", "weight": 10_000 - canary}, {"name": "canary", "weight": canary}],
        "use_hash_policy": True,
    }
    mirrored = {
        "cluster": "shadow",
        "runtime_fraction": {
            "default_value": {"numerator": round(100 * split.shadow_percent), "denominator": "TEN_THOUSAND"}
        },
    }
    action = {
        "weighted_clusters": weighted,
        "hash_policy": [{"header": {"header_name": KEY}}],
        "timeout": f"{_SECONDS}s",
        "retry_policy": {
            "retry_on": "connect-failure,refused-stream,reset,gateway-error",
            "num_retries": 1,
            "retry_priority": {
                "name": "envoy.retry_priorities.previous_priorities",
                "typed_config": {
                    "@type": _TYPE + "retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
                    "update_frequency": 1,
                },
            },
        },
    }
    routes = [
        {"match": {"path": PATH}, "route": action | {"request_mirror_policies": [mirrored]}},
        {"match": {"safe_regex": {"regex": _PATHS}}, "route": action},
        {"match": {"path": "/health"}, "route": {"cluster": "stable", "prefix_rewrite": "/health/ready"}},
    ]
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": _TYPE + "filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": deployed.name,
            "use_remote_address": True,
            "normalize_path": True,
            "request_headers_timeout": "10s",
            "stream_idle_timeout": "75s",
            "route_config": {
                "virtual_hosts": [{"name": deployed.name, "domains": ["*"], "routes": routes}],
            },
            "http_filters": [
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": {"@type": _TYPE + "filters.http.router.v3.Router"},
                }
            ],
        },
    }


def _cluster(name: str, addresses: list[str]) -> dict[str, Any]:
    endpoints = [
        {"priority": priority, "lb_endpoints": [{"endpoint": {"address": _address(address)}}]}
        for priority, address in enumerate(addresses)
    ]
    return {
        "name": name,
        "type": "STRICT_DNS",
        "connect_timeout": "1s",
        "health_checks": [
            {
                "timeout": "2s",
                "interval": "2s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                "http_health_check": {"path": "/health/ready"},
            }
        ],
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
    }


def _address(text: str) -> dict[str, Any]:
    host, _, port = text.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}
