"""Callers: who may call a deployed server, in the words of ``modelyard serve``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Callers:
    """Who may call a deployed server; with neither keys nor an issuer everybody who reaches it.

    Attributes
    ----------
    keys : bool
        Whether API keys are taken.
    issuer, audience : str or None
        Whose tokens are taken, and whom they must be for.
    prefix : str
        What the issuer writes before a permission to make a scope of it.
    """

    keys: bool = False
    issuer: str | None = None
    audience: str | None = None
    prefix: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        """What ``modelyard serve`` is told."""
        found = ["--auth", "keys"] if self.keys else []
        if self.issuer is not None and self.audience is not None:
            found += ["--auth", "oidc", "--issuer", self.issuer, "--audience", self.audience]
        return tuple([*found, "--scope-prefix", self.prefix] if self.prefix else found)

    def told(self, *keys: str) -> tuple[str, ...]:
        """Return what a file says of them at its top: how its keys are made, or that the server is open."""
        if not self.words:
            return ("Open to whoever reaches it: export with --auth keys or --auth oidc to ask for a key or a token.",)
        return keys if self.keys else ()


EVERYBODY = Callers()
