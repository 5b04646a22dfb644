"""The base class of all integrations: a layer and a memory that replace the layer."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from recollect.integrations.call import Call, LayerCall
from recollect.integrations.layout import Layout, check_layout, from_steps, infer_layout, to_steps
from recollect.memories.base import Memory
from recollect.state import State
from recollect.validation import check_positive


class Integration(nn.Module, ABC):
    """A layer with a memory: ``y, state = integration(x, state)``.

    Further arguments are passed to the layer, and further outputs are returned:
    ``(y, h_n), state = integration(x, state, h_0)`` for a GRU. Arguments of the layer that mark padding
    (``src_key_padding_mask``, …) mask those steps for the memory; for other layers, pass ``step_mask``.

    At initialisation y equals the output of the layer, since the weight of the memory's contribution is zero.
    The gradient of that weight is not, so that it changes in the first optimiser step; from then on gradients
    reach the memory.

    Args:
        layer: Any module whose first argument and first output are tensors.
        memory: The memory.
        in_size: Number of features of x; the memory's width by default.
        out_size: Number of features of the layer's output h; the memory's width by default.
        layout: Order of the axes of x and h; see ``infer_layout`` for the default.

    Raises:
        ValueError: If a size is not positive or the layout is unknown.
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
        check_positive(in_size=self.in_size, out_size=self.out_size)
        self.layout = layout
        self._call = LayerCall(layer)

    @abstractmethod
    def combine(self, call: Call, state: State, mask: Tensor | None) -> tuple[Any, State]:
        """Return the layer's output combined with the memory's, and the next state."""

    def initial_state(
        self, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Return the memory's initial state."""
        state: State = self.memory.initial_state(*batch, device=device, dtype=dtype)
        return state

    def forward(
        self,
        *args: Any,
        state: State | None = None,
        step_mask: Tensor | None = None,
        memory_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, State]:
        """Call the layer with the memory: ``integration(x, state, *args, **kwargs)``.

        Args:
            *args: x, the memory's state (``None`` for an initial one), and further arguments of the layer.
            state: The state, as a keyword.
            step_mask: ``(B, T)`` bool; the memory ignores a step where it is false.
            memory_kwargs: Further arguments of the memory's ``forward``. ``Fusion``, which calls ``read`` and
                ``write`` instead, ignores them.
            **kwargs: Further arguments of the layer.

        Returns:
            What the layer returns, with y as its first tensor, and the next state.

        Raises:
            ValueError: If x does not match the layout, or the state does not match the batch.
            TypeError: If the first argument or output is not a tensor of real numbers.
        """
        if len(args) > 1:
            if state is not None:
                raise TypeError("state is given twice: as the second argument and as a keyword")
            state, args = args[1], (args[0], *args[2:])
        return self.run(args, kwargs, state, step_mask, memory_kwargs)

    def run(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        state: State | None,
        step_mask: Tensor | None,
        memory_kwargs: Mapping[str, Any] | None = None,
    ) -> tuple[Any, State]:
        """Like ``forward``, with the layer's arguments separate from the memory's, so that no names clash."""
        call = self._call.split(self.layer, args, kwargs)
        if memory_kwargs:
            call = call._replace(memory_kwargs=memory_kwargs)
        if not isinstance(call.x, Tensor):
            raise TypeError(f"the first argument must be a tensor, got {type(call.x).__name__}")
        batch = call.x.shape[1 if self.layout_for(call.x) == "tbd" else 0]
        if state is None:
            state = self.initial_state(batch, device=call.x.device)
        elif (found := _batch_size(state)) != batch:
            raise ValueError(
                f"the state has {found} batch items and the input {batch}: select the items to continue "
                "with, or start from an initial state"
            )
        return self.combine(call, state, call.mask if step_mask is None else step_mask)

    def layout_for(self, tensor: Tensor) -> Layout:
        """Return the layout of the layer's input or output."""
        return self.layout or infer_layout(self.layer, tensor)

    def extra_repr(self) -> str:
        """The arguments, for ``repr``."""
        return f"in_size={self.in_size}, out_size={self.out_size}, layout={self.layout!r}"


def checked_steps(x: Tensor, layout: Layout, mask: Tensor | None) -> Tensor:
    """Convert ``x`` to steps ``(B, T, D)``, and check that ``mask`` matches them.

    Raises:
        TypeError: If ``x`` is not floating point.
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
    """Add ``steps`` ``(B, T, D)`` to ``h``, in the dtype of ``h``."""
    return h + from_steps(steps, layout, h).to(h.dtype)


def width_projection(in_size: int, out_size: int) -> nn.Module:
    """Make a linear map between two widths, or the identity if they are equal."""
    return nn.Identity() if in_size == out_size else nn.Linear(in_size, out_size, bias=False)


class Gate(nn.Module):
    """g(x) = tanh(G x + b), zero at initialisation (as in Flamingo, Alayrac et al. 2022, arXiv:2204.14198).

    Args:
        in_size: Width of x.
        out_size: Width of the gate.
    """

    def __init__(self, in_size: int, out_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_size, out_size)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Gate ``(…, out_size)`` in (−1, 1) for x ``(…, in_size)``."""
        gate: Tensor = self.linear(x)
        return gate.tanh()


def _batch_size(state: State) -> int | None:
    for item in state:
        size = item.shape[0] if isinstance(item, Tensor) else _batch_size(item)
        if size is not None:
            return int(size)
    return None
