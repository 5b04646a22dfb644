"""A memory of what was heard: one entry for each segment."""

from typing import Any, cast, final

import torch
from torch import Tensor, nn

from recollect import Memory, Storage
from recollect.state import State


@final
class SummaryMemory(Memory[State]):
    """Segments of speech, each remembered by a summary s = Σ_t softmax_t(a · x_t) x_t, and read step by step.

    y_t = T Σ_i softmax_i(Q norm(x_t) · K norm(s_i)) V norm(s_i). The memory bank of Emformer (Shi et al.
    2021, arXiv:2010.10759, section 2.1), whose summaries are means of segments, with a storage of choice for
    the bank: a is zero at initialisation, and a summary a mean. With ``segment=None`` a whole call is one
    segment: handed on from recording to recording, that remembers a speaker by a few vectors, adapted as
    speech arrives (compare Sarı et al. 2020, arXiv:2002.06165).

    Each segment reads what the segments before it have left, and then leaves its own summary. A call begins
    a new segment, and what is left over at its end is a segment too: pieces of a multiple of ``segment``
    steps give what the whole gives.

    Args:
        model_size: Width D.
        storage: The bank.
        segment: Steps of a segment; a whole call by default.
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
        if storage.integer_keys:
            raise ValueError("summaries are real vectors; this storage takes integer keys")
        self.segment = segment
        self.weigh = nn.Linear(model_size, 1, bias=False)
        nn.init.zeros_(self.weigh.weight)
        self.norm_summary = nn.LayerNorm(model_size)
        self.norm_query = nn.LayerNorm(model_size)
        self.keys = nn.Linear(model_size, storage.key_size)
        self.values = nn.Linear(model_size, storage.value_size)
        self.ask = nn.Linear(model_size, storage.key_size)
        self.tell = nn.Linear(storage.value_size, model_size)

    def initial_state(
        self, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """An empty bank."""
        like = self.keys.weight
        return cast(
            State, self.storage.initial_state(*batch, device=device or like.device, dtype=dtype or like.dtype)
        )

    def write(self, state: State, x: Tensor, mask: Tensor | None = None) -> State:
        """Remember ``x`` ``(…, W, D)`` as one segment; nothing where all of it is masked."""
        summary, there = self._summary(x, mask)
        return cast(State, self.storage.write(state, self.keys(summary), self.values(summary), None, there))

    def read(self, state: State, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """What the bank holds for each of ``x`` ``(…, Q, D)`` → ``(…, Q, D)``; zero from an empty one."""
        read = self.storage.read(state, self.ask(self.norm_query(x)), mask)
        y: Tensor = self.tell(read.value)
        return y if mask is None else y.masked_fill(~mask.unsqueeze(-1), 0)

    def erase(self, state: State, x: Tensor, mask: Tensor | None = None) -> State:
        """Forget the segment that was written as ``x`` ``(…, E, D)``, and those that resemble it."""
        summary, there = self._summary(x, mask)
        return cast(State, self.storage.erase(state, self.keys(summary), None, there))

    def forward(
        self, x: Tensor, state: State | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Segment by segment: read, then write."""
        state = self.initial_state(*x.shape[:-2]) if state is None else state
        outputs = [x[..., :0, :]]
        length = self.segment or max(x.shape[-2], 1)
        for start in range(0, x.shape[-2], length):
            now = slice(start, start + length)
            mask_now = None if mask is None else mask[..., now]
            outputs.append(self.read(state, x[..., now, :], mask_now))
            if self.write_on_forward:
                state = self.write(state, x[..., now, :], mask_now)
        return torch.cat(outputs, -2), state

    def inspect(self, state: State) -> dict[str, Tensor]:
        """The storage's figures."""
        return self.storage.inspect(state)

    def _summary(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """``(…, 1, D)``, and ``(…, 1)`` whether there is anything in it."""
        scores: Any = self.weigh(x)
        if mask is None:
            return self.norm_summary((scores.softmax(-2) * x).sum(-2, keepdim=True)), None
        # Where all is masked any finite weight will do: nothing of it is written.
        weights = scores.masked_fill(~mask.unsqueeze(-1), -1e9).softmax(-2)
        return self.norm_summary((weights * x).sum(-2, keepdim=True)), mask.any(-1, keepdim=True)
