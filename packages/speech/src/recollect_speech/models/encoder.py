"""A Conformer encoder, with a memory of earlier segments in one of its layers."""

from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn

from recollect import Fusion, Integration, Memory, Parallel
from recollect.state import State, register_state
from recollect_speech.models.conformer import ConformerLayer, LayerState


@register_state
class EncoderState(NamedTuple):
    """State of an encoder between two pieces of a recording.

    Attributes:
        steps: ``(B,)`` int64, number of steps so far.
        layers: States of the layers.
        memory: State of the memory, ``()`` without one.
    """

    steps: Tensor
    layers: tuple[LayerState, ...]
    memory: State


@final
class Encoder(nn.Module):
    """Conformer layers over steps of 40 ms.

    Without ``chunk`` each step attends to the whole recording. With ``chunk`` a step attends to its own chunk
    and to the ``left`` steps before it, and the convolution is causal; earlier steps are reached through the
    memory only, whose segments should be one or several chunks long. A recording can then be encoded while it
    arrives: encoding it in pieces of whole chunks, with the state passed on, gives the same output.

    Args:
        size: Width D.
        layers: Number of layers.
        heads: Number of attention heads.
        hidden: Hidden width of the feed-forward layers.
        kernel: Kernel size of the convolutions in steps; odd.
        dropout: Dropout rate.
        chunk: Steps per chunk; the whole recording by default.
        left: Number of steps before its chunk that a step attends to.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        size: int = 144,
        layers: int = 4,
        heads: int = 4,
        hidden: int = 384,
        kernel: int = 15,
        dropout: float = 0.1,
        chunk: int | None = None,
        left: int = 32,
    ) -> None:
        super().__init__()
        if chunk is not None and chunk < 1:
            raise ValueError(f"chunk must be at least 1, got {chunk}")
        if left < 0:
            raise ValueError(f"left must not be negative, got {left}")
        self.size = size
        self.chunk = chunk
        self.left = left
        self.kernel = kernel
        self.layers = nn.ModuleList(
            ConformerLayer(size, heads, hidden, kernel, dropout, causal=chunk is not None)
            for _ in range(layers)
        )
        self.piecewise = False

    def add_memory(self, memory: Memory, integration: type[Integration] = Parallel, at: int = 1) -> None:
        """Give a layer a memory of segments.

        Args:
            memory: The memory, of width D.
            integration: ``recollect.Parallel``, ``Concatenation`` or ``Fusion``. ``Fusion`` writes the output
                of the layer, so with it a recording is encoded chunk by chunk.
            at: Index of the layer, counted from 0.

        Raises:
            ValueError: If the widths differ, there is no such layer, or ``Fusion`` has no chunks.
        """
        if not 0 <= at < len(self.layers):
            raise ValueError(f"at must be in [0, {len(self.layers)}), got {at}")
        if memory.model_size != self.size:
            raise ValueError(f"the memory's model_size must be {self.size}, got {memory.model_size}")
        self.piecewise = issubclass(integration, Fusion)
        if self.piecewise and self.chunk is None:
            raise ValueError("Fusion writes the outputs of earlier chunks: it needs chunk")
        self.layers[at] = integration(self.layers[at], memory)

    def initial_state(self, batch: int) -> EncoderState:
        """The state before the first step."""
        if self.chunk is None:
            raise ValueError("an encoder without chunk attends to the whole recording and has no state")
        like = next(self.parameters())
        layer = LayerState(
            like.new_zeros(batch, self.left, self.size), like.new_zeros(batch, self.kernel - 1, self.size)
        )
        steps = torch.zeros(batch, dtype=torch.int64, device=like.device)
        return EncoderState(steps, (layer,) * len(self.layers), self._initial_memory(batch))

    def forward(
        self, x: Tensor, mask: Tensor, state: EncoderState | None = None
    ) -> tuple[Tensor, EncoderState | None]:
        """``(B, T, D)`` → ``(B, T, D)``, and the new state if one was given.

        Args:
            x: Input; whole chunks, except at the end of a recording.
            mask: ``(B, T)`` bool, false at padded steps.
            state: State after the previous piece.
        """
        if not self.piecewise:
            return self._piece(x, mask, state)
        given, outputs = state is not None, [x[:, :0]]
        state = state or self.initial_state(len(x))
        for start in range(0, x.shape[1], self.chunk or 1):
            now = slice(start, start + (self.chunk or 1))
            y, state = self._piece(x[:, now], mask[:, now], state)
            outputs.append(y)
        return torch.cat(outputs, 1), state if given else None

    def _piece(
        self, x: Tensor, mask: Tensor, state: EncoderState | None
    ) -> tuple[Tensor, EncoderState | None]:
        allowed = self._allowed(mask, None if state is None else state.steps)
        memory = self._initial_memory(len(x)) if state is None else state.memory
        after: list[Any] = []
        for number, layer in enumerate(self.layers):
            past = None if state is None else state.layers[number]
            if isinstance(layer, Integration):
                (x, now), memory = layer(x, memory, mask, allowed, past, step_mask=mask)
            else:
                x, now = layer(x, mask, allowed, past)
            after.append(now)
        if state is None:
            return x, None
        return x, EncoderState(state.steps + mask.sum(1), tuple(after), memory)

    def _allowed(self, mask: Tensor, past_steps: Tensor | None) -> Tensor:
        """Attention mask ``(B, T, L + T)``; L = 0 without a state."""
        steps = torch.arange(mask.shape[1], device=mask.device)
        own = steps.unsqueeze(0) == steps.unsqueeze(1)  # keeps the softmax of a padded step finite
        if self.chunk is None:
            return mask.unsqueeze(1) | own
        first = (steps // self.chunk * self.chunk).unsqueeze(1)
        near = (steps >= first - self.left) & (steps < first + self.chunk)
        allowed = (near & mask.unsqueeze(1)) | own
        if past_steps is None:
            return allowed
        past = torch.arange(-self.left, 0, device=mask.device)
        reached = (past >= first - self.left) & (past >= -past_steps.reshape(-1, 1, 1))
        return torch.cat([reached, allowed], -1)

    def _initial_memory(self, batch: int) -> State:
        integration = next((layer for layer in self.layers if isinstance(layer, Integration)), None)
        return () if integration is None else integration.initial_state(batch)
