"""One seed in the brief, and every other seed drawn from it by name."""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, *names: str | int) -> int:
    """Return a seed for one purpose, the same on every machine.

    Parameters
    ----------
    seed : int
        The brief's seed.
    *names : str or int
        What it is for, such as ``"fold", 3``.

    Returns
    -------
    int
        In ``[0, 2**31)``, which every library accepts.
    """
    text = "/".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
