"""``modelyard keys``: make, list, rotate and revoke API keys."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelyard.cli import options

if TYPE_CHECKING:
    from modelyard.serving.guard.key import Key
    from modelyard.serving.guard.store import KeyStore

_expires = click.option(
    "--expires", type=options.Time(), metavar="TIME", help="When the key ends, from now; such as 90d."
)


@click.group("keys")
def command() -> None:
    """Make, list, rotate and revoke the API keys of `modelyard serve --auth keys`.

    A key has a name, an id and permissions: predict, explain, labels, metrics, admin. Its secret is shown once; only
    a hash of it is kept, in keys.db of the workspace. Running servers notice a change within a second.

    \b
    Examples:
      modelyard keys create ward-app
      modelyard keys list
      modelyard keys rotate ward-app --overlap 7d
    """


@command.command("create")
@click.argument("name")
@click.option("--scope", "permissions", multiple=True, default=("predict",), help="What it may do; default: predict.")
@_expires
@click.option("--rate", type=int, metavar="N", help="Requests a minute, of its own; default: the server's.")
@click.option("--burst", type=int, metavar="N", help="Requests at once after a pause; default: as in a minute.")
@options.workspace
@options.as_json
def create(
    name: str,
    permissions: tuple[str, ...],
    expires: float | None,
    rate: int | None,
    burst: int | None,
    workspace: Path,
    as_json: bool,
) -> None:
    """Make a key and show its secret, this once.

    \b
    Examples:
      modelyard keys create ward-app
      modelyard keys create lab --scope predict --scope labels --expires 90d --rate 6000 --burst 200
    """
    from modelyard.registry.register import whoever

    made = _store(workspace, make=True).create(name, permissions, by=whoever(), rate=rate, burst=burst, seconds=expires)
    _show(*made, as_json)


@command.command("rotate")
@click.argument("key")
@click.option(
    "--overlap",
    type=options.Time(),
    default="24h",
    show_default=True,
    metavar="TIME",
    help="How long older secrets go on.",
)
@_expires
@options.workspace
@options.as_json
def rotate(key: str, overlap: float, expires: float | None, workspace: Path, as_json: bool) -> None:
    """Give a key (its id or name) a new secret; the older one goes on for a while. Id, limits and log stay.

    \b
    Examples:
      modelyard keys rotate ward-app
      modelyard keys rotate ward-app --overlap 0s
      modelyard keys rotate ward-app --expires 90d
    """
    _show(*_store(workspace).rotate(key, overlap=overlap, seconds=expires), as_json)


@command.command("revoke")
@click.argument("key")
@options.workspace
@options.as_json
def revoke(key: str, workspace: Path, as_json: bool) -> None:
    """End a key (its id or name) for good.

    \b
    Examples:
      modelyard keys revoke ward-app
    """
    ended = _store(workspace).revoke(key)
    if as_json:
        options.print_json(_plain(ended))
    else:
        click.echo(f"Revoked {ended.id} ({ended.name}); running servers refuse it within a second.")


@command.command("list")
@click.option("--all", "everything", is_flag=True, help="Revoked ones too.")
@options.workspace
@options.as_json
def list_(everything: bool, workspace: Path, as_json: bool) -> None:
    """List the keys, oldest first, without secrets.

    \b
    Examples:
      modelyard keys list
      modelyard keys list --all --json
    """
    keys = [key for key in _store(workspace).listed() if everything or key.revoked is None]
    if as_json:
        options.print_json([_plain(key) for key in keys])
        return
    if not keys:
        click.echo("No keys yet. Make one: modelyard keys create NAME")
        return
    now = time.time()
    rows = [
        [
            key.id,
            key.name,
            key.state(now),
            ", ".join(key.permissions),
            "server's" if key.rate is None else f"{key.rate:,}/min, {key.burst or key.rate:,} at once",
            str(_moment(key.created)),
            _moment(key.expires) or "never",
            key.by,
        ]
        for key in keys
    ]
    options.print_table(["id", "name", "state", "may", "limit", "made", "ends", "by"], rows)


def _store(workspace: Path, make: bool = False) -> KeyStore:
    from modelyard.core.errors import ServingError
    from modelyard.serving.guard.store import FILE, KeyStore

    path = workspace / FILE
    if not make and not path.is_file():  # perhaps the wrong workspace: nothing is made there
        raise ServingError("There are no keys.", where=str(path), do="Make one: modelyard keys create NAME")
    return KeyStore(path)


def _show(key: Key, secret: str, as_json: bool) -> None:
    """Print a key and its secret."""
    if as_json:
        options.print_json({**_plain(key), "secret": secret})
        return
    click.echo(
        f"Key {key.id} ({key.name}) may {', '.join(key.permissions)}; it ends {_moment(key.expires) or 'never'}."
    )
    click.echo(secret)
    click.echo("This is shown once; only its hash is kept.", err=True)


def _plain(key: Key) -> dict[str, Any]:
    moments = {name: _moment(getattr(key, name)) for name in ("created", "expires", "revoked")}
    older = [_moment(secret.ends) for secret in key.secrets if secret.ends is not None and secret.ends > time.time()]
    return {
        "id": key.id,
        "name": key.name,
        "state": key.state(time.time()),
        "permissions": key.permissions,
        "rate": key.rate,
        "burst": key.burst,
        "by": key.by,
        **moments,
        "older_secrets_end": older,
    }


def _moment(seconds: float | None) -> str | None:
    """Return a moment in UTC, ISO 8601."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
