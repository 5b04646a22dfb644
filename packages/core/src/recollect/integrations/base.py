"""The contract of every integration: a layer and a memory that stand where the layer stood."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from recollect.integrations.call import Call, LayerCall
from recollect.integrations.layout import Layout, check_layout, from_steps, layout_of, to_steps
from recollect.memories.base import Memory
from recollect.state import State


class Integration(nn.Module, ABC):
    """``y, state = integrated(x, state)``: a layer and a memory as one.

    Whatever the layer takes besides its first argument x goes to the layer, and what it returns besides its
    first tensor h comes back: ``(y, h_n), state = integrated(x, state, h_0)`` for a GRU. Arguments of the
    layer that tell of padding (``src_key_padding_mask``, …) keep padded steps from the memory; ``step_mask``
    does it otherwise.

    At initialisation y is exactly what the layer alone gives, for the weight that lets the memory in is
    zero. The gradient of that weight is not: it moves with the first optimiser step, and from then on
    gradients reach the memory.

    Args:
        layer: Any module whose first argument and first output are tensors.
        memory: What it is given.
        in_size: Number of features of x; the memory's width by default.
        out_size: Number of features of h; the memory's width by default.
        layout: What the axes of x and h mean; by default as ``layout_of`` says.

    Raises:
        ValueError: If a size is not positive or there is no such layout.
    """

    def __init__(
        self,
        layer: nn.Module,
        memory: Memory,
        *,
        in_size: int | None = None,
        out_size: int | None = None,
        layout: Layout | None = None,
    ) -> None:
        super().__init__()
        check_layout(layout)
        self.layer = layer
        self.memory = memory
        self.in_size = memory.model_size if in_size is None else in_size
        self.out_size = memory.model_size if out_size is None else out_size
        for name, size in (("in_size", self.in_size), ("out_size", self.out_size)):
            if size < 1:
                raise ValueError(f"{name} must be at least 1, got {size}")
        self.layout = layout
        self._call = LayerCall(layer)

    @abstractmethod
    def join(self, call: Call, state: State, mask: Tensor | None) -> tuple[Any, State]:
        """The layer's output with the memory's share in it, and the state after."""

    def initial_state(
        self, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """The memory's initial state."""
        state: State = self.memory.initial_state(*batch, device=device, dtype=dtype)
        return state

    def forward(
        self, *args: Any, state: State | None = None, step_mask: Tensor | None = None, **kwargs: Any
    ) -> tuple[Any, State]:
        """One call: ``integrated(x, state)``, or ``integrated(x, state, *more, **named)``.

        Args:
            *args: x, the memory's state (``None`` for an initial one), and what else the layer takes.
            state: The same state, by name.
            step_mask: ``(B, T)`` bool; a step where it is false is none of the memory's concern.
            **kwargs: What else the layer takes.

        Returns:
            What the layer returns, with y for its first tensor, and the state after.

        Raises:
            ValueError: If x does not go with the layout, or the state with the batch.
            TypeError: If the first argument or output is not a tensor of real numbers.
        """
        if len(args) > 1:
            if state is not None:
                raise TypeError("state is given twice: as the second argument and by name")
            state, args = args[1], (args[0], *args[2:])
        return self.run(args, kwargs, state, step_mask)

    def run(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], state: State | None, step_mask: Tensor | None
    ) -> tuple[Any, State]:
        """As ``forward``, with the layer's arguments apart from the memory's, so that no names can clash."""
        call = self._call.take_apart(self.layer, args, kwargs)
        if not isinstance(call.x, Tensor):
            raise TypeError(f"the first argument must be a tensor, got {type(call.x).__name__}")
        batch = call.x.shape[1 if self.layout_for(call.x) == "tbd" else 0]
        if state is None:
            state = self.initial_state(batch, device=call.x.device)
        elif (found := _batch(state)) != batch:
            raise ValueError(
                f"the state is that of {found} batch items and the input has {batch}: select the items that "
                "go on, or begin with a fresh state"
            )
        return self.join(call, state, call.mask if step_mask is None else step_mask)

    def layout_for(self, tensor: Tensor) -> Layout:
        """The layout of the layer's input or output."""
        return self.layout or layout_of(self.layer, tensor)

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        return f"in_size={self.in_size}, out_size={self.out_size}, layout={self.layout!r}"


def features(x: Tensor, layout: Layout, mask: Tensor | None) -> Tensor:
    """``x`` as steps ``(B, T, D)``, which ``mask`` must go with.

    Raises:
        TypeError: If ``x`` is not made of real numbers.
        ValueError: If ``mask`` is not bool of shape ``(B, T)``.
    """
    if not x.is_floating_point():
        raise TypeError(
            f"a memory reads real vectors, not {x.dtype}; Concatenation reads the layer's output instead"
        )
    steps = to_steps(x, layout)
    if mask is not None and (mask.dtype != torch.bool or mask.shape != steps.shape[:-1]):
        raise ValueError(
            f"the step mask must be bool of shape {tuple(steps.shape[:-1])}, got {mask.dtype} of shape "
            f"{tuple(mask.shape)}"
        )
    return steps


def add_steps(h: Tensor, steps: Tensor, layout: Layout) -> Tensor:
    """``h`` plus ``steps`` ``(B, T, D)``, in the dtype of ``h``."""
    return h + from_steps(steps, layout, h).to(h.dtype)


def width_map(before: int, after: int) -> nn.Module:
    """A linear map between two widths, and none where they are the same."""
    return nn.Identity() if before == after else nn.Linear(before, after, bias=False)


class Gate(nn.Module):
    """g(x) = tanh(G x + b), zero at initialisation (as in Flamingo, Alayrac et al. 2022, arXiv:2204.14198).

    Args:
        in_size: Width of x.
        out_size: Width of what is gated.
    """

    def __init__(self, in_size: int, out_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_size, out_size)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """``(…, in_size)`` → ``(…, out_size)`` in (−1, 1)."""
        gate: Tensor = self.linear(x)
        return gate.tanh()


def _batch(state: State) -> int | None:
    for item in state:
        size = item.shape[0] if isinstance(item, Tensor) else _batch(item)
        if size is not None:
            return int(size)
    return None
