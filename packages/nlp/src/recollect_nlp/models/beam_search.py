"""Beam search over a translator, for a whole batch at once."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from recollect_nlp.data.subwords import BEGIN, END, PAD
from recollect_nlp.models.translator import Translator


class Found(NamedTuple):
    """The best translation of each sentence.

    Attributes:
        pieces: ``(B, T)`` int64, each with its end piece if it came to an end, padded.
        log_probability: ``(B,)`` natural logarithm of its probability, the end piece included.
        score: ``(B,)`` what was maximised: ``log_probability`` / length^penalty.
    """

    pieces: Tensor
    log_probability: Tensor
    score: Tensor


@torch.no_grad()
def beam_search(
    model: Translator[Any],
    source: Tensor,
    beam: int = 5,
    length_penalty: float = 1.0,
    max_ratio: float = 1.6,
    max_extra: int = 10,
    max_pieces: int = 1000,
) -> Found:
    """The translation with the highest log-probability / length^penalty among those that the beam meets.

    Each step goes on from the ``beam`` best unfinished beginnings of each sentence; ``model.select`` makes
    the state, a memory's included, follow them. A sentence is done when ``beam`` translations of it have
    ended, or when nothing unfinished can beat the best of them; it then leaves the batch, so that the rest
    goes on faster. Padding and the begin piece are never told. Lengths count the end piece.

    Args:
        model: In evaluation mode.
        source: ``(B, S)`` int64, padded.
        beam: How many beginnings are kept; 1 is greedy search.
        length_penalty: 0 prefers short translations, 1 compares the mean log-probability of pieces.
        max_ratio: Pieces of a translation at most: min(``max_ratio`` · S + ``max_extra``, ``max_pieces``).
        max_extra: See ``max_ratio``.
        max_pieces: See ``max_ratio``; a step takes time that grows with the pieces before it.

    Raises:
        ValueError: If ``beam`` is not positive or ``length_penalty`` is negative.
    """
    if beam < 1:
        raise ValueError(f"beam must be at least 1, got {beam}")
    if length_penalty < 0:
        raise ValueError(f"length_penalty must not be negative, got {length_penalty}")
    limit = min(int(max_ratio * source.shape[1] + max_extra), max_pieces)
    search = _Search(model, source, beam, length_penalty, limit)
    for step in range(1, limit + 1):
        search.step(step)
        if not len(search.open):
            break
    return search.found()


class _Search:
    """What is known of each sentence while the search runs; rows of ``open`` sentences only, K beams each."""

    def __init__(
        self, model: Translator[Any], source: Tensor, beam: int, length_penalty: float, limit: int
    ) -> None:
        self.model, self.beam, self.penalty, self.limit = model, beam, length_penalty, limit
        batch, device = len(source), source.device
        self.open = torch.arange(batch, device=device)
        self.state = model.select(model.encode(source), self.open.repeat_interleave(beam))
        self.pieces = torch.full((batch, beam, limit), PAD, device=device)
        self.last = torch.full((batch, beam), BEGIN, device=device)
        # All beams of a sentence begin alike: only the first counts.
        self.sums = torch.full((batch, beam), -torch.inf, device=device)
        self.sums[:, 0] = 0
        self.ended = torch.zeros(batch, dtype=torch.int64, device=device)
        self.best = torch.full((batch,), -torch.inf, device=device)
        self.best_sum = torch.full((batch,), -torch.inf, device=device)
        self.best_pieces = torch.full((batch, limit), PAD, device=device)

    def step(self, step: int) -> None:
        """Go on by one piece."""
        decoded, state = self.model.decode(self.state, self.last.reshape(-1, 1))
        told = self.model.logits(decoded[:, -1]).float().log_softmax(-1).view(*self.last.shape, -1)
        told[..., [PAD, BEGIN]] = -torch.inf
        # At most K of the best 2K end, one for each beam, so that K are left to go on from.
        sums, choice = (self.sums.unsqueeze(-1) + told).flatten(1).topk(2 * self.beam, -1)
        origin, piece = choice // told.shape[-1], choice % told.shape[-1]
        ends = piece == END
        self._finish(step, sums.masked_fill(~ends, -torch.inf)[:, : self.beam], origin)
        on = ends.long().argsort(dim=-1, stable=True)[:, : self.beam]
        origin = origin.gather(1, on)
        self.sums, self.last = sums.gather(1, on), piece.gather(1, on)
        self.pieces = self.pieces.take_along_dim(origin.unsqueeze(-1), 1)
        self.pieces[..., step - 1] = self.last
        rows = torch.arange(len(origin), device=origin.device).unsqueeze(1) * self.beam + origin
        keep = self._undecided()
        if not keep.all():
            self._close(~keep)
        self.state = self.model.select(state, rows[keep].flatten())

    def _finish(self, step: int, sums: Tensor, origin: Tensor) -> None:
        """Note what ends here; ``sums`` ``(open, K)`` is −∞ where a candidate does not end."""
        self.ended[self.open] += (sums > -torch.inf).sum(-1)
        score, rank = (sums / step**self.penalty).max(-1)
        better = score > self.best[self.open]
        items, rank = self.open[better], rank[better].unsqueeze(1)
        self.best[items] = score[better]
        self.best_sum[items] = sums[better].gather(1, rank).squeeze(1)
        beam = origin[better].gather(1, rank).squeeze(1)
        self.best_pieces[items] = self.pieces[better, beam]
        self.best_pieces[items, step - 1] = END

    def _undecided(self) -> Tensor:
        """Which open sentences go on: fewer than K have ended, and one that has not could still be the best.

        A sum only falls, and is divided by the power of no greater length than the limit.
        """
        bound = self.sums[:, 0] / self.limit**self.penalty
        undecided: Tensor = (self.ended[self.open] < self.beam) & (bound > self.best[self.open])
        return undecided

    def _close(self, done: Tensor) -> None:
        self.open, self.sums, self.last = self.open[~done], self.sums[~done], self.last[~done]
        self.pieces = self.pieces[~done]

    def found(self) -> Found:
        """The best of each sentence; the best beginning where none came to an end within the limit."""
        endless = self.best[self.open] == -torch.inf
        items = self.open[endless]
        self.best_sum[items] = self.sums[endless, 0]
        self.best[items] = self.best_sum[items] / self.limit**self.penalty
        self.best_pieces[items] = self.pieces[endless, 0]
        longest = int((self.best_pieces != PAD).sum(1).max()) if len(self.best_pieces) else 0
        return Found(self.best_pieces[:, :longest], self.best_sum, self.best)
