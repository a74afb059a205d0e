"""Outside: what a server needs from elsewhere, as its options name it, for files that close every other way out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from modelyard.core.errors import ServingError

_PORTS: Mapping[str, Mapping[str, int]] = {
    "store": {"postgresql": 5432, "postgres": 5432},
    "redis": {"redis": 6379, "rediss": 6379},
    "issuer": {"https": 443},  # the server takes no other
    "traces": {"https": 443, "http": 80},
}
"""By option and scheme, the port where an address names none."""
_HERE = {"store": "sqlite", "redis": "unix"}
"""Schemes of what lies on the same machine."""


@dataclass(frozen=True, slots=True)
class Outside:
    """Something that a server connects to: the option that names it, its host and its port (TCP)."""

    option: str
    host: str
    port: int


def outside(
    *, store: str | None = None, redis: str | None = None, issuer: str | None = None, traces: str | None = None
) -> tuple[Outside, ...]:
    """Return what a server with these options connects to; files and Unix sockets are no such thing.

    Parameters
    ----------
    store, redis, issuer : str, optional
        As ``modelyard serve`` takes them.
    traces : str, optional
        Address of a collector of OpenTelemetry (OTLP over HTTP).

    Raises
    ------
    ServingError
        If one is no address, or names no host.
    """
    asked = {"store": store, "redis": redis, "issuer": issuer, "traces": traces}
    return tuple(place for option, url in asked.items() if url for place in _places(option, url))


def _places(option: str, url: str) -> Iterator[Outside]:
    if option == "store" and "://" not in url:  # a file
        return
    try:
        parts = urlsplit(url)
        if parts.scheme == _HERE.get(option):
            return
        usual = _PORTS[option][parts.scheme]
        for host, port in _hosts(parts.netloc.rpartition("@")[2], parse_qs(parts.query)):
            if not host:
                raise ValueError(url)
            if not host.startswith("/"):  # a folder of sockets, as Postgres has them
                yield Outside(option, host, port or usual)
    except (KeyError, ValueError):
        schemes = " or ".join(f"{scheme}://HOST:PORT" for scheme in _PORTS[option])
        # What was given may hold a password: it is not repeated.
        raise ServingError(f"--{option} names no host to let the server connect to.", allowed=f"{schemes}.") from None


def _hosts(listed: str, query: Mapping[str, list[str]]) -> Iterator[tuple[str, int | None]]:
    """Return hosts and ports: one, or several with commas between, before or in the query as Postgres takes them."""
    if not listed:
        hosts, ports = (query.get(name, [""])[0].split(",") for name in ("host", "port"))
        yield from ((host, int(ports[min(i, len(ports) - 1)] or 0) or None) for i, host in enumerate(hosts))
        return
    for each in listed.split(","):
        one = urlsplit(f"//{each}")
        yield unquote(one.hostname or ""), one.port
