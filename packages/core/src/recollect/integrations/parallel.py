"""A memory side by side with the layer: both read the same input."""

from functools import cache
from typing import Any, final

import torch
from torch import Tensor, nn

from recollect.integrations.base import Gate, Integration, add_steps, features, width_map
from recollect.integrations.call import Call, first_of, with_first
from recollect.integrations.layout import Layout
from recollect.memories.base import Memory
from recollect.state import State, map_state


@final
class Parallel(Integration):
    """Memory and layer read the same input: y = layer(x) + g(x) ⊙ m(x), with g(x) = tanh(G x + b).

    G and b are zero at initialisation.

    Args:
        layer: Any module whose first argument and first output are tensors.
        memory: What stands beside it.
        in_size: Number of features of x; the memory's width by default.
        out_size: Number of features of the layer's output; the memory's width by default.
        layout: What the axes of both mean.
        own_stream: Run the memory on a CUDA stream of its own, so that the two overlap. It pays where neither
            fills the device. On a CPU, which has no streams, they run one after the other all the same.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> from recollect import Parallel, Seq2SeqMemory, VectorStorage
        >>> gru = torch.nn.GRU(8, 8, batch_first=True)
        >>> integrated = Parallel(gru, Seq2SeqMemory(8, VectorStorage(8, 8, slots=5), remember=True))
        >>> (y, last), state = integrated(torch.randn(2, 3, 8))  # a GRU gives two things, and still does
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
        layout: Layout | None = None,
        own_stream: bool = False,
    ) -> None:
        super().__init__(layer, memory, in_size=in_size, out_size=out_size, layout=layout)
        self.own_stream = own_stream
        self.enter = width_map(self.in_size, memory.model_size)
        self.leave = width_map(memory.model_size, self.out_size)
        self.gate = Gate(self.in_size, self.out_size)

    def join(self, call: Call, state: State, mask: Tensor | None) -> tuple[Any, State]:
        """See ``Integration.join``."""
        steps = features(call.x, self.layout_for(call.x), mask)
        if self.own_stream and steps.is_cuda:
            output, share, state = self._overlapped(call, steps, state, mask)
        else:
            share, state = self._share(steps, state, mask)
            output = call.rest(call.x)
        h = first_of(output)
        return with_first(output, add_steps(h, share, self.layout_for(h))), state

    def _share(self, steps: Tensor, state: State, mask: Tensor | None) -> tuple[Tensor, State]:
        recalled, state = self.memory(self.enter(steps), state, mask)
        return self.gate(steps) * self.leave(recalled), state

    def _overlapped(
        self, call: Call, steps: Tensor, state: State, mask: Tensor | None
    ) -> tuple[Any, Tensor, State]:
        """Both at once; each stream is told which of the other's tensors it uses, lest they be freed."""
        here = torch.cuda.current_stream(steps.device)
        aside = _stream_aside(steps.device)
        aside.wait_stream(here)
        given = (steps, state) if mask is None else (steps, state, mask)
        with torch.cuda.stream(aside):
            map_state(lambda tensor: _used_on(tensor, aside), given)
            share, state = self._share(steps, state, mask)
        output = call.rest(call.x)
        here.wait_stream(aside)
        share, state = map_state(lambda tensor: _used_on(tensor, here), (share, state))
        return output, share, state


@cache
def _stream_aside(device: torch.device) -> torch.cuda.Stream:
    """Always the same: autograd adds up a parameter's gradients on the stream of its first use."""
    stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return stream


def _used_on(tensor: Tensor, stream: torch.cuda.Stream) -> Tensor:
    tensor.record_stream(stream)
    return tensor
