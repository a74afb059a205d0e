"""What a guard asks for, in the OpenAPI document of its server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_REFUSALS = {
    "400": ("The header Authorization is sent twice.", ("WWW-Authenticate",)),
    "401": ("No key or token, or one that is not known, or has ended.", ("WWW-Authenticate",)),
    "403": ("The key or token may not do this.", ("WWW-Authenticate",)),
    "429": ("The caller's limit is used up.", ("Retry-After", "RateLimit", "RateLimit-Policy")),
    "503": ("Who calls, or what is left of their limit, cannot be found out.", ("Retry-After",)),
}


def secure(document: dict[str, Any], schemes: Mapping[str, Any], permissions: Mapping[str, str]) -> None:
    """Add security schemes to a document, and to each guarded operation what it needs and how it refuses.

    Parameters
    ----------
    document : dict
        An OpenAPI document; it is changed.
    schemes : mapping
        Security schemes by name; one of them is enough.
    permissions : mapping
        What each route asks for; a route that ends with a slash is that of every path below it.

    References
    ----------
    OpenAPI Specification 3.1.1, "Security Requirement Object": roles may be listed for every type of scheme.
    """
    document["components"]["securitySchemes"] = dict(schemes)
    for path, operations in document["paths"].items():
        below = (wanted for route, wanted in permissions.items() if route.endswith("/") and path.startswith(route))
        wanted = permissions[path] if path in permissions else next(below, "")
        if not wanted:
            continue
        for operation in operations.values():
            operation["security"] = [{name: [wanted]} for name in schemes]
            for status, (text, headers) in _REFUSALS.items():
                described = operation["responses"].setdefault(status, {"description": text, "content": _PROBLEM})
                described["headers"] = {name: {"schema": {"type": "string"}} for name in headers}


_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
