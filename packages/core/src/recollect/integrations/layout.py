"""How a network's tensor becomes the steps that a memory sees, and back."""

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

Layout: TypeAlias = Literal["btd", "tbd", "bd", "bct", "bchw", "bchw_pooled"]
"""Where batch, steps and features stand in a layer's input and output.

- ``"btd"``, ``"tbd"``: sequences, batch first or time first;
- ``"bd"``: one step for each batch item, as in an MLP or a recurrent cell;
- ``"bct"``: sequences with the features in the middle, as in ``nn.Conv1d``;
- ``"bchw"``: images, each position a step, row by row;
- ``"bchw_pooled"``: images, each one step: the mean of its positions; what comes back goes to all of them.
"""


class _Form(NamedTuple):
    axes: int
    enter: Callable[[Tensor], Tensor]
    leave: Callable[[Tensor, Tensor], Tensor]
    width: int


_FORMS: dict[str, _Form] = {
    "btd": _Form(3, lambda x: x, lambda steps, like: steps, -1),
    "tbd": _Form(3, lambda x: x.transpose(0, 1), lambda steps, like: steps.transpose(0, 1), -1),
    "bd": _Form(2, lambda x: x.unsqueeze(1), lambda steps, like: steps.squeeze(1), -1),
    "bct": _Form(3, lambda x: x.mT, lambda steps, like: steps.mT, 1),
    "bchw": _Form(
        4,
        lambda x: x.flatten(2).mT,
        lambda steps, like: steps.mT.reshape(*steps.mT.shape[:2], *like.shape[2:]),
        1,
    ),
    "bchw_pooled": _Form(
        4, lambda x: x.mean((2, 3)).unsqueeze(1), lambda steps, like: steps.mT.unsqueeze(-1), 1
    ),
}


def check_layout(layout: str | None) -> None:
    """Refuse a layout that there is not.

    Raises:
        ValueError: If ``layout`` is neither ``None`` nor one of ``Layout``.
    """
    if layout is not None and layout not in _FORMS:
        raise ValueError(f"layout must be one of {', '.join(_FORMS)}, got {layout!r}")


def layout_of(layer: nn.Module, x: Tensor) -> Layout:
    """The layout that ``layer`` means by ``x``: by its number of axes, and by what the layer says of itself.

    Two axes are ``"bd"``, three ``"btd"`` (``"tbd"`` where the layer or a part of it has
    ``batch_first=False``, ``"bct"`` for a one-dimensional convolution), four ``"bchw"``.

    Raises:
        ValueError: If that does not settle it.
    """
    says = [part for part in layer.modules() if hasattr(part, "batch_first")]
    first = bool(says[0].batch_first) if says else None
    match x.dim():
        case 2 if first is None:
            return "bd"
        case 3 if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d):
            return "bct"
        case 3:
            return "tbd" if first is False else "btd"
        case 4:
            return "bchw"
    raise ValueError(
        f"cannot tell batch from steps in an input of shape {tuple(x.shape)} for {type(layer).__name__}; "
        f"give it a batch axis, or say which is which with layout={' | '.join(map(repr, _FORMS))}"
    )


def to_steps(x: Tensor, layout: Layout) -> Tensor:
    """``x`` in ``layout`` as ``(B, T, D)``.

    Raises:
        ValueError: If ``x`` has another number of axes.
    """
    form = _FORMS[layout]
    if x.dim() != form.axes:
        raise ValueError(f"layout {layout!r} means {form.axes} axes, got a tensor of shape {tuple(x.shape)}")
    return form.enter(x)


def from_steps(steps: Tensor, layout: Layout, like: Tensor) -> Tensor:
    """``steps`` ``(B, T, D)`` in ``layout``, to be added to ``like``.

    Raises:
        ValueError: If they do not go with the positions of ``like``: the layer changes the number of steps.
    """
    expected = 1 if layout == "bchw_pooled" else _FORMS[layout].enter(like).shape[1]
    if steps.shape[1] != expected:
        raise ValueError(
            f"the memory gives {steps.shape[1]} steps and the layer {expected}: a layer that changes the "
            "number of steps goes with Concatenation, or, for images, with layout='bchw_pooled'"
        )
    return _FORMS[layout].leave(steps, like)


def width_of(x: Tensor, layout: Layout) -> int:
    """Number of features D of ``x`` in ``layout``."""
    return x.shape[_FORMS[layout].width]


def padding_mask(padding: Tensor) -> Tensor:
    """Which steps are there, ``(B, T)`` bool; PyTorch's ``key_padding_mask`` is true or −∞ where none is."""
    return ~padding if padding.dtype == torch.bool else padding == 0
