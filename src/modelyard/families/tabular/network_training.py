"""Training of a network: AdamW over a fixed schedule of epochs, the best of which is kept.

Everything random comes from the fit's own generator, and torch is kept to one thread and to deterministic algorithms:
the same seed and number of epochs give the same weights, bit for bit, beside whatever else this process fits.

References
----------
Loshchilov, I. and Hutter, F. (2019). Decoupled weight decay regularization. ICLR.
See `modelyard.families.tabular.network` for the network and its defaults.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelyard.core.optional import need
from modelyard.data.dataset import Floats
from modelyard.families.tabular.booster import THREADS, Loss, Request, Sample
from modelyard.families.tabular.inputs import Inputs, Singles
from modelyard.families.tabular.network import (
    CHUNK,
    MIXED,
    OF_A_CATEGORY,
    OF_A_NUMBER,
    WAVES,
    Network,
    Scaling,
    places,
)

EPOCH_ROWS = 50_000
"""Rows of an epoch, drawn anew for each where there are more; more of them only where all epochs would not see all."""
MOST_EPOCHS = 64
"""More rarely find anything."""
FREQUENCY = 2.0
"""Spread of the cosines' frequencies to begin with, in radians for each unit of a scaled number."""
CYCLES = 4
"""Times the learning rate comes down to zero."""
SLOW, FAST = 0.1, 6.0
"""Factors of the learning rate: of what is shared or periodic, and of the features' scales."""
LOSSES: Mapping[Loss, Callable[[Any, Any, float], Any]] = {
    "logistic": lambda raw, y, _: _functional().binary_cross_entropy_with_logits(raw[:, 0], y, reduction="none"),
    "softmax": lambda raw, y, _: _functional().cross_entropy(raw, y.long(), reduction="none"),
    "squared": lambda raw, y, _: (raw[:, 0] - y) ** 2,
    "absolute": lambda raw, y, _: (raw[:, 0] - y).abs(),
    "quantile": lambda raw, y, at: _torch().maximum(at * (y - raw[:, 0]), (at - 1) * (y - raw[:, 0])),
    "poisson": lambda raw, y, _: raw[:, 0].exp() - y * raw[:, 0],
    "tweedie": lambda raw, y, at: ((2 - at) * raw[:, 0]).exp() / (2 - at) - y * ((1 - at) * raw[:, 0]).exp() / (1 - at),
}
"""From raw scores [n, m], labels [n] and the level or power to the loss of each row [n]."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained network, its epochs, and the loss after each epoch on both samples."""

    network: Network
    rounds: int
    train: tuple[float, ...]
    validation: tuple[float, ...]


def matrix(inputs: Inputs) -> Singles:
    """Return rows as `fit_network` reads them from a sample: numbers, then codes."""
    return np.concatenate([inputs.numbers, inputs.codes.astype(np.float32)], axis=1)


@contextmanager
def one_torch_thread() -> Generator[None, None, None]:
    """Keep torch to one thread and to deterministic algorithms: both are settings of the whole process."""
    torch = _torch()
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(strict)


def fit_network(request: Request, sizes: Sequence[int]) -> Trained:
    """Train a network.

    Parameters
    ----------
    request : Request
        As for a booster, rounds being epochs; the samples' features are those of `matrix`.
    sizes : sequence of int
        Levels of each category.

    Returns
    -------
    Trained
        The network as it stood after the epoch that did best on the rows to stop by, or after the last.
    """
    torch = _torch()
    module = Module(request, sizes)
    learn = module.rows(request.learn)
    stop = None if request.stop is None else module.rows(request.stop)
    planned = int(request.parameters["rounds"])
    batch = int(request.parameters["batch"])
    drawn = epoch_rows(len(learn.y))
    steps = -(-drawn // batch)
    best, kept, train, validation = math.inf, module.state(), [], []
    rounds = 0
    for epoch in range(request.most):
        order = torch.randperm(len(learn.y), generator=module.generator)[:drawn]
        total = 0.0
        for step, chosen in enumerate(order.split(batch)):
            if request.halted.is_set():
                break
            total += module.step(learn, chosen, (epoch + step / steps) / planned)
        train.append(_shown(total / len(order), request.loss))
        if stop is not None:
            validation.append(_shown(module.loss(stop), request.loss))
        if not request.stops or validation[-1] < best:
            best, rounds, kept = validation[-1] if validation else math.inf, epoch + 1, module.state()
        if request.late() or (request.stops and epoch + 1 - rounds >= patience(planned)):
            break
    module.restore(kept)
    return Trained(module.network(), rounds, tuple(train[:rounds]), tuple(validation[:rounds]))


def epoch_rows(rows: int) -> int:
    """Return the rows of an epoch: all of a short table, and of a long one so many that all epochs see each once."""
    return min(rows, max(EPOCH_ROWS, math.ceil(rows / MOST_EPOCHS)))


def patience(planned: int) -> int:
    """Return the epochs without a better loss that end a fit: a cycle of the rate may have to pass first."""
    return max(4, planned // 2)


def _shown(loss: float, kind: Loss) -> float:
    return math.sqrt(loss) if kind == "squared" else loss


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Rows as tensors: scaled numbers, gaps, places in the embedding [n, q], label, weight and start."""

    z: Any
    gone: Any
    place: Any
    y: Any
    weight: Any
    start: Any

    def take(self, chosen: Any) -> _Rows:
        return _Rows(*(getattr(self, n)[chosen] for n in ("z", "gone", "place", "y", "weight", "start")))


class Module:
    """The network while it is trained.

    Parameters
    ----------
    request : Request
        Its sample to learn from says how numbers are scaled and which levels have an embedding of their own.
    sizes : sequence of int
        Levels of each category.
    """

    def __init__(self, request: Request, sizes: Sequence[int]) -> None:
        torch, given = _torch(), request.parameters
        self.generator = torch.Generator().manual_seed(request.seed)
        self._loss, self._at = LOSSES[request.loss], request.at
        self._dropout = float(given["dropout"])
        self._rate, self._decay = float(given["learning_rate"]), float(given["weight_decay"])
        self._groups: dict[tuple[float, float], list[Any]] = {}
        x = request.learn.x
        p, q, k, h, m = x.shape[1] - len(sizes), len(sizes), int(given["heads"]), int(given["width"]), request.outputs
        self._scaling = Scaling.fit(x[:, :p])
        self._gaps = np.isnan(x[:, :p]).any(axis=0)
        self._places = places(x[:, p:].astype(np.int32), sizes)
        self._starts = np.cumsum([0, *(place.max() + 1 for place in self._places)])
        features = OF_A_NUMBER * p + OF_A_CATEGORY * q
        spread = math.sqrt(WAVES)
        self.frequency = self._parameter(FREQUENCY * self._normal(p, WAVES), SLOW)
        self.phase = self._parameter(math.pi * self._uniform(p, WAVES), SLOW)
        self.mix = self._parameter(self._uniform(p, WAVES, MIXED) / spread, SLOW)
        self.shift = self._parameter(self._uniform(p, MIXED) / spread, SLOW)
        self.table = self._parameter(self._embedding(), SLOW)
        self.scales = self._parameter(torch.ones(features), FAST)
        self.signs = self._parameter(torch.sign(self._uniform(k, features)), SLOW)
        widths = [features, *[h] * int(given["depth"])]
        self.weights = [
            self._parameter(self._normal(n, h) / math.sqrt(n), 1 / math.sqrt(n), math.sqrt(n)) for n in widths[:-1]
        ]
        self.biases = [self._parameter(self._normal(h), SLOW) for _ in self.weights]
        self.last = self._parameter(torch.zeros(k, h, m), 1 / math.sqrt(h), math.sqrt(h))
        self.base = self._parameter(torch.zeros(k, m), SLOW)
        self.parameters = [one for group in self._groups.values() for one in group]
        groups = [{"params": ps, "lr": 0.0, "rate": r, "decay": d} for (r, d), ps in self._groups.items()]
        self._optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.95), weight_decay=0.0, fused=True)

    def rows(self, sample: Sample) -> _Rows:
        """Return a sample as tensors."""
        p = sample.x.shape[1] - len(self._places)
        numbers, codes = sample.x[:, :p], sample.x[:, p:].astype(np.int64)
        place = [own[c] + s for own, c, s in zip(self._places, codes.T, self._starts[:-1], strict=True)]
        tensor = _torch().from_numpy
        single = [np.isnan(numbers), sample.y, sample.weight, sample.start]
        return _Rows(
            tensor(self._scaling(numbers).astype(np.float32)),
            tensor(single[0].astype(np.float32)),
            tensor(np.stack(place, axis=1) if place else np.zeros((len(codes), 0), dtype=np.int64)),
            *(tensor(np.ascontiguousarray(a, dtype=np.float32)) for a in single[1:]),
        )

    def step(self, rows: _Rows, chosen: Any, progress: float) -> float:
        """Learn from some rows, at a point from 0 to 1 of the schedule; return their summed loss before that."""
        rate = 0.5 - 0.5 * math.cos(2 * math.pi * math.log2(1 + (2**CYCLES - 1) * progress))
        damping = 0.5 + 0.5 * math.cos(math.pi * max(0.0, 2 * progress - 1))
        for group in self._optimiser.param_groups:
            group["lr"] = self._rate * rate * group["rate"]
            group["weight_decay"] = self._decay * damping * group["decay"]
        batch = rows.take(chosen)
        scores = self.forward(batch, self._dropout * damping)
        k = scores.shape[1]
        each = self._loss(scores.flatten(0, 1), batch.y.repeat_interleave(k), self._at).view(-1, k)
        loss = (each.mean(1) * batch.weight).sum()
        self._optimiser.zero_grad()
        (loss / len(chosen)).backward()
        self._optimiser.step()
        return float(loss.detach())

    def loss(self, rows: _Rows) -> float:
        """Return the mean loss of the heads' mean answer."""
        torch = _torch()
        with torch.no_grad():
            parts = torch.arange(len(rows.y)).split(CHUNK)
            scores = torch.cat([self.forward(rows.take(part)).mean(1) for part in parts])
            return float((self._loss(scores, rows.y, self._at) * rows.weight).mean())

    def forward(self, rows: _Rows, dropout: float = 0.0) -> Any:
        """Return the scores of each head, [n, k, m], what a row starts from included."""
        torch = _torch()
        waves = torch.cos(rows.z[:, :, None] * self.frequency + self.phase)
        mixed = torch.einsum("npf,pfe->npe", waves, self.mix) + self.shift
        of_numbers = torch.cat([rows.z[:, :, None], mixed, rows.gone[:, :, None]], 2).flatten(1)
        embedded = _functional().embedding(rows.place, self.table).flatten(1)
        features = torch.cat([of_numbers, embedded], 1) * self.scales
        hidden = features[:, None] * self.signs
        for weights, bias in zip(self.weights, self.biases, strict=True):
            hidden = torch.selu(hidden @ weights + bias)
            if dropout > 0:
                kept = torch.empty(hidden.shape).bernoulli_(1 - dropout, generator=self.generator)
                hidden = hidden * kept / (1 - dropout)
        return torch.einsum("nkh,khm->nkm", hidden, self.last) + self.base + rows.start[:, None]

    def state(self) -> list[Any]:
        """Return a copy of what has been learnt so far."""
        return [one.detach().clone() for one in self.parameters]

    def restore(self, state: Sequence[Any]) -> None:
        """Go back to a copy."""
        with _torch().no_grad():
            for one, was in zip(self.parameters, state, strict=True):
                one.copy_(was)

    def network(self) -> Network:
        """Return what has been learnt, with all that is linear between two layers made one."""
        p = len(self.frequency)
        scaled = _double(self.signs) * _double(self.scales)  # [k, D]
        first = scaled[:, :, None] * _double(self.weights[0])
        gap = np.arange(p) * OF_A_NUMBER + OF_A_NUMBER - 1
        first[:, gap[~self._gaps]] = 0.0  # nothing was learnt of a gap that no row had
        shift = np.zeros((p, OF_A_NUMBER))
        shift[:, 1 : 1 + MIXED] = _double(self.shift)
        constant = np.einsum("d,kdh->kh", shift.ravel(), first[:, : shift.size]) + _double(self.biases[0])
        table = _double(self.table)
        tables = [table[own + start] for own, start in zip(self._places, self._starts[:-1], strict=True)]
        k = len(scaled)
        return Network(
            self._scaling,
            _single(_double(self.frequency)),
            _single(_double(self.phase)),
            _single(_double(self.mix)),
            tuple(_single(t) for t in tables),
            _single(first),
            tuple(_single(_double(w)) for w in self.weights[1:]),
            (_single(constant), *(_single(_double(b)) for b in self.biases[1:])),
            _single(_double(self.last) / k),
            _single(_double(self.base).mean(axis=0)),
        )

    def _parameter(self, value: Any, rate: float, decay: float = 0.0) -> Any:
        value = value.requires_grad_(True)
        self._groups.setdefault((rate, decay), []).append(value)
        return value

    def _normal(self, *shape: int) -> Any:
        return _torch().randn(*shape, generator=self.generator)

    def _uniform(self, *shape: int) -> Any:
        return 2 * _torch().rand(*shape, generator=self.generator) - 1

    def _embedding(self) -> Any:
        """Return embeddings to begin with: one of so many for few levels, random for many, zero for what is shared."""
        torch = _torch()
        found = torch.zeros(int(self._starts[-1]), OF_A_CATEGORY)
        for place, start in zip(self._places, self._starts[:-1], strict=True):
            own = int(place.max())
            few = own <= OF_A_CATEGORY
            found[start + 1 : start + 1 + own] = (
                torch.eye(OF_A_CATEGORY)[:own] if few else 0.5 * self._normal(own, OF_A_CATEGORY)
            )
        return found


def _torch() -> Any:
    return need("torch", "nets", "A network")


def _functional() -> Any:
    return need("torch.nn.functional", "nets", "A network")


def _double(tensor: Any) -> Floats:
    return np.asarray(tensor.detach().numpy(), dtype=np.float64)


def _single(array: Floats) -> Singles:
    return np.ascontiguousarray(array, dtype=np.float32)
