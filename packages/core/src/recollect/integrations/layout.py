"""Conversion between a network's tensor layouts and the steps ``(B, T, D)`` of a memory."""

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

Layout: TypeAlias = Literal["btd", "tbd", "bd", "bct", "bchw", "bchw_pooled"]
"""Order of the axes of a layer's input and output.

- ``"btd"``, ``"tbd"``: sequences, batch first or time first;
- ``"bd"``: one step per batch item, as in an MLP or a recurrent cell;
- ``"bct"``: sequences with the features in the middle, as in ``nn.Conv1d``;
- ``"bchw"``: images, each position a step, row by row;
- ``"bchw_pooled"``: images, each a single step, the mean over its positions; the memory's output is added to
  all positions.
"""


class _Conversion(NamedTuple):
    axes: int
    to_steps: Callable[[Tensor], Tensor]
    from_steps: Callable[[Tensor, Tensor], Tensor]
    feature_axis: int


_CONVERSIONS: dict[str, _Conversion] = {
    "btd": _Conversion(3, lambda x: x, lambda steps, like: steps, -1),
    "tbd": _Conversion(3, lambda x: x.transpose(0, 1), lambda steps, like: steps.transpose(0, 1), -1),
    "bd": _Conversion(2, lambda x: x.unsqueeze(1), lambda steps, like: steps.squeeze(1), -1),
    "bct": _Conversion(3, lambda x: x.mT, lambda steps, like: steps.mT, 1),
    "bchw": _Conversion(
        4,
        lambda x: x.flatten(2).mT,
        lambda steps, like: steps.mT.reshape(*steps.mT.shape[:2], *like.shape[2:]),
        1,
    ),
    "bchw_pooled": _Conversion(
        4, lambda x: x.mean((2, 3)).unsqueeze(1), lambda steps, like: steps.mT.unsqueeze(-1), 1
    ),
}


def check_layout(layout: str | None) -> None:
    """Check that a layout exists.

    Raises:
        ValueError: If ``layout`` is neither ``None`` nor one of ``Layout``.
    """
    if layout is not None and layout not in _CONVERSIONS:
        raise ValueError(f"layout must be one of {', '.join(_CONVERSIONS)}, got {layout!r}")


def infer_layout(layer: nn.Module, x: Tensor) -> Layout:
    """Infer the layout of ``x`` from its number of axes and the attributes of ``layer``.

    Two axes are ``"bd"``, three ``"btd"`` (``"tbd"`` where the layer or a part of it has
    ``batch_first=False``, ``"bct"`` for a one-dimensional convolution), four ``"bchw"``.

    Raises:
        ValueError: If the layout is ambiguous.
    """
    parts = [part for part in layer.modules() if hasattr(part, "batch_first")]
    batch_first = bool(parts[0].batch_first) if parts else None
    match x.dim():
        case 2 if batch_first is None:
            return "bd"
        case 3 if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d):
            return "bct"
        case 3:
            return "tbd" if batch_first is False else "btd"
        case 4:
            return "bchw"
    raise ValueError(
        f"cannot tell batch from steps in an input of shape {tuple(x.shape)} for {type(layer).__name__}; "
        f"add a batch axis, or pass layout={' | '.join(map(repr, _CONVERSIONS))}"
    )


def to_steps(x: Tensor, layout: Layout) -> Tensor:
    """Convert ``x`` from ``layout`` to ``(B, T, D)``.

    Raises:
        ValueError: If ``x`` has another number of axes.
    """
    conversion = _CONVERSIONS[layout]
    if x.dim() != conversion.axes:
        raise ValueError(
            f"layout {layout!r} means {conversion.axes} axes, got a tensor of shape {tuple(x.shape)}"
        )
    return conversion.to_steps(x)


def from_steps(steps: Tensor, layout: Layout, like: Tensor) -> Tensor:
    """Convert ``steps`` ``(B, T, D)`` to ``layout``, broadcastable to ``like``.

    Raises:
        ValueError: If the number of steps differs from that of ``like``.
    """
    expected = 1 if layout == "bchw_pooled" else _CONVERSIONS[layout].to_steps(like).shape[1]
    if steps.shape[1] != expected:
        raise ValueError(
            f"the memory has {steps.shape[1]} steps and the layer {expected}: for a layer that changes the "
            "number of steps use Concatenation, or, for images, layout='bchw_pooled'"
        )
    return _CONVERSIONS[layout].from_steps(steps, like)


def num_features(x: Tensor, layout: Layout) -> int:
    """Number of features D of ``x`` in ``layout``."""
    return x.shape[_CONVERSIONS[layout].feature_axis]


def padding_mask(padding: Tensor) -> Tensor:
    """Invert PyTorch's ``key_padding_mask`` ``(B, T)``, which is true or −∞ at padding."""
    return ~padding if padding.dtype == torch.bool else padding == 0
