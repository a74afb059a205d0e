"""Options of ``modelyard serve`` and ``modelyard export`` that say who may call."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

F = TypeVar("F", bound=Callable[..., Any])

_CALLERS = (
    click.option(
        "--auth",
        multiple=True,
        type=click.Choice(["keys", "oidc", "none"]),
        help="Who may call: API keys of the workspace, tokens of an issuer, or both; default: everybody.",
    ),
    click.option("--issuer", metavar="URL", help="Whose tokens are taken, as in their claim iss."),
    click.option("--audience", metavar="NAME", help="Whom tokens must be for: this server, as in their claim aud."),
    click.option("--scope-prefix", default="", metavar="TEXT", help="What stands before a permission in a scope."),
)
_LIMITS = (
    click.option("--rate", type=int, metavar="N", help="Requests a minute of a caller; default: 1,000."),
    click.option("--burst", type=int, metavar="N", help="Requests at once after a pause; default: as in a minute."),
    click.option(
        "--redis",
        metavar="URL",
        envvar="MODELYARD_REDIS",
        help="Count limits in a Redis, for several machines. An address with a password belongs in MODELYARD_REDIS.",
    ),
    click.option(
        "--redis-lost",
        type=click.Choice(["local", "deny"]),
        default="local",
        show_default=True,
        help="While Redis cannot be asked: count in each process, or answer 503.",
    ),
    click.option("--guard-metrics", is_flag=True, help="Ask for the permission 'metrics' on /metrics."),
)


def access(command: F) -> F:
    """Add the options to a command; it takes them as ``**asked`` and hands them to `access_of`."""
    for option in reversed(_LIMITS):
        command = option(command)
    return callers(command)


def callers(command: F) -> F:
    """Add the options that say who callers are; a command takes them as ``**asked`` and hands them to `auth_of`."""
    for option in reversed(_CALLERS):
        command = option(command)
    return command


def access_of(workspace: Path, asked: dict[str, Any]) -> Any:
    """Return the `Access` that the options ask for, or None for everybody."""
    auth = auth_of(asked)
    if not auth:
        for name in asked:
            if name != "auth" and _typed(name):
                option = name.replace("_", "-")
                raise click.UsageError(f"--{option} needs to tell callers apart: add --auth keys or --auth oidc.")
        return None
    from modelyard.adapters.redis_limits import SECONDS, SHORTLY, RedisLimits
    from modelyard.serving.guard.access import Access
    from modelyard.serving.guard.limit import RATE
    from modelyard.serving.guard.store import FILE

    patience = SECONDS if asked["redis_lost"] == "deny" else SHORTLY
    return Access(
        keys=workspace / FILE if "keys" in auth else None,
        issuer=asked["issuer"],
        audience=asked["audience"],
        prefix=asked["scope_prefix"],
        rate=RATE if asked["rate"] is None else asked["rate"],
        burst=asked["burst"],
        shared=partial(RedisLimits, asked["redis"], patience) if asked["redis"] else None,
        otherwise=asked["redis_lost"],
        metrics=asked["guard_metrics"],
    )


def auth_of(asked: dict[str, Any]) -> set[str]:
    """Return what callers may show, of "keys" and "oidc"; nothing of them where everybody may call."""
    auth = set(asked["auth"]) - {"none"}
    if "none" in asked["auth"] and auth:
        raise click.UsageError("--auth none goes with no other.")
    if "oidc" in auth and not (asked["issuer"] and asked["audience"]):
        raise click.UsageError("--auth oidc needs --issuer URL and --audience NAME.")
    if "oidc" not in auth and (asked["issuer"] or asked["audience"] or asked["scope_prefix"]):
        raise click.UsageError("--issuer, --audience and --scope-prefix go with --auth oidc.")
    return auth


def _typed(name: str) -> bool:
    """Say whether an option was given on the command line, and not by the environment."""
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE
