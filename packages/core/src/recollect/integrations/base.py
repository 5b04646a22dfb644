"""The base class of all integrations: a layer and a memory that replace the layer."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from recollect.integrations.call import Call, LayerCall
from recollect.integrations.input_forms import Finish, with_batch_axis, with_padding
from recollect.integrations.layout import (
    BATCHED_AND_UNBATCHED,
    Layout,
    Layouts,
    batch_axis,
    certain_layout,
    check_layout,
    from_steps,
    infer_layout,
    num_axes,
    num_steps,
    unknown_layout,
)
from recollect.integrations.padding import grown, last_steps
from recollect.integrations.steps import Connect
from recollect.memories.base import Memory
from recollect.state import State, first_tensor
from recollect.validation import check_positive


class Integration(nn.Module, ABC):
    """A layer with a memory: ``y, state = integration(x, state)``.

    Further arguments are passed to the layer, and further outputs are returned:
    ``(y, h_n), state = integration(x, state, h_0)`` for a GRU. Arguments of the layer that mark padding
    (``src_key_padding_mask``, ``attention_mask``, …) mask those steps for the memory; for other layers, pass
    ``step_mask``. The layer may return a tensor, or a tuple, mapping or dataclass with one.

    At initialisation y equals the output of the layer, since the weight of the memory's contribution is zero.
    The gradient of that weight is not, so that it changes in the first optimiser step; from then on gradients
    reach the memory.

    Args:
        layer: Any module whose first argument is a tensor or a ``PackedSequence``.
        memory: The memory.
        in_size: Number of features of x; the memory's width by default.
        out_size: Number of features of the layer's output h; the memory's width by default.
        layout: Order of the axes of x and h, one layout or both; see ``infer_layout`` for the default.

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
        layout: Layout | Layouts | None = None,
    ) -> None:
        super().__init__()
        self.layouts: Layouts = layout if isinstance(layout, tuple) else (layout, layout)
        for given in self.layouts:
            check_layout(given)
        self.layer: nn.Module | None = layer
        self.memory = memory
        self.in_size = memory.model_size if in_size is None else in_size
        self.out_size = memory.model_size if out_size is None else out_size
        check_positive(in_size=self.in_size, out_size=self.out_size)
        self.place = type(layer).__name__
        self.warned = False
        self._call = LayerCall(layer)
        self._takes_one_item = isinstance(layer, BATCHED_AND_UNBATCHED)
        self._certain_layouts = {
            (axes, output): certain_layout(layer, axes, output)
            for axes in (2, 3, 4)
            for output in (False, True)
        }
        self._batch_first = getattr(layer, "batch_first", True)

    reads_earlier_calls = False
    """Whether a call reads only what earlier calls have written."""

    @abstractmethod
    def combine(self, call: Call, state: State | None, mask: Tensor | None) -> tuple[Any, State]:
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
        if self.layer is None:
            raise TypeError("this integration is part of a layer that augment has given a memory; call that")
        return self.run(self.layer, args, kwargs, state, step_mask, memory_kwargs)

    def run(
        self,
        layer: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        state: State | None,
        step_mask: Tensor | None,
        memory_kwargs: Mapping[str, Any] | None = None,
        model_mask: Tensor | None = None,
        mask_grows: bool = False,
    ) -> tuple[Any, State]:
        """Like ``forward``, with the layer's arguments separate from the memory's, so that no names clash.

        Args:
            layer: Calls the layer.
            args: Positional arguments of the layer.
            kwargs: Keyword arguments of the layer.
            state: The state; ``None`` for an initial one.
            step_mask: The mask; by default the padding that the arguments mark.
            memory_kwargs: Further arguments of the memory's ``forward``.
            model_mask: The mask of the whole model's input; it applies if there is no other and it fits.
            mask_grows: Whether steps that come after ``step_mask`` count.
        """
        call, finish = self._normalize(self._call.split(layer, args, kwargs))
        if memory_kwargs:
            call = call._replace(memory_kwargs=memory_kwargs)
        if not isinstance(call.x, Tensor):
            raise TypeError(f"the first argument must be a tensor, got {type(call.x).__name__}")
        call = call._replace(model_mask=model_mask)
        mask = call.mask if step_mask is None else step_mask
        steps = None if mask is None else self._num_steps(call.x)
        if mask is not None and steps is not None:
            if step_mask is None:
                mask = last_steps(mask, steps)  # with a cache, the arguments mark earlier steps, too
            elif mask_grows:
                mask = grown(mask, steps)
        output, state = self.combine(call, state, mask)
        return finish(output), state

    def _normalize(self, call: Call) -> tuple[Call, Finish]:
        """Turn packed sequences into padded ones, and a single item into a batch."""
        if isinstance(call.x, PackedSequence):
            return with_padding(call, self._batch_first)
        layout = self._layout_of_one_item(call.x) if self._takes_one_item else None
        return (call, _unchanged) if layout is None else with_batch_axis(call, batch_axis(layout))

    def _layout_of_one_item(self, x: Any) -> Layout | None:
        """The layout of ``x`` after it gets a batch axis, if it has none."""
        if not isinstance(x, Tensor):
            return None
        layout = self.layouts[0]
        if layout is None and self._certain(x.dim()) is None:
            layout = self._certain(x.dim() + 1)
        return layout if layout is not None and x.dim() == num_axes(layout) - 1 else None

    def _num_steps(self, x: Tensor) -> int | None:
        """The number of steps of the layer's input, or ``None`` if it is unknown."""
        if not x.is_floating_point():  # indices
            return x.shape[-1]
        known = self.layer is not None or (self.layouts[0] or self._certain(x.dim())) is not None
        return num_steps(x, self.in_layout(x)) if known else None

    def checked_state(self, state: State | None, steps: Tensor) -> State:
        """Return ``state``, or an initial state for ``steps`` ``(B, T, D)``.

        Raises:
            ValueError: If the state has another number of batch items.
        """
        batch = steps.shape[0]
        if state is None:
            return self.initial_state(batch, device=steps.device)
        found = _batch_size(state)
        if found != batch and not self._is_shared(state):
            raise ValueError(
                f"{self.place}: the state has {found} batch items and the input {batch}: select the items to "
                f"continue with, session.select(torch.arange({batch})) for the first, or start from an "
                "initial state"
            )
        return state

    def _is_shared(self, state: State) -> bool:
        """Whether a state has no batch axis: one store for all items."""
        return first_tensor(state).dim() == first_tensor(self.initial_state()).dim()

    def _certain(self, axes: int, output: bool = False) -> Layout | None:
        """The layout of a tensor if the type of the layer leaves no doubt."""
        return self._certain_layouts.get((axes, output))

    def in_layout(self, x: Tensor) -> Layout:
        """Return the layout of the layer's input."""
        return self._layout(x, output=False)

    def out_layout(self, h: Tensor) -> Layout:
        """Return the layout of the layer's output."""
        return self._layout(h, output=True)

    def _layout(self, tensor: Tensor, output: bool) -> Layout:
        layout = self.layouts[1 if output else 0]
        if layout is not None:
            return layout
        if self.layer is not None:
            return infer_layout(self.layer, tensor, output)
        layout = self._certain(tensor.dim(), output)
        if layout is not None:
            return layout
        raise ValueError(unknown_layout(self.place, self._call.layer_name, tensor, output))

    def add(self, h: Tensor, steps: Tensor, layout: Layout) -> Tensor:
        """Add the memory's contribution ``steps`` ``(B, T, D)`` to ``h``, in the dtype of ``h``."""
        return h + from_steps(self.connected(steps), layout, h).to(h.dtype)

    def connected(self, tensor: Tensor) -> Tensor:
        """Return ``tensor``, of whose graph all parameters are part if DistributedDataParallel may wait."""
        if (
            torch.is_grad_enabled()
            and torch.distributed.is_available()
            and torch.distributed.is_initialized()
        ):
            connected: Tensor = Connect.apply(tensor, *(p for p in self._own_parameters() if p.requires_grad))
            return connected
        return tensor

    def bind(self, model: nn.Module) -> None:
        """Called by ``augment`` with the model, so that an integration can watch its other parts."""

    def unbind(self) -> None:
        """Undo ``bind``."""

    def reset(self, state: State, where: Tensor) -> State:
        """Reset batch items to the initial state where ``where`` ``(B,)`` is true."""
        new: State = self.memory.reset(state, where)
        return new

    def select(self, state: State, index: Tensor) -> State:
        """Select batch items ``index`` ``(B',)``."""
        selected: State = self.memory.select(state, index)
        return selected

    def inspect(self, state: State) -> dict[str, Tensor]:
        """Return figures to look at, by name."""
        return self.memory.inspect(state)

    def _own_parameters(self) -> Iterator[nn.Parameter]:
        return (p for name, p in self.named_parameters() if not name.startswith("layer."))

    def release_layer(self, place: str) -> None:
        """Give up the layer, which ``augment`` leaves where it is, under its name in the model."""
        self.layer, self.place = None, place

    @property
    def attached(self) -> bool:
        """Whether ``augment`` has given the integration to a layer that it does not hold itself."""
        return self.layer is None

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Load weights; a checkpoint of the plain model leaves those of an attached memory as they are."""
        if self.attached and not any(name.startswith(prefix) for name in state_dict):
            state_dict.update(self.state_dict(prefix=prefix))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        """The arguments, for ``repr``."""
        layout = self.layouts[0] if self.layouts[0] == self.layouts[1] else self.layouts
        return f"in_size={self.in_size}, out_size={self.out_size}, layout={layout!r}"


def _batch_size(state: State) -> int | None:
    for item in state:
        size = item.shape[0] if isinstance(item, Tensor) else _batch_size(item)
        if size is not None:
            return int(size)
    return None


def _unchanged(output: Any) -> Any:
    return output
