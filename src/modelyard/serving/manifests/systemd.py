"""A systemd unit: the server without a container, locked into what it needs."""

from __future__ import annotations

import json
import math
import re

from modelyard.serving.manifests.deployed import PORT, Deployed

PROGRAM = "/opt/modelyard/bin/modelyard"


def systemd_files(deployed: Deployed) -> dict[str, str]:
    """Return the unit of one machine that carries the whole load.

    References
    ----------
    systemd.exec(5), "Sandboxing"; systemd.resource-control(5).
    """
    name, needs = deployed.name, deployed.needs
    workers = max(1, math.ceil(needs.peak / needs.per_core))
    processes = (
        workers if workers == 1 else workers + 1
    )  # the first one looks after the others, and holds the bundle too
    words = "".join(f" {_quoted(word)}" for word in deployed.callers.words)
    unit = f"""\

[Unit]
Description=Model server of {name}
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=60
StartLimitBurst=5

[Service]
Type=exec
ExecStart={PROGRAM} serve /srv/{name}/bundle --host 127.0.0.1 --port {PORT} --workers {workers} \\
  --workspace %S/{name}{words}
Environment=PYTHONUNBUFFERED=1
Restart=always
RestartSec=1
# The first process tells its workers to stop, and each answers what is under way.
KillMode=mixed
TimeoutStopSec=45
LimitNOFILE=65536
MemoryMax={processes * needs.mebibytes}M
TasksMax=512

# A user that exists while the server runs, and one folder it may write: its workspace, which holds the prediction log.
DynamicUser=yes
StateDirectory={name}
StateDirectoryMode=0700
UMask=0077
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateUsers=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
# Other processes are hidden, /proc/stat is not: the metrics of the server's own CPU time are reckoned from it.
ProtectProc=invisible
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
LockPersonality=yes
# Not MemoryDenyWriteExecute: a library of the server asks the processor what it is from a page that it writes.
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
IPAddressDeny=any
IPAddressAllow=localhost

[Install]
WantedBy=multi-user.target
"""
    package = f"modelyard[{','.join(deployed.extras)}]" if deployed.extras else "modelyard"
    reached = "".join(f", and {place.option} at {place.host}:{place.port}" for place in deployed.outside)
    how = (
        f"Copy this file to /etc/systemd/system/{name}.service, then: systemctl enable --now {name}",
        f"Fill in: {PROGRAM}, a virtual environment with {package}; /srv/{name}/bundle, where the bundle lies;",
        f"IPAddressAllow, with who is to reach it beside a proxy on this machine{reached}.",
        *deployed.callers.told(
            "Keys, before it starts and while it runs, as root:",
            f"{PROGRAM} keys create NAME --workspace /var/lib/{name}",
        ),
    )
    return {f"systemd/{name}.service": deployed.commented(unit, *how)}


def _quoted(word: str) -> str:
    """Return a word of a command as systemd reads it (systemd.service(5), "Command lines")."""
    if re.fullmatch(r"[\w:/.=-]+", word):
        return word
    return json.dumps(word, ensure_ascii=False).replace("%", "%%").replace("$", "$$")
