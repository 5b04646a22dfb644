"""Conformer layers, one of which may have a memory of the segments before."""

from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn

from recollect import Fusion, Integration, Memory, Parallel
from recollect.state import State, register_state
from recollect_speech.models.conformer import ConformerLayer, LayerState


@register_state
class EncoderState(NamedTuple):
    """What an encoder goes on from.

    Attributes:
        heard: ``(B,)`` int64, how many steps there have been.
        layers: One state for each layer.
        memory: State of the memory; ``()`` without one.
    """

    heard: Tensor
    layers: tuple[LayerState, ...]
    memory: State


@final
class Encoder(nn.Module):
    """Conformer layers over steps of 40 ms.

    Without ``chunk`` each step attends to the whole recording. With it, steps are cut into chunks, and a step
    attends to its own chunk and to ``left`` steps before that; the convolution reaches back only. What lies
    further back is known through the memory alone, whose segments should be of a chunk or several. A
    recording can then be encoded as it arrives: pieces of whole chunks, with the state handed on, give what
    the whole gives.

    Args:
        size: Width D.
        layers: Number of layers.
        heads: Attention heads.
        hidden: Width within the feed-forward parts.
        kernel: Steps that the convolutions span.
        dropout: Share that is dropped in training.
        chunk: Steps of a chunk; the whole recording by default.
        left: Steps before its chunk that a step attends to.
        memory: What remembers segments; of width D.
        integration: How it joins: ``recollect.Parallel``, ``Concatenation`` or ``Fusion``. The last writes
            what the layer made of a piece, so that with it a recording is encoded chunk by chunk.
        memory_layer: Which layer it joins, counted from 0.

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
        memory: Memory | None = None,
        integration: type[Integration] = Parallel,
        memory_layer: int = 1,
    ) -> None:
        super().__init__()
        if chunk is not None and chunk < 1:
            raise ValueError(f"chunk must be at least 1, got {chunk}")
        if left < 0:
            raise ValueError(f"left must not be negative, got {left}")
        if memory is not None and not 0 <= memory_layer < layers:
            raise ValueError(f"memory_layer must be one of {layers} layers, got {memory_layer}")
        if memory is not None and memory.model_size != size:
            raise ValueError(f"the memory's model_size must be {size}, got {memory.model_size}")
        self.size = size
        self.chunk = chunk
        self.left = left
        self.kernel = kernel
        parts: list[nn.Module] = [
            ConformerLayer(size, heads, hidden, kernel, dropout, causal=chunk is not None)
            for _ in range(layers)
        ]
        self.piecewise = memory is not None and issubclass(integration, Fusion)
        if self.piecewise and chunk is None:
            raise ValueError("Fusion reads what earlier pieces have left: it needs chunk")
        if memory is not None:
            parts[memory_layer] = integration(parts[memory_layer], memory)
        self.layers = nn.ModuleList(parts)

    def initial_state(self, batch: int) -> EncoderState:
        """Nothing has been heard."""
        if self.chunk is None:
            raise ValueError("an encoder without chunk attends to the whole recording: it cannot go on")
        like = next(self.parameters())
        layer = LayerState(
            like.new_zeros(batch, self.left, self.size), like.new_zeros(batch, self.kernel - 1, self.size)
        )
        heard = torch.zeros(batch, dtype=torch.int64, device=like.device)
        return EncoderState(heard, (layer,) * len(self.layers), self._empty(batch))

    def forward(
        self, x: Tensor, mask: Tensor, state: EncoderState | None = None
    ) -> tuple[Tensor, EncoderState | None]:
        """``(B, T, D)`` → ``(B, T, D)``, and the state after if one was given.

        Args:
            x: The steps; whole chunks where more are to follow.
            mask: ``(B, T)`` bool, false where a step is padding.
            state: Where to go on from.
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
        allowed = self._allowed(mask, None if state is None else state.heard)
        remembered = self._empty(len(x)) if state is None else state.memory
        after: list[Any] = []
        for number, layer in enumerate(self.layers):
            past = None if state is None else state.layers[number]
            if isinstance(layer, Integration):
                (x, now), remembered = layer(x, remembered, mask, allowed, past, step_mask=mask)
            else:
                x, now = layer(x, mask, allowed, past)
            after.append(now)
        if state is None:
            return x, None
        return x, EncoderState(state.heard + mask.sum(1), tuple(after), remembered)

    def _allowed(self, mask: Tensor, heard: Tensor | None) -> Tensor:
        """Which steps each may attend to: ``(B, T, L + T)``, with L = 0 where nothing came before."""
        steps = torch.arange(mask.shape[1], device=mask.device)
        own = steps.unsqueeze(0) == steps.unsqueeze(1)  # so that a padded step has something to attend to
        if self.chunk is None:
            return mask.unsqueeze(1) | own
        first = (steps // self.chunk * self.chunk).unsqueeze(1)
        near = (steps >= first - self.left) & (steps < first + self.chunk)
        allowed = (near & mask.unsqueeze(1)) | own
        if heard is None:
            return allowed
        past = torch.arange(-self.left, 0, device=mask.device)
        reached = (past >= first - self.left) & (past >= -heard.reshape(-1, 1, 1))
        return torch.cat([reached, allowed], -1)

    def _empty(self, batch: int) -> State:
        joined = next((layer for layer in self.layers if isinstance(layer, Integration)), None)
        return () if joined is None else joined.initial_state(batch)
