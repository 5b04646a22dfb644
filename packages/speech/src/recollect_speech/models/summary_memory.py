"""A memory of speech with one entry per segment."""

from typing import Any, cast, final

import torch
from torch import Tensor, nn

from recollect import Memory, Storage
from recollect.state import State


@final
class SummaryMemory(Memory[State]):
    """Store each segment as a summary s = Σ_t softmax_t(a · x_t) x_t, and read the summaries at each step.

    y_t = O Σ_i softmax_i(Q norm(x_t) · K norm(s_i)) V norm(s_i). This is the memory bank of Emformer (Shi et
    al. 2021, arXiv:2010.10759, section 2.1), whose summaries are means of segments, with any storage as the
    bank: a is zero at initialisation, so summaries start as means. With ``segment=None`` each call is one
    segment; with the state carried from recording to recording, the memory then describes a speaker by a few
    vectors (compare Sarı et al. 2020, arXiv:2002.06165).

    A segment first reads the summaries of earlier segments, then writes its own. Each call starts a new
    segment, and the remainder at its end is a segment too, so pieces of a multiple of ``segment`` steps give
    the same output as the whole.

    Args:
        model_size: Width D.
        storage: The bank.
        segment: Steps per segment; a whole call by default.
        write_on_forward: Whether ``forward`` writes; it always reads.

    Raises:
        ValueError: If ``segment`` is not positive, or the storage takes integer keys.

    Example:
        >>> from recollect import VectorStorage
        >>> memory = SummaryMemory(8, VectorStorage(8, 8, slots=4), segment=5)
        >>> y, state = memory(torch.randn(2, 12, 8))
        >>> y.shape, memory.inspect(state)["occupancy"].tolist()  # 5 + 5 + 2 steps
        (torch.Size([2, 12, 8]), [0.75, 0.75])
    """

    def __init__(
        self, model_size: int, storage: Storage, segment: int | None = None, write_on_forward: bool = True
    ) -> None:
        super().__init__(model_size, storage, write_on_forward)
        if segment is not None and segment < 1:
            raise ValueError(f"segment must be at least 1, got {segment}")
        self.segment = segment
        self.pooling = nn.Linear(model_size, 1, bias=False)
        nn.init.zeros_(self.pooling.weight)
        self.norm_summary = nn.LayerNorm(model_size)
        self.norm_query = nn.LayerNorm(model_size)
        self.key_proj = nn.Linear(model_size, storage.key_size)
        self.value_proj = nn.Linear(model_size, storage.value_size)
        self.query_proj = nn.Linear(model_size, storage.key_size)
        self.out_proj = nn.Linear(storage.value_size, model_size)

    def initial_state(
        self, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """An empty bank."""
        like = self.key_proj.weight
        return cast(
            State, self.storage.initial_state(*batch, device=device or like.device, dtype=dtype or like.dtype)
        )

    def write(self, state: State, x: Tensor, mask: Tensor | None = None) -> State:
        """Write ``x`` ``(…, W, D)`` as one segment, unless all of it is masked."""
        summary, there = self._summary(x, mask)
        return cast(
            State, self.storage.write(state, self.key_proj(summary), self.value_proj(summary), None, there)
        )

    def read(self, state: State, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Read for each of ``x`` ``(…, Q, D)`` → ``(…, Q, D)``; zero if the bank is empty."""
        read = self.storage.read(state, self.query_proj(self.norm_query(x)), mask)
        y: Tensor = self.out_proj(read.value)
        return y if mask is None else y.masked_fill(~mask.unsqueeze(-1), 0)

    def erase(self, state: State, x: Tensor, mask: Tensor | None = None) -> State:
        """Erase the segment that was written as ``x`` ``(…, E, D)``, and similar ones."""
        summary, there = self._summary(x, mask)
        return cast(State, self.storage.erase(state, self.key_proj(summary), None, there))

    def forward(
        self, x: Tensor, state: State | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Read and then write, segment by segment."""
        state = self.initial_state(*x.shape[:-2]) if state is None else state
        outputs = [x[..., :0, :]]
        length = self.segment or max(x.shape[-2], 1)
        for start in range(0, x.shape[-2], length):
            now = slice(start, start + length)
            segment_mask = None if mask is None else mask[..., now]
            outputs.append(self.read(state, x[..., now, :], segment_mask))
            if self.write_on_forward:
                state = self.write(state, x[..., now, :], segment_mask)
        return torch.cat(outputs, -2), state

    def inspect(self, state: State) -> dict[str, Tensor]:
        """Statistics of the storage."""
        return self.storage.inspect(state)

    def _summary(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The summary ``(…, 1, D)``, and ``(…, 1)`` whether any step is unmasked."""
        scores: Any = self.pooling(x)
        if mask is None:
            return self.norm_summary((scores.softmax(-2) * x).sum(-2, keepdim=True)), None
        # Where all steps are masked any finite weight will do, as nothing is written.
        weights = scores.masked_fill(~mask.unsqueeze(-1), -1e9).softmax(-2)
        return self.norm_summary((weights * x).sum(-2, keepdim=True)), mask.any(-1, keepdim=True)
