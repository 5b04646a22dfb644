"""Weights λ of a memory in a mixture: constant, or from what was found."""

from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from recollect.memories.neighbor import Neighborhood
from recollect.state import register_state

FEATURES = 7
"""Number of features that an ``AdaptiveGate`` sees of each query."""


@final
class ConstantGate(nn.Module):
    """The same λ everywhere; zero until it is fitted.

    Args:
        weight: λ in [0, 1].

    Raises:
        ValueError: If it is out of range.
    """

    def __init__(self, weight: float = 0.0) -> None:
        super().__init__()
        if not 0 <= weight <= 1:
            raise ValueError(f"gate must be between 0 and 1, got {weight}")
        self.weight: Tensor
        self.register_buffer("weight", torch.tensor(float(weight)))

    def forward(self, features: Tensor) -> Tensor:
        """Return λ ``(…, Q)`` for features ``(…, Q, 7)``."""
        return self.weight.to(features.dtype).expand(features.shape[:-1])


@final
class AdaptiveGate(nn.Module):
    """λ from what was found, as in adaptive kNN-MT (Zheng et al. 2021, arXiv:2105.13022).

    λ = max(0, tanh(u(f))) with a small network u of the features of ``gate_features``, standardised. u is
    zero at initialisation. Its gradient passes the maximum, so that a closed gate can open.

    Args:
        hidden: Width of the network.
    """

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.zeros(FEATURES))
        self.register_buffer("scale", torch.ones(FEATURES))
        self.first, self.last = nn.Linear(FEATURES, hidden), nn.Linear(hidden, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Return λ ``(…, Q)`` for features ``(…, Q, 7)``."""
        standard = ((features - self.mean) / self.scale).to(self.mean.dtype)
        weight = self.last(self.first(standard).tanh()).squeeze(-1).tanh()
        opened: Tensor = weight + (weight.clamp_min(0) - weight).detach()
        return opened


class ModelView(NamedTuple):
    """What a gate sees of the model's own prediction of each query.

    Attributes:
        entropy: ``(…, Q)`` in nats.
        maximum: ``(…, Q)``, the largest probability.
        best: ``(…, Q)`` int64, the most probable class.
    """

    entropy: Tensor
    maximum: Tensor
    best: Tensor


def model_view(logits: Tensor) -> ModelView:
    """Summarise logits ``(…, Q, C)``."""
    probability = logits.detach().float().softmax(-1)
    maximum, best = probability.max(-1)
    return ModelView(torch.special.entr(probability).sum(-1), maximum, best)


def gate_features(found: Neighborhood, model: ModelView | None) -> Tensor:
    """What a gate sees of each query.

    These are the logarithms of the nearest and the mean distance, entropy and maximum of the prediction of
    the memory and of the model, and the probability that the memory gives to the model's most probable class.
    For vectors, which have no probabilities, the memory's are those of its weights and the model's are zero.

    Args:
        found: What the memory found for Q queries.
        model: What the model predicts; ``None`` for vectors.

    Returns:
        ``(…, Q, 7)``, zero where nothing was found.
    """
    there = found.distance.isfinite()
    distance = found.distance.masked_fill(~there, 0)
    count = there.sum(-1)
    mean = distance.sum(-1) / count.clamp_min(1)
    memory = found.weights if model is None else found.prediction
    features = [_log1p(distance[..., 0]), _log1p(mean), torch.special.entr(memory).sum(-1), memory.amax(-1)]
    if model is None:
        features += [torch.zeros_like(mean)] * 3
    else:
        agreement = memory.gather(-1, model.best.unsqueeze(-1)).squeeze(-1)
        features += [model.entropy, model.maximum, agreement]
    return torch.stack(features, -1).detach().masked_fill((count == 0).unsqueeze(-1), 0)


def _log1p(distance: Tensor) -> Tensor:
    """Signed logarithm of 1 + |d|; a distance −q · k may be negative."""
    return distance.sign() * distance.abs().log1p()


@register_state
class RunningState(NamedTuple):
    """State of a running gate: how well model and memory have predicted, and their last predictions.

    Attributes:
        log_odds: ``(B,)`` float64, of the memory against the model.
        log_ratio: ``(B, C)``, log p_memory − log p_model of the last step, for the class that comes next.
    """

    log_odds: Tensor
    log_ratio: Tensor
