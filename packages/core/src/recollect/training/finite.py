"""Losses that are not finite are reported with what is wrong in the batch."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from recollect.training.errors import NonFiniteError


def check_finite(loss: Tensor, batch: Any, name: str, place: str) -> None:
    """Check that a loss is finite.

    Args:
        loss: The loss.
        batch: The batch it was computed from.
        name: Name of the loss in the message.
        place: Where in the training it was computed, for the message.

    Raises:
        NonFiniteError: If it is not; the message names the tensors of the batch that are not finite.
    """
    if torch.isfinite(loss.detach()).all():
        return
    bad = [
        f"{name} ({int((~tensor.isfinite()).sum())} of {tensor.numel()} values)"
        for name, tensor in named_tensors(batch)
        if tensor.is_floating_point() and not tensor.isfinite().all()
    ]
    cause = f"not finite in the batch: {', '.join(bad)}" if bad else "the batch itself is finite"
    raise NonFiniteError(
        f"{name} is {float(loss.detach().mean())} {place}; {cause}. The checkpoints written before are "
        "untouched; a lower learning rate or --trainer.gradient_clip_val may help where the data are sound."
    )


def named_tensors(batch: Any, name: str = "batch") -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor of a nested batch with its place in it.

    Example:
        >>> [name for name, _ in named_tensors({"x": torch.ones(1), "y": (torch.ones(1), "text")})]
        ["batch['x']", "batch['y'][0]"]
    """
    if isinstance(batch, Tensor):
        yield name, batch
    elif isinstance(batch, dict):
        for key, value in batch.items():
            yield from named_tensors(value, f"{name}[{key!r}]")
    elif isinstance(batch, tuple) and hasattr(batch, "_fields"):
        for field in batch._fields:
            yield from named_tensors(getattr(batch, field), f"{name}.{field}")
    elif isinstance(batch, list | tuple):
        for place, value in enumerate(batch):
            yield from named_tensors(value, f"{name}[{place}]")
    elif hasattr(batch, "__dataclass_fields__"):
        for field in batch.__dataclass_fields__:
            yield from named_tensors(getattr(batch, field), f"{name}.{field}")
