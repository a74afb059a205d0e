"""uvicorn with the settings that modelyard serves with, which a test compares."""

from __future__ import annotations

from typing import Any

import uvicorn

SETTINGS: dict[str, Any] = {
    "loop": "uvloop",
    "http": "httptools",
    "ws": "none",
    "access_log": False,
    "log_config": None,
    "log_level": "warning",
    "proxy_headers": False,
    "server_header": False,
    "timeout_keep_alive": 75,
}


def run(app: Any, port: int) -> None:
    """Serve an application on this machine until told to stop."""
    uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, lifespan="off", **SETTINGS)).run()
