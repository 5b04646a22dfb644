"""A memory that is read before a layer and written after it."""

from typing import Any, final

import torch
from torch import Tensor, nn

from recollect.integrations.base import Integration
from recollect.integrations.call import Call, first_output
from recollect.integrations.gate import Gate, width_projection
from recollect.integrations.layout import Layout, Layouts
from recollect.integrations.steps import checked_steps, resolved_mask
from recollect.memories.base import Memory
from recollect.state import State

TIME_AXIS = {"btd": 1, "tbd": 0, "bct": 2}
"""Time axis of the layouts of sequences."""


@final
class Fusion(Integration):
    """The layer reads the memory and writes to it: r = read(x); h = layer(x + g ⊙ r); write(h).

    g(x) = tanh(G x + b) is zero at initialisation. A call reads what previous calls have written, and writes
    all of its steps together, like a segment of a Memorizing Transformer (Wu et al. 2022, arXiv:2203.08913).
    Calls of a model that ``augment`` has changed continue from one another inside ``carry`` only, so that it
    learns there. A memory that owns its rows is only read.

    With ``stepwise=True`` the layer is called once per step, and each step reads what the previous steps have
    written, so that any split of a sequence gives the same result. The layer must treat steps independently
    and return a single tensor.

    Args:
        layer: Any module whose first argument and first output are tensors.
        memory: The memory that is read and written.
        in_size: Number of features of x; the memory's width by default.
        out_size: Number of features of h; the memory's width by default.
        layout: Order of the axes of both.
        stepwise: Call the layer once per step.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> from recollect import Fusion, Seq2SeqMemory, VectorStorage
        >>> layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        >>> integration = Fusion(layer, Seq2SeqMemory(8, VectorStorage(8, 8, slots=5)))
        >>> y, state = integration(torch.randn(2, 3, 8))
        >>> state.storage.presence.sum(-1)  # three steps are stored
        tensor([3., 3.])
    """

    def __init__(
        self,
        layer: nn.Module,
        memory: Memory,
        *,
        in_size: int | None = None,
        out_size: int | None = None,
        layout: Layout | Layouts | None = None,
        stepwise: bool = False,
    ) -> None:
        super().__init__(layer, memory, in_size=in_size, out_size=out_size, layout=layout)
        self.stepwise = stepwise
        self.reads_earlier_calls = not stepwise and not memory.lasting
        self.in_proj = width_projection(self.in_size, memory.model_size)
        self.out_proj = width_projection(memory.model_size, self.in_size)
        self.write_proj = None if memory.lasting else width_projection(self.out_size, memory.model_size)
        self.gate = Gate(self.in_size, self.in_size)

    def release_layer(self, place: str) -> None:
        """See ``Integration.release_layer``; parts of the memory that only its ``forward`` uses go, too."""
        super().release_layer(place)
        for name in self.memory.forward_only:
            if isinstance(getattr(self.memory, name), nn.Module):
                setattr(self.memory, name, NotMade(name))

    def combine(self, call: Call, state: State | None, mask: Tensor | None) -> tuple[Any, State]:
        """See ``Integration.combine``."""
        layout = self.in_layout(call.x)
        steps = checked_steps(call.x, layout, mask, self.in_size)
        mask = resolved_mask(call, mask, steps)
        state = self.checked_state(state, steps)
        if not self.stepwise:
            return self._segment(call, state, mask)
        if layout not in TIME_AXIS:
            raise ValueError(f"stepwise=True supports the layouts {', '.join(TIME_AXIS)}, not {layout!r}")
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
        layout = self.in_layout(call.x)
        steps = checked_steps(call.x, layout, mask, self.in_size)
        recalled = self.out_proj(self.memory.read(state, self.in_proj(steps), mask))
        output = call.with_input(self.add(call.x, self.gate(steps) * recalled, layout))
        if self.write_proj is None:
            return output, state
        h = first_output(output)
        written = checked_steps(h, self.out_layout(h), mask, self.out_size)
        return output, self.memory.write(state, self.write_proj(written), mask)


@final
class NotMade(nn.Module):
    """Stands for a part of a memory that is never used.

    Args:
        name: Name of the part.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Raise an error."""
        raise RuntimeError(self._reason())

    def __getattr__(self, name: str) -> Any:
        """Raise an error."""
        raise AttributeError(self._reason())

    def _reason(self) -> str:
        part = self.__dict__.get("name")
        return f"Fusion reads and writes its memory only: it has no {part}, which forward needs"
