"""E-processes for rates: evidence that may be looked at as often as one likes.

An e-process starts at 1, and where the null hypothesis is true its expectation is at most 1 at every stopping time.
By Ville's inequality it ever reaches ``1 / alpha`` with probability `alpha` at most: looking every minute, or after
every failed request, costs nothing. Each one here is a mixture of likelihood ratios over a grid of alternatives. The
grid is the prior and no approximation of one, so that validity does not hang on how fine it is.

A mixture that begins once sinks while all is well, and a version that breaks after an hour would have to climb out
first. So the mixture is over the look at which things went wrong, too: half of the prior says "from the start", the
other half ``1 / (j (j - 1))`` says "from look j on".

Errors that come in bursts break independence. Log likelihood ratios are therefore divided by the baseline's dispersion
(as quasi-likelihood does), which is exact for bursts of one size; of independent errors it only makes the test slower,
as a power below one of a supermartingale is one.

All functions take arrays with any leading axes, so that one call updates many simulated rollouts.

References
----------
Ville (1939), "Étude critique de la notion de collectif". Robbins (1970), "Statistical methods related to the law of
the iterated logarithm" (mixtures). Ramdas, Grünwald, Vovk, Shafer (2023), "Game-theoretic statistics and safe
anytime-valid inference". Turner, Ly, Grünwald (2024), "Generic E-variables for exact sequential k-sample tests that
allow for optional stopping". Shin, Ramdas, Rinaldo (2024), "E-detectors" (starts at every look).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_POINTS = 48
_RATIOS = 16
_MOST_RATIO = 100.0


@dataclass(frozen=True, slots=True)
class RateTest:
    """Whether a rate is above a limit, or below it: a mixture over a truncated Beta distribution.

    Attributes
    ----------
    hit, miss : float64 arrays of shape [points]
        Log likelihood ratio of one event, and of one request without it, for each alternative.
    prior : float64 array of shape [points]
        Log of each alternative's share.
    """

    hit: Floats
    miss: Floats
    prior: Floats

    def log_ratio(self, events: ArrayLike, requests: ArrayLike) -> Floats:
        """Return the log likelihood ratio of counts for each alternative, shape [..., points]."""
        x, n = np.asarray(events, float)[..., None], np.asarray(requests, float)[..., None]
        return np.asarray(x * self.hit + (n - x) * self.miss)


@cache
def rate_test(limit: float, side: str) -> RateTest:
    """Make a test of a rate against a limit.

    Parameters
    ----------
    limit : float
        Between 0 and 1. For each alternative beyond it the expected ratio of one request is 1 at the limit and less on
        the null's side, also of rates that change from request to request.
    side : {"above", "below"}
        The alternative: "above" is evidence against a rate of at most the limit, "below" against one of at least it.
    """
    if side == "above":
        # Odds from just over the limit to nearly certain, a Beta(1/2, 10) over them.
        logit = np.linspace(np.log(limit / (1 - limit)) + 0.05, 7.0, _POINTS)
        rates = 1 / (1 + np.exp(-logit))
        log_density = 0.5 * np.log(rates) + 10 * np.log1p(-rates)  # per unit of logit
    else:
        rates = limit * np.exp(-np.linspace(0.05, 6.0, _POINTS))
        log_density = 0.5 * np.log(rates)
    prior = log_density - _log_sum(log_density)
    return RateTest(np.log(rates / limit), np.log1p(-rates) - np.log1p(-limit), prior)


@dataclass(frozen=True, slots=True)
class OddsTest:
    """Whether events are likelier in one arm than in the other, given how many there were in both.

    Given the requests of both arms and the events of both together, those of the first arm are hypergeometric where
    the rates are the same, whatever the rate is and however it changes from look to look; with an odds ratio they
    follow Fisher's noncentral hypergeometric distribution.

    Attributes
    ----------
    limit : float
        Log of the odds ratio that is still allowed; 0 is "no likelier".
    ratios, prior : float64 arrays of shape [points]
        Logs of the odds ratios over the limit, and of their shares.
    """

    limit: float
    ratios: Floats
    prior: Floats

    def log_ratio(self, events: ArrayLike, requests: ArrayLike, others: ArrayLike, baseline: ArrayLike) -> Floats:
        """Return the log likelihood ratio for each odds ratio, shape [..., points].

        Parameters
        ----------
        events, requests : int arrays of shape [...]
            Of the arm that is tested, since the last look.
        others, baseline : int arrays of shape [...]
            Events and requests of the arm it is compared with, over the same time.
        """
        x, n, y, m = np.broadcast_arrays(*(np.asarray(part, np.int64) for part in (events, requests, others, baseline)))
        low, high = np.maximum(0, x + y - m), np.minimum(x + y, n)
        k = low[..., None] + np.arange(int((high - low).max(initial=0)) + 1)
        inside = k <= high[..., None]
        k = np.where(inside, k, low[..., None])
        total, n, m = (x + y)[..., None], n[..., None], m[..., None]
        f = _log_factorials(int(max(n.max(initial=0), m.max(initial=0))))
        log_mass = -f[k] - f[n - k] - f[total - k] - f[m - total + k]
        log_mass = np.where(inside, log_mass, -np.inf)
        at_limit = _log_sum(log_mass + k * self.limit)
        far = (k - x[..., None])[..., None, :]
        norms = _log_sum(log_mass[..., None, :] + far * (self.limit + self.ratios[:, None]))
        return np.asarray(at_limit[..., None] - x[..., None] * self.limit - norms)


@cache
def odds_test(limit: float = 1.0) -> OddsTest:
    """Make a test of an odds ratio against a limit of at least 1."""
    ratios = np.linspace(0.1, np.log(_MOST_RATIO), _RATIOS)
    prior = -0.5 * ratios
    return OddsTest(float(np.log(limit)), ratios, prior - _log_sum(prior))


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where an e-process stands.

    Attributes
    ----------
    looks : int
        How many there were.
    weights : float64 array of shape [..., points]
        Log of what each alternative has gathered, over the looks it may have begun at.
    """

    looks: int
    weights: Floats

    def after(self, log_ratio: Floats, dispersion: ArrayLike = 1.0, *, late: bool = True) -> Evidence:
        """Return where it stands after a look.

        Parameters
        ----------
        log_ratio : float64 array of shape [..., points]
            Of what was counted since the last look.
        dispersion : float or array of shape [...]
            What the log ratios are divided by, at least 1; it must not depend on this look.
        late : bool
            Whether things may have gone wrong at this look; if not, only "from the start" is weighed.
        """
        began = np.logaddexp(self.weights, _begins(self.looks + 1, late))
        return Evidence(self.looks + 1, began + log_ratio / np.asarray(dispersion, float)[..., None])

    def restarted(self, where: ArrayLike = True) -> Evidence:
        """Return it with nothing gathered in some of its processes, after a look at least and where late=False.

        Parameters
        ----------
        where : bool or array of shape [...]
            In which.
        """
        return Evidence(self.looks, np.where(np.asarray(where)[..., None], 0.0, self.weights))

    def log_e(self, prior: Floats, *, late: bool = True) -> Floats:
        """Return the log of the e-value, shape [...]."""
        return np.asarray(np.logaddexp(_log_sum(self.weights + prior), _waits(self.looks, late)))


def nothing(points: int, shape: tuple[int, ...] = ()) -> Evidence:
    """Return an e-process before its first look."""
    return Evidence(0, np.full((*shape, points), -np.inf))


def dispersion(events: ArrayLike, requests: ArrayLike, least: int = 10) -> Floats:
    """Return how much more counts vary than those of independent events: Pearson's statistic by degrees of freedom.

    Parameters
    ----------
    events, requests : arrays of shape [..., looks]
        Counts of the baseline, one for each look.
    least : int
        Looks with requests below which nothing can be said; the answer is then 1.

    Returns
    -------
    float64 array of shape [...]
        At least 1.

    References
    ----------
    McCullagh, Nelder (1989), "Generalized Linear Models", section 4.5.
    """
    x, n = np.asarray(events, float), np.asarray(requests, float)
    rate = x.sum(axis=-1) / np.maximum(n.sum(axis=-1), 1.0)
    expected = n * rate[..., None]
    looks = (n > 0).sum(axis=-1)
    square = np.divide((x - expected) ** 2, expected, out=np.zeros_like(x), where=expected > 0).sum(axis=-1)
    found = square / (np.maximum(looks - 1, 1) * np.maximum(1 - rate, 0.01))
    return np.where(looks >= least, np.maximum(found, 1.0), 1.0)


def _begins(look: int, late: bool) -> float:
    """Return the log of the prior that things went wrong at a look."""
    if not late:
        return 0.0 if look == 1 else -np.inf
    return float(np.log(0.5 if look == 1 else 0.5 / (look * (look - 1))))


def _waits(looks: int, late: bool) -> float:
    """Return the log of the prior that they go wrong later than the looks there were."""
    if looks == 0:
        return 0.0
    return float(np.log(0.5 / looks)) if late else -np.inf


def _log_sum(values: Floats) -> Floats:
    most = values.max(axis=-1, keepdims=True)
    most = np.where(np.isfinite(most), most, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.exp(values - most).sum(axis=-1)) + most[..., 0])


_TABLE = np.zeros(2)


def _log_factorials(most: int) -> Floats:
    """Return the logs of 0! to `most`! at least."""
    global _TABLE
    if len(_TABLE) <= most:
        _TABLE = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, 2 * most + 1)))])
    return _TABLE
