"""A memory in parallel with a layer."""

from functools import cache
from typing import Any, final

import torch
from torch import Tensor, nn

from recollect.integrations.base import Integration
from recollect.integrations.call import Call, first_output, replace_first
from recollect.integrations.gate import Gate, width_projection
from recollect.integrations.layout import Layout, Layouts
from recollect.integrations.steps import checked_steps, resolved_mask
from recollect.memories.base import Memory
from recollect.state import State, map_state


@final
class Parallel(Integration):
    """Memory and layer take the same input: y = layer(x) + g(x) ⊙ m(x), with g(x) = tanh(G x + b).

    G and b are zero at initialisation.

    Args:
        layer: Any module whose first argument and first output are tensors.
        memory: The memory in parallel.
        in_size: Number of features of x; the memory's width by default.
        out_size: Number of features of the layer's output; the memory's width by default.
        layout: Order of the axes of both.
        own_stream: Run the memory on a CUDA stream of its own, so that the two overlap. This pays off if
            neither fills the device. On CPU they run one after the other.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> from recollect import Parallel, Seq2SeqMemory, VectorStorage
        >>> gru = torch.nn.GRU(8, 8, batch_first=True)
        >>> memory = Seq2SeqMemory(8, VectorStorage(8, 8, slots=5), write_on_forward=True)
        >>> integration = Parallel(gru, memory)
        >>> (y, last), state = integration(torch.randn(2, 3, 8))
        >>> y.shape, last.shape
        (torch.Size([2, 3, 8]), torch.Size([1, 2, 8]))
    """

    def __init__(
        self,
        layer: nn.Module,
        memory: Memory,
        *,
        in_size: int | None = None,
        out_size: int | None = None,
        layout: Layout | Layouts | None = None,
        own_stream: bool = False,
    ) -> None:
        super().__init__(layer, memory, in_size=in_size, out_size=out_size, layout=layout)
        self.own_stream = own_stream
        self.in_proj = width_projection(self.in_size, memory.model_size)
        self.out_proj = width_projection(memory.model_size, self.out_size)
        self.gate = Gate(self.in_size, self.out_size)

    def combine(self, call: Call, state: State | None, mask: Tensor | None) -> tuple[Any, State]:
        """See ``Integration.combine``."""
        steps = checked_steps(call.x, self.in_layout(call.x), mask, self.in_size)
        mask = resolved_mask(call, mask, steps)
        state = self.checked_state(state, steps)
        if self.own_stream and steps.is_cuda:
            output, contribution, state = self._overlapped(call, steps, state, mask)
        else:
            contribution, state = self._contribution(call, steps, state, mask)
            output = call.with_input(call.x)
        h = first_output(output)
        return replace_first(output, self.add(h, contribution, self.out_layout(h))), state

    def _contribution(
        self, call: Call, steps: Tensor, state: State, mask: Tensor | None
    ) -> tuple[Tensor, State]:
        recalled, state = self.memory(self.in_proj(steps), state, mask, **call.memory_kwargs)
        return self.gate(steps) * self.out_proj(recalled), state

    def _overlapped(
        self, call: Call, steps: Tensor, state: State, mask: Tensor | None
    ) -> tuple[Any, Tensor, State]:
        """Run both at once; ``record_stream`` keeps tensors alive that the other stream still uses."""
        main_stream = torch.cuda.current_stream(steps.device)
        side_stream = _side_stream(steps.device)
        side_stream.wait_stream(main_stream)
        others = [value for value in (mask, *call.memory_kwargs.values()) if isinstance(value, Tensor)]
        with torch.cuda.stream(side_stream):
            map_state(lambda tensor: _record_stream(tensor, side_stream), (steps, state, *others))
            contribution, state = self._contribution(call, steps, state, mask)
        output = call.with_input(call.x)
        main_stream.wait_stream(side_stream)
        contribution, state = map_state(
            lambda tensor: _record_stream(tensor, main_stream), (contribution, state)
        )
        return output, contribution, state


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """Return one stream per device: autograd accumulates a gradient on the stream of its first use."""
    stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return stream


def _record_stream(tensor: Tensor, stream: torch.cuda.Stream) -> Tensor:
    tensor.record_stream(stream)
    return tensor
