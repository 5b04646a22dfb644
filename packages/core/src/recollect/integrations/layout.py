"""Conversion between a network's tensor layouts and the steps ``(B, T, D)`` of a memory."""

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm

Layout: TypeAlias = Literal["btd", "tbd", "bd", "bct", "bchw", "bhwc", "bchw_pooled"]
"""Order of the axes of a layer's input or output.

- ``"btd"``, ``"tbd"``: sequences, batch first or time first;
- ``"bd"``: one step per batch item, as in an MLP, a recurrent cell or the nodes of a graph;
- ``"bct"``: sequences with the features in the middle, as in ``nn.Conv1d``;
- ``"bchw"``, ``"bhwc"``: images, channels first or last, each position a step, row by row;
- ``"bchw_pooled"``: images, each a single step, the mean over its positions; the memory's output is added to
  all positions.
"""

Layouts: TypeAlias = tuple[Layout | None, Layout | None]
"""Layouts of a layer's input and output; ``None`` if unknown."""


class _Conversion(NamedTuple):
    axes: int
    to_steps: Callable[[Tensor], Tensor]
    from_steps: Callable[[Tensor, Tensor], Tensor]
    batch_axis: int
    feature_axis: int


_CONVERSIONS: dict[str, _Conversion] = {
    "btd": _Conversion(3, lambda x: x, lambda steps, like: steps, 0, 2),
    "tbd": _Conversion(3, lambda x: x.transpose(0, 1), lambda steps, like: steps.transpose(0, 1), 1, 2),
    "bd": _Conversion(2, lambda x: x.unsqueeze(1), lambda steps, like: steps.squeeze(1), 0, 1),
    "bct": _Conversion(3, lambda x: x.mT, lambda steps, like: steps.mT, 0, 1),
    "bchw": _Conversion(
        4,
        lambda x: x.flatten(2).mT,
        lambda steps, like: steps.mT.reshape(*steps.mT.shape[:2], *like.shape[2:]),
        0,
        1,
    ),
    "bhwc": _Conversion(
        4,
        lambda x: x.flatten(1, 2),
        lambda steps, like: steps.reshape(*like.shape[:3], steps.shape[-1]),
        0,
        3,
    ),
    "bchw_pooled": _Conversion(
        4, lambda x: x.mean((2, 3)).unsqueeze(1), lambda steps, like: steps.mT.unsqueeze(-1), 0, 1
    ),
}

_CHOICES = " | ".join(map(repr, _CONVERSIONS))

BATCHED_AND_UNBATCHED = (
    nn.RNNBase,
    nn.RNNCellBase,
    nn.MultiheadAttention,
    nn.TransformerEncoderLayer,
    nn.TransformerDecoderLayer,
    nn.TransformerEncoder,
    nn.TransformerDecoder,
    _ConvNd,
)
"""Layers of ``torch.nn`` that take one item without a batch axis, too."""

POINTWISE = (
    nn.ReLU,
    nn.GELU,
    nn.SiLU,
    nn.Tanh,
    nn.Sigmoid,
    nn.LeakyReLU,
    nn.ELU,
    nn.Identity,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.AvgPool1d,
    nn.AvgPool2d,
)
"""Layers that keep the order of the axes and the number of features."""


def check_layout(layout: str | None) -> None:
    """Check that a layout exists.

    Raises:
        ValueError: If ``layout`` is neither ``None`` nor one of ``Layout``.
    """
    if layout is not None and layout not in _CONVERSIONS:
        raise ValueError(f"layout must be one of {', '.join(_CONVERSIONS)}, got {layout!r}")


def layout_with(axes: int, batch_axis: int, feature_axis: int) -> Layout | None:
    """Return the layout with these axes, or ``None`` if there is none."""
    for name, conversion in _CONVERSIONS.items():
        if (conversion.axes, conversion.batch_axis, conversion.feature_axis) == (
            axes,
            batch_axis,
            feature_axis,
        ):
            return cast(Layout, name)
    return None


def certain_layout(layer: nn.Module, axes: int, output: bool = False) -> Layout | None:
    """Return the layout of a layer's input or output if its type leaves no doubt, else ``None``.

    Args:
        layer: The layer.
        axes: Number of axes of the tensor.
        output: Whether the tensor is the output.

    Example:
        >>> certain_layout(nn.GRU(4, 4), 3), certain_layout(nn.Conv2d(3, 4, 1), 4)
        ('tbd', 'bchw')
        >>> certain_layout(nn.Linear(4, 4), 3) is None  # batch first or time first
        True
    """
    match layer:
        case nn.Sequential():
            parts = [part for part in layer if not isinstance(part, POINTWISE)]
            return certain_layout(parts[-1 if output else 0], axes, output) if parts else None
        case nn.TransformerEncoderLayer() | nn.TransformerDecoderLayer():
            return certain_layout(layer.self_attn, axes)
        case nn.TransformerEncoder() | nn.TransformerDecoder() if len(layer.layers):
            return certain_layout(layer.layers[0], axes)
        case _ConvNd() if axes != len(layer.kernel_size) + 2:
            return None
        case _ConvNd() | _BatchNorm() | _InstanceNorm() | nn.GroupNorm():
            return {2: "bd", 3: "bct", 4: "bchw"}.get(axes)  # type: ignore[return-value]
    batch_first = getattr(layer, "batch_first", None)
    if isinstance(batch_first, bool) and axes == 3:
        return "btd" if batch_first else "tbd"
    return "bd" if axes == 2 and batch_first is None else None


def infer_layout(layer: nn.Module, x: Tensor, output: bool = False) -> Layout:
    """Infer the layout of ``x`` from its number of axes and the type of ``layer``.

    Three axes are ``"btd"`` unless the layer says otherwise, by its type or its attribute ``batch_first``.

    Raises:
        ValueError: If the layout is ambiguous.
    """
    layout = certain_layout(layer, x.dim(), output)
    if layout is None and x.dim() == 3:
        layout = "btd"
    if layout is None:
        raise ValueError(
            f"cannot tell batch from steps in {'an output' if output else 'an input'} of shape "
            f"{tuple(x.shape)} for {type(layer).__name__}; pass layout={_CHOICES}"
        )
    return layout


def unknown_layout(name: str, kind: str, tensor: Tensor, output: bool) -> str:
    """Say that the layout of a part of a model is unknown, and what to do."""
    side = "output" if output else "input"
    return (
        f"{name}: cannot tell batch, steps and features apart in an {side} of shape {tuple(tensor.shape)} of "
        f"a {kind}; pass an example with two or more items to augment, or layout={_CHOICES}"
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


def num_axes(layout: Layout) -> int:
    """Number of axes of a tensor in ``layout``."""
    return _CONVERSIONS[layout].axes


def feature_axis_of(layout: Layout) -> int:
    """The axis of the features of a tensor in ``layout``."""
    return _CONVERSIONS[layout].feature_axis


def num_features(x: Tensor, layout: Layout) -> int:
    """Number of features D of ``x`` in ``layout``."""
    return x.shape[_CONVERSIONS[layout].feature_axis]


def batch_axis(layout: Layout) -> int:
    """The batch axis of a tensor in ``layout``."""
    return _CONVERSIONS[layout].batch_axis


def num_steps(x: Tensor, layout: Layout) -> int:
    """Number of steps T of ``x`` in ``layout``."""
    if layout == "bchw_pooled":
        return 1
    conversion = _CONVERSIONS[layout]
    others = (conversion.batch_axis, conversion.feature_axis)
    return torch.Size(size for axis, size in enumerate(x.shape) if axis not in others).numel()
