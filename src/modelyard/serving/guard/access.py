"""Access: who may call a server, as its options say; each worker makes its own guard of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from modelyard.core.errors import ServingError
from modelyard.serving.guard.guard import BearerGuard, Otherwise
from modelyard.serving.guard.issuer import Issuer
from modelyard.serving.guard.keyring import KeyRing
from modelyard.serving.guard.limit import RATE, Limit, SharedLimits
from modelyard.serving.guard.tokens import Tokens


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call a server.

    Attributes
    ----------
    keys : path or None
        File of API keys; None takes none.
    issuer, audience : str or None
        Whose tokens are taken, and whom they must be for.
    prefix : str
        What the issuer writes before a permission to make a scope of it.
    rate, burst : int
        Limit of whoever has none of their own: requests a minute, and at once.
    shared : callable or None
        Makes the buckets that several machines share; None counts in each process.
    otherwise : {"local", "deny"}
        What happens when those cannot be asked.
    metrics : bool
        Whether ``/metrics`` asks for the permission "metrics".
    """

    keys: Path | None = None
    issuer: str | None = None
    audience: str | None = None
    prefix: str = ""
    rate: int = RATE
    burst: int | None = None
    shared: Callable[[], SharedLimits] | None = None
    otherwise: Otherwise = "local"
    metrics: bool = False

    def guard(self, workers: int = 1) -> BearerGuard:
        """Return the guard of one of `workers` processes.

        Raises
        ------
        ServingError
            If nobody could be let in, or an option is out of range.
        MissingExtra
            If tokens or shared limits need a package that is not installed.
        """
        if self.keys is None and self.issuer is None:
            raise ServingError("A guard needs keys or an issuer of tokens.")
        limit = Limit.a_minute(self.rate, self.burst)
        return BearerGuard(
            None if self.keys is None else KeyRing(self.keys, limit, workers),
            None
            if self.issuer is None
            else Tokens(Issuer(self.issuer), self.audience or "", limit, workers, self.prefix),
            shared=None if self.shared is None else self.shared(),
            otherwise=self.otherwise,
        )
