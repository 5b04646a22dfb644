"""A memory before and after the layer: it is read on the way in, and remembers what the layer concluded."""

from typing import Any, final

import torch
from torch import Tensor, nn

from recollect.integrations.base import Gate, Integration, add_steps, features, width_map
from recollect.integrations.call import Call, first_of
from recollect.integrations.layout import Layout
from recollect.memories.base import Memory
from recollect.state import State

TIME_AXIS = {"btd": 1, "tbd": 0, "bct": 2}
"""Which axis of a sequence is time."""


@final
class Fusion(Integration):
    """The layer reads the memory and writes to it: r = read(x); h = layer(x + g ⊙ r); write(h).

    g(x) = tanh(G x + b) is zero at initialisation. A call reads what the calls before it have written, and
    writes all its steps together, as a segment of a Memorizing Transformer does (Wu et al. 2022,
    arXiv:2203.08913). What one call writes has a gradient only if a later call that is given the state reads
    it; where none does, DistributedDataParallel must be told (``find_unused_parameters=True``).

    With ``stepwise=True`` the layer is called once a step, and each step reads what the steps before it have
    written; any split of a sequence then gives the same. That is for layers which treat steps one by one and
    return a single tensor.

    Args:
        layer: Any module whose first argument and first output are tensors.
        memory: What is read before it and written after it.
        in_size: Number of features of x; the memory's width by default.
        out_size: Number of features of h; the memory's width by default.
        layout: What the axes of both mean.
        stepwise: One call of the layer for each step.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> from recollect import Fusion, Seq2SeqMemory, VectorStorage
        >>> layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        >>> integrated = Fusion(layer, Seq2SeqMemory(8, VectorStorage(8, 8, slots=5)))
        >>> y, state = integrated(torch.randn(2, 3, 8))
        >>> state.storage.presence.sum(-1)  # three steps are remembered, for whoever passes the state on
        tensor([3., 3.])
    """

    def __init__(
        self,
        layer: nn.Module,
        memory: Memory,
        *,
        in_size: int | None = None,
        out_size: int | None = None,
        layout: Layout | None = None,
        stepwise: bool = False,
    ) -> None:
        super().__init__(layer, memory, in_size=in_size, out_size=out_size, layout=layout)
        self.stepwise = stepwise
        self.enter = width_map(self.in_size, memory.model_size)
        self.leave = width_map(memory.model_size, self.in_size)
        self.keep = width_map(self.out_size, memory.model_size)
        self.gate = Gate(self.in_size, self.in_size)

    def join(self, call: Call, state: State, mask: Tensor | None) -> tuple[Any, State]:
        """See ``Integration.join``."""
        if not self.stepwise:
            return self._segment(call, state, mask)
        layout = self.layout_for(call.x)
        if layout not in TIME_AXIS:
            raise ValueError(
                f"stepwise=True goes with the layouts {', '.join(TIME_AXIS)}, not with {layout!r}"
            )
        outputs = []
        for t, x in enumerate(call.x.split(1, TIME_AXIS[layout])):
            now = None if mask is None else mask[:, t : t + 1]
            output, state = self._segment(call._replace(x=x), state, now)
            if not isinstance(output, Tensor):
                raise TypeError(
                    f"stepwise=True needs a layer that returns one tensor, got {type(output).__name__}"
                )
            outputs.append(output)
        return torch.cat(outputs, TIME_AXIS[layout]), state

    def _segment(self, call: Call, state: State, mask: Tensor | None) -> tuple[Any, State]:
        layout = self.layout_for(call.x)
        steps = features(call.x, layout, mask)
        recalled = self.leave(self.memory.read(state, self.enter(steps), mask))
        output = call.rest(add_steps(call.x, self.gate(steps) * recalled, layout))
        h = first_of(output)
        kept = features(h, self.layout_for(h), mask)
        return output, self.memory.write(state, self.keep(kept), mask)
