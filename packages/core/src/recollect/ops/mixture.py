"""Mixtures of what a model and a memory predict."""

import math

import torch
from torch import Tensor

MAX_WEIGHT = 1 - 1e-6
"""Largest weight of a memory, so that no class has probability zero."""

MAX_LOG_RATIO = math.log(1e6)
"""Largest logarithm of p_memory / p_model in the gradient of a weight of zero."""


def mix_logits(logits: Tensor, probability: Tensor, weight: Tensor) -> Tensor:
    """Logits of (1 − λ) softmax(z) + λ p, which are z themselves, to the bit, where λ is zero.

    They are log((1 − λ) softmax(z) + λ p) + logsumexp(z), so that the normaliser of z is kept.

    Args:
        logits: z ``(…, C)``.
        probability: p ``(…, C)``, which sums to 1.
        weight: λ ``(…,)`` in [0, 1]. It has a gradient where it is zero, too.

    Example:
        >>> z, p = torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])
        >>> mix_logits(z, p, torch.tensor([0.5])).softmax(-1)
        tensor([[0.7500, 0.2500]])
    """
    weight = weight.unsqueeze(-1)
    normaliser = logits.logsumexp(-1, keepdim=True)
    log_model = logits - normaliser
    used, some = weight > 0, weight.clamp(max=MAX_WEIGHT)
    # Each logarithm stands where its argument is positive, since the gradient of log 0 is not finite.
    some = torch.where(used, some, 0.5)
    log_memory = torch.where(probability > 0, probability, 1.0).log()
    kept = torch.log1p(-some) + log_model
    mixed = torch.where(probability > 0, torch.logaddexp(kept, some.log() + log_memory), kept) + normaliser
    ratio = probability * (-log_model.detach()).clamp(max=MAX_LOG_RATIO).exp()
    return torch.where(used, mixed, logits + torch.where(used, 0.0, weight) * (ratio - 1))


def mix_values(value: Tensor, memory: Tensor, weight: Tensor) -> Tensor:
    """(1 − λ) h + λ v, which is h, to the bit, where λ is zero.

    Args:
        value: h ``(…, V)``.
        memory: v ``(…, V)``.
        weight: λ ``(…,)`` in [0, 1].
    """
    return value + weight.unsqueeze(-1) * (memory - value)


def running_weights(
    log_ratio: Tensor, log_odds: Tensor, share: float, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Weights of two predictors by how well each has predicted so far: a Bayesian mixture with fixed share.

    Before each step the odds of the second predictor are multiplied by p_2(y) / p_1(y) of the step before.
    Then the share α of each weight goes to the other (Herbster & Warmuth 1998, Machine Learning 32:151). From
    equal weights the mixture loses, over T steps, at most ln 2 − T ln(1 − α) nats against the better of the
    two, and −ln α more for each switch between them.

    Args:
        log_ratio: ``(…, T)``, log p_2(y) − log p_1(y) of the step before each step; zero if unknown, −inf if
            the second predictor was certainly wrong.
        log_odds: ``(…,)``, the logarithm of the odds after the last step before.
        share: α in (0, ½).
        mask: ``(…, T)`` bool; a step where it is false leaves the odds as they are.

    Returns:
        Weights ``(…, T)`` of the second predictor, and the new log-odds ``(…,)``, in float64.

    Example:
        >>> weights, _ = running_weights(torch.tensor([0.0, 2.0, 2.0]), torch.tensor(0.0), share=0.001)
        >>> weights.round(decimals=2)
        tensor([0.5000, 0.8800, 0.9800], dtype=torch.float64)
    """
    log_odds, weights = log_odds.double(), []
    for step, ratio in enumerate(log_ratio.double().unbind(-1)):
        weight = share + (1 - 2 * share) * torch.sigmoid(log_odds + ratio)
        after = torch.logit(weight)
        log_odds = after if mask is None else torch.where(mask[..., step], after, log_odds)
        weights.append(weight)
    return torch.stack(weights, -1) if weights else log_ratio.double(), log_odds
