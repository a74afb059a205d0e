"""The container image: a Dockerfile whose build folder holds the bundle, the tested versions, and how it runs."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, requires, version

from modelyard.bundle.bundle import Bundle
from modelyard.serving.manifests.callers import EVERYBODY, Callers
from modelyard.serving.manifests.deployed import BUNDLE, PORT, STATE, USER, Deployed

_PYTHONS = ("3.11", "3.12", "3.13")


def image_files(deployed: Deployed) -> dict[str, str]:
    """Return what builds the image beside the bundle's copy, and a Compose file that runs it locked down."""
    return {
        "Dockerfile": dockerfile(deployed.bundle, deployed.callers, deployed.extras),
        ".dockerignore": dockerignore(),
        "constraints.txt": constraints(),
        "compose.yaml": compose(deployed),
    }


def dockerfile(bundle: Bundle, callers: Callers = EVERYBODY, extras: Sequence[str] = ()) -> str:
    """Return the Dockerfile of a bundle: slim, without a shell to log in to, not root, with a health check.

    Parameters
    ----------
    bundle : Bundle
        What is served.
    callers : Callers
        Who may call it, unless the container is given other words.
    extras : sequence of str
        What is installed beside the base, unless the build is told otherwise.
    """
    manifest = bundle.manifest
    command = ["modelyard", "serve", BUNDLE, "--host", "0.0.0.0", "--port", str(PORT)]  # noqa: S104
    own = version("modelyard")
    probe = f"import urllib.request; urllib.request.urlopen('http://127.0.0.1:{PORT}/health/ready', timeout=2)"
    words = f"CMD {json.dumps(callers.words)}\n" if callers.words else ""
    told = "".join(f"# {line}\n" for line in callers.told())
    return f"""\
# {manifest.name}: bundle {bundle.hash[:12]} of run {manifest.lineage.run}.
{told}FROM python:{_python(bundle)}-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 MODELYARD_WORKSPACE={STATE}

RUN useradd --uid {USER} --user-group --no-create-home --shell /usr/sbin/nologin modelyard \\
 && mkdir -p {STATE} \\
 && chown {USER}:{USER} {STATE}

# The versions this bundle's answers were checked with.
COPY constraints.txt *.whl /srv/
# A wheel of modelyard beside this file is installed; without one, the package index is asked.
# More than the base install is asked for by its extras: docker build --build-arg EXTRAS=auth,otel
ARG EXTRAS="{",".join(extras)}"
RUN if ls /srv/*.whl > /dev/null 2>&1; \\
    then pip install --no-cache-dir --constraint /srv/constraints.txt /srv/*.whl; \\
    else pip install --no-cache-dir modelyard=={own} --constraint /srv/constraints.txt; fi \\
 && if [ -n "${{EXTRAS}}" ]; \\
    then pip install --no-cache-dir "modelyard[${{EXTRAS}}]=={own}" --constraint /srv/constraints.txt; fi

COPY bundle {BUNDLE}

USER {USER}
EXPOSE {PORT}
VOLUME ["{STATE}"]
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD {json.dumps(["python", "-c", probe])}
ENTRYPOINT {json.dumps(command)}
{words}"""


def dockerignore() -> str:
    """Return what the build leaves out: everything but the bundle, the versions and a wheel."""
    return "*\n!bundle\n!constraints.txt\n!*.whl\n"


def constraints() -> str:
    """Return the installed versions of the packages that serving needs, in the form pip reads."""
    pinned = []
    for requirement in requires("modelyard") or []:
        if "extra ==" in requirement:
            continue
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        try:
            pinned.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            continue  # not for this platform
    return "\n".join(sorted(pinned, key=str.lower)) + "\n"


def compose(deployed: Deployed) -> str:
    """Return a Compose file: the image with a read-only root, no capabilities, and the memory it is to need."""
    server = {
        "image": deployed.image,
        "build": {"context": "."},
        "read_only": True,
        "tmpfs": ["/tmp"],  # noqa: S108
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "mem_limit": f"{deployed.needs.mebibytes}m",
        "pids_limit": 256,
        "restart": "unless-stopped",
        "stop_grace_period": "45s",
        "ports": [f"127.0.0.1:{PORT}:{PORT}"],
        "volumes": [f"state:{STATE}"],
    }
    return deployed.yaml(
        {"name": deployed.name, "services": {"server": server}, "volumes": {"state": {}}},
        "docker compose up --build --detach --wait",
        "Fill in: ports, where others than this machine are to reach it.",
        *deployed.callers.told(
            "Keys, before it starts and while it runs:",
            "docker compose run --rm --no-deps --entrypoint modelyard server keys create NAME",
        ),
        "For traces: export with --traces URL, and `environment: {OTEL_EXPORTER_OTLP_ENDPOINT: URL}` for server.",
    )


def image_name(bundle: Bundle) -> str:
    """Return the image's name where the user gives none: the model, tagged with its bundle."""
    return f"{bundle.manifest.name}:{bundle.hash[:12]}"


def _python(bundle: Bundle) -> str:
    """Return the Python the model was trained on, or the newest that is supported."""
    trained = ".".join(bundle.manifest.lineage.environment.get("python", "").split(".")[:2])
    return trained if trained in _PYTHONS else _PYTHONS[-1]
