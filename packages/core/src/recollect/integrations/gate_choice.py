"""Choosing a gate's weight, temperature and number of neighbours from cached validation outputs."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from recollect.integrations.interpolation import Interpolation
from recollect.integrations.mixture_gate import AdaptiveGate, ConstantGate, ModelView, gate_features
from recollect.memories.neighbor import Neighborhood
from recollect.ops.mixture_fit import best_mixture_weight, best_value_weight, mixture_loss
from recollect.ops.neighbor_distribution import mean_value, neighbor_weights

RELATIVE_TEMPERATURES = tuple(2.0**power for power in range(-6, 5))
"""Temperatures that are tried, relative to the median distance of the nearest neighbour but one."""

ADAPTIVE_STEPS = 150
"""Steps of Adam over all outputs to train an ``AdaptiveGate``."""


PART = 1024
"""Outputs that are compared with their neighbours at once."""

NO_WEIGHT = torch.zeros(1, device="cpu")
"""λ of the model alone."""


class Cached(NamedTuple):
    """What model and memory say of the n validation outputs.

    Attributes:
        item: ``(n,)`` int64, the item that an output belongs to.
        log_model: ``(n,)`` log p_model of the true class; zero for vectors.
        distance: ``(n, k)``; infinite where there is no neighbour.
        hit: ``(n, k)``, how far each neighbour's value is the true class; for vectors ``(n, k, V)``, v − h.
        error: ``(n, V)``, y − h; ``(n, 0)`` for classes.
        values: ``(n, k, V)`` of the neighbours.
        entropy: ``(n,)`` of the model's prediction; zero for vectors, like the next two.
        maximum: ``(n,)``, its largest probability.
        best: ``(n,)`` int64, its most probable class.
    """

    item: Tensor
    log_model: Tensor
    distance: Tensor
    hit: Tensor
    error: Tensor
    values: Tensor
    entropy: Tensor
    maximum: Tensor
    best: Tensor


class Choice(NamedTuple):
    """A number of neighbours, a temperature and a gate."""

    k: int
    temperature: float
    gate: ConstantGate | AdaptiveGate


def part_of(cached: Cached, which: Tensor | slice) -> Cached:
    """Return some of the outputs."""
    return Cached(*(column[which] for column in cached))


def temperatures_around(distance: Tensor) -> list[float]:
    """A range around the typical distance, which is 1 where all distances are zero or negative."""
    finite = distance[distance.isfinite()].abs()
    typical = float(finite.median()) if len(finite) else 1.0
    return [(typical if typical > 0 else 1.0) * factor for factor in RELATIVE_TEMPERATURES]


def _neighbor_weights(cached: Cached, k: int, temperature: float) -> Tensor:
    distance = cached.distance[:, :k]
    there = distance.isfinite()
    return neighbor_weights(distance.masked_fill(~there, 0), there.float(), temperature)


def memory_says(cached: Cached, k: int, temperature: float) -> Tensor:
    """p_memory of the true class ``(n,)``; for vectors v − h ``(n, V)``; zero where nothing was found."""
    weights, hit = _neighbor_weights(cached, k, temperature), cached.hit[:, :k]
    return (weights * hit).sum(-1) if hit.dim() == 2 else mean_value(weights, hit)


def output_loss(cached: Cached, said: Tensor, weight: Tensor) -> Tensor:
    """The loss of each output ``(n,)``, where the memory counts only where it found something."""
    weight = torch.where(cached.distance[:, 0].isfinite(), weight.double(), 0.0)
    if said.dim() == 1:
        return mixture_loss(cached.log_model, said, weight)
    return (cached.error.double() - weight.unsqueeze(-1) * said.double()).square().sum(-1)


def _features(integration: Interpolation, cached: Cached, k: int, temperature: float) -> Tensor:
    """What an adaptive gate sees of each output ``(n, 7)``, a part at a time: there may be many classes."""
    memory, features = integration.memory, []
    for start in range(0, len(cached.item), PART):
        part = part_of(cached, slice(start, start + PART))
        weights, values = _neighbor_weights(part, k, temperature), part.values[:, :k]
        prediction = memory.predict(weights, values)
        found = Neighborhood(
            prediction, weights, part.distance[:, :k], values, torch.zeros_like(weights).long()
        )
        view = None if memory.classes is None else ModelView(part.entropy, part.maximum, part.best)
        features.append(gate_features(found, view))
    return torch.cat(features)


def gate_weight(integration: Interpolation, cached: Cached, choice: Choice) -> Tensor:
    """λ of each output ``(n,)``."""
    if isinstance(choice.gate, ConstantGate):
        return choice.gate.weight.expand(len(cached.item))
    weight: Tensor = choice.gate(_features(integration, cached, choice.k, choice.temperature))
    return weight


def choose(integration: Interpolation, cached: Cached, choices: Sequence[tuple[int, float]]) -> Choice:
    """Choose among pairs of k and τ, with the best λ or a trained gate."""
    constant = _choose_constant(cached, choices)
    if isinstance(integration.gate, ConstantGate):
        return constant
    return constant._replace(gate=_train_adaptive(integration, cached, constant))


def _choose_constant(cached: Cached, choices: Sequence[tuple[int, float]]) -> Choice:
    """Try all τ and k, each with its best λ."""
    there = cached.distance[:, 0].isfinite()
    found = part_of(cached, there)
    best: tuple[float, Choice] | None = None
    for k, temperature in choices:
        said, weight = memory_says(cached, k, temperature), NO_WEIGHT
        if there.any():
            choose = best_mixture_weight if said.dim() == 1 else best_value_weight
            weight = choose(found.log_model if said.dim() == 1 else found.error, said[there]).reshape(1)
        choice = Choice(k, temperature, ConstantGate(float(weight)))
        loss = float(output_loss(cached, said, weight).mean())
        if best is None or loss < best[0]:
            best = loss, choice
    assert best is not None
    return best[1]


def _train_adaptive(integration: Interpolation, cached: Cached, constant: Choice) -> AdaptiveGate:
    """Train a gate on all outputs at once, at the τ and k that are best with a constant λ."""
    features = _features(integration, cached, constant.k, constant.temperature)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        gate = AdaptiveGate().cpu()
    gate.mean.copy_(features.mean(0))
    gate.scale.copy_(features.std(0).clamp_min(1e-6))
    assert isinstance(constant.gate, ConstantGate)
    start = min(max(float(constant.gate.weight), 0.01), 0.99)
    nn.init.constant_(gate.last.bias, math.atanh(start))
    said = memory_says(cached, constant.k, constant.temperature)
    optimizer = torch.optim.Adam(gate.parameters(), lr=0.04, weight_decay=1e-4)
    with torch.enable_grad():
        for _ in range(ADAPTIVE_STEPS):
            optimizer.zero_grad()
            torch.autograd.backward(output_loss(cached, said, gate(features)).mean())
            optimizer.step()
    return gate.requires_grad_(False)
