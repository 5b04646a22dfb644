"""What the nearest neighbours of a query predict."""

from torch import Tensor

from recollect.ops.attention import attention_weights


def neighbor_weights(distance: Tensor, presence: Tensor, temperature: Tensor | float) -> Tensor:
    """Weights ∝ presence · exp(−distance / temperature) of the k neighbours of each query.

    Args:
        distance: ``(…, Q, k)``.
        presence: ``(…, Q, k)`` in [0, 1]; zero where there is no neighbour.
        temperature: Positive.

    Returns:
        ``(…, Q, k)``, which sum to 1, or are zero where there is no neighbour.

    Example:
        >>> import torch
        >>> neighbor_weights(torch.tensor([[0.0, 0.0, 9.0]]), torch.tensor([[1.0, 1.0, 0.0]]), 1.0)
        tensor([[0.5000, 0.5000, 0.0000]])
    """
    return attention_weights(-distance / temperature, presence)


def class_probability(weights: Tensor, labels: Tensor, classes: int) -> Tensor:
    """p(c) = Σ_i w_i [y_i = c] over the k neighbours of each query: ``(…, Q, C)``.

    Args:
        weights: ``(…, Q, k)``.
        labels: ``(…, Q, k)`` int64 in [0, C).
        classes: Number C of classes.

    Example:
        >>> import torch
        >>> class_probability(torch.tensor([[0.5, 0.25, 0.25]]), torch.tensor([[2, 0, 2]]), classes=3)
        tensor([[0.2500, 0.0000, 0.7500]])
    """
    zero = weights.new_zeros((*weights.shape[:-1], classes))
    return zero.scatter_add(-1, labels, weights)


def mean_value(weights: Tensor, values: Tensor) -> Tensor:
    """Σ_i w_i v_i ``(…, Q, V)`` over the neighbours of each query, of ``(…, Q, k)`` and ``(…, Q, k, V)``."""
    return (weights.unsqueeze(-2) @ values.to(weights.dtype)).squeeze(-2)
