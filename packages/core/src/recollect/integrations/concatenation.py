"""A memory in series: it reads what the layer made."""

from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from recollect.integrations.base import Integration, add_steps, features, width_map
from recollect.integrations.call import Call, first_of, with_first
from recollect.integrations.layout import Layout
from recollect.memories.base import Memory
from recollect.state import State


@final
class Concatenation(Integration):
    """The memory reads the layer's output: y = h + P m(h), or y = P [h; m(h)], with h = layer(x).

    P is zero at initialisation for ``"add"``. For ``"concat"`` it is [I, 0] + W with W zero, so that h passes
    unchanged in any precision.

    Args:
        layer: Any module whose first output is a tensor.
        memory: What reads it.
        mode: ``"add"`` or ``"concat"``.
        in_size: Number of features of x; of no consequence here.
        out_size: Number of features of h; the memory's width by default.
        layout: What the axes of h mean.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> from recollect import Concatenation, Seq2SeqMemory, VectorStorage
        >>> layer = torch.nn.Linear(8, 8)
        >>> integrated = Concatenation(layer, Seq2SeqMemory(8, VectorStorage(8, 8, slots=5), remember=True))
        >>> x = torch.randn(2, 3, 8)
        >>> y, state = integrated(x)
        >>> bool((y == layer(x)).all())  # at initialisation the layer is what it was
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
        layout: Layout | None = None,
    ) -> None:
        super().__init__(layer, memory, in_size=in_size, out_size=out_size, layout=layout)
        if mode not in ("add", "concat"):
            raise ValueError(f'mode must be "add" or "concat", got {mode!r}')
        self.mode = mode
        self.enter = width_map(self.out_size, memory.model_size)
        added = self.out_size if mode == "concat" else 0
        self.project = nn.Linear(added + memory.model_size, self.out_size, bias=mode == "concat")
        nn.init.zeros_(self.project.weight)
        if mode == "concat":
            nn.init.zeros_(self.project.bias)

    def join(self, call: Call, state: State, mask: Tensor | None) -> tuple[Any, State]:
        """See ``Integration.join``."""
        output = call.rest(call.x)
        h = first_of(output)
        layout = self.layout_for(h)
        steps = features(h, layout, mask)
        recalled, state = self.memory(self.enter(steps), state, mask)
        if self.mode == "concat":
            recalled = torch.cat([steps, recalled.to(steps.dtype)], -1)
        return with_first(output, add_steps(h, self.project(recalled), layout)), state
