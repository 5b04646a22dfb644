"""A memory in series with a layer."""

from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from recollect.integrations.base import Integration
from recollect.integrations.call import Call, first_output, replace_first
from recollect.integrations.gate import width_projection
from recollect.integrations.layout import Layout, Layouts
from recollect.integrations.steps import checked_steps, resolved_mask
from recollect.memories.base import Memory
from recollect.state import State


@final
class Concatenation(Integration):
    """The memory reads the layer's output: y = h + P m(h), or y = P [h; m(h)], with h = layer(x).

    P is zero at initialisation for ``"add"``. For ``"concat"`` it is [I, 0] + W with W zero, so that h passes
    through unchanged in any precision.

    Args:
        layer: Any module whose first output is a tensor.
        memory: The memory that reads the output.
        mode: ``"add"`` or ``"concat"``.
        in_size: Number of features of x; unused.
        out_size: Number of features of h; the memory's width by default.
        layout: Order of the axes of h.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> from recollect import Concatenation, Seq2SeqMemory, VectorStorage
        >>> layer = torch.nn.Linear(8, 8)
        >>> memory = Seq2SeqMemory(8, VectorStorage(8, 8, slots=5), write_on_forward=True)
        >>> integration = Concatenation(layer, memory)
        >>> x = torch.randn(2, 3, 8)
        >>> y, state = integration(x)
        >>> bool((y == layer(x)).all())  # at initialisation
        True
    """

    def __init__(
        self,
        layer: nn.Module,
        memory: Memory,
        mode: Literal["add", "concat"] = "add",
        *,
        in_size: int | None = None,
        out_size: int | None = None,
        layout: Layout | Layouts | None = None,
    ) -> None:
        super().__init__(layer, memory, in_size=in_size, out_size=out_size, layout=layout)
        if mode not in ("add", "concat"):
            raise ValueError(f'mode must be "add" or "concat", got {mode!r}')
        self.mode = mode
        self.in_proj = width_projection(self.out_size, memory.model_size)
        added = self.out_size if mode == "concat" else 0
        self.out_proj = nn.Linear(added + memory.model_size, self.out_size, bias=mode == "concat")
        nn.init.zeros_(self.out_proj.weight)
        if mode == "concat":
            nn.init.zeros_(self.out_proj.bias)

    def combine(self, call: Call, state: State | None, mask: Tensor | None) -> tuple[Any, State]:
        """See ``Integration.combine``."""
        output = call.with_input(call.x)
        h = first_output(output)
        layout = self.out_layout(h)
        steps = checked_steps(h, layout, mask, self.out_size)
        mask = resolved_mask(call, mask, steps)
        state = self.checked_state(state, steps)
        recalled, state = self.memory(self.in_proj(steps), state, mask, **call.memory_kwargs)
        if self.mode == "concat":
            recalled = torch.cat([steps, recalled.to(steps.dtype)], -1)
        return replace_first(output, self.add(h, self.out_proj(recalled), layout)), state
