"""Batched beam search."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from recollect.validation import check_positive
from recollect_nlp.models.translation import Translator
from recollect_nlp.types import BOS, EOS, PAD


class Hypotheses(NamedTuple):
    """The best translation of each sentence.

    Attributes:
        pieces: ``(B, T)`` int64, padded; with ``EOS`` if the translation is finished.
        log_probability: ``(B,)`` natural logarithm of the probability, including ``EOS``.
        score: ``(B,)`` the objective, ``log_probability`` / length^penalty.
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
) -> Hypotheses:
    """Search the translations with the highest log-probability / length^penalty.

    Each step extends the ``beam`` best unfinished hypotheses of each sentence; ``model.select`` reorders the
    state, including that of a memory. A sentence is done when ``beam`` hypotheses are finished or no
    unfinished one can exceed the best score; it then leaves the batch. ``PAD`` and ``BOS`` are never
    predicted. Lengths include ``EOS``.

    Args:
        model: In evaluation mode.
        source: ``(B, S)`` int64, padded.
        beam: Number of hypotheses per sentence; 1 is greedy search.
        length_penalty: Exponent of the length: 0 favours short translations, 1 averages over pieces.
        max_ratio: The maximum length is min(``max_ratio`` · S + ``max_extra``, ``max_pieces``).
        max_extra: See ``max_ratio``.
        max_pieces: See ``max_ratio``.

    Raises:
        ValueError: If ``beam`` is not positive or ``length_penalty`` is negative.
    """
    check_positive(beam=beam)
    if length_penalty < 0:
        raise ValueError(f"length_penalty must not be negative, got {length_penalty}")
    limit = min(int(max_ratio * source.shape[1] + max_extra), max_pieces)
    search = _Search(model, source, beam, length_penalty, limit)
    for step in range(1, limit + 1):
        search.step(step)
        if not len(search.open):
            break
    return search.best_hypotheses()


class _Search:
    """State of the search; ``open`` are the unfinished sentences, with K hypotheses each."""

    def __init__(
        self, model: Translator[Any], source: Tensor, beam: int, length_penalty: float, limit: int
    ) -> None:
        self.model, self.beam, self.penalty, self.limit = model, beam, length_penalty, limit
        batch, device = len(source), source.device
        self.open = torch.arange(batch, device=device)
        self.state = model.select(model.encode(source), self.open.repeat_interleave(beam))
        self.pieces = torch.full((batch, beam, limit), PAD, device=device)
        self.last = torch.full((batch, beam), BOS, device=device)
        # All hypotheses of a sentence are equal at first: only the first counts.
        self.sums = torch.full((batch, beam), -torch.inf, device=device)
        self.sums[:, 0] = 0
        self.ended = torch.zeros(batch, dtype=torch.int64, device=device)
        self.best = torch.full((batch,), -torch.inf, device=device)
        self.best_sum = torch.full((batch,), -torch.inf, device=device)
        self.best_pieces = torch.full((batch, limit), PAD, device=device)

    def step(self, step: int) -> None:
        """Extend the hypotheses by one piece."""
        decoded, state = self.model.decode(self.state, self.last.reshape(-1, 1))
        log_probs = self.model.logits(decoded[:, -1]).float().log_softmax(-1).view(*self.last.shape, -1)
        log_probs[..., [PAD, BOS]] = -torch.inf
        # At most K of the best 2K are finished, one per hypothesis, so that K unfinished ones remain.
        sums, choice = (self.sums.unsqueeze(-1) + log_probs).flatten(1).topk(2 * self.beam, -1)
        origin, piece = choice // log_probs.shape[-1], choice % log_probs.shape[-1]
        ends = piece == EOS
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
        """Record finished hypotheses; ``sums`` ``(open, K)`` is −∞ for unfinished ones."""
        self.ended[self.open] += (sums > -torch.inf).sum(-1)
        score, rank = (sums / step**self.penalty).max(-1)
        better = score > self.best[self.open]
        items, rank = self.open[better], rank[better].unsqueeze(1)
        self.best[items] = score[better]
        self.best_sum[items] = sums[better].gather(1, rank).squeeze(1)
        beam = origin[better].gather(1, rank).squeeze(1)
        self.best_pieces[items] = self.pieces[better, beam]
        self.best_pieces[items, step - 1] = EOS

    def _undecided(self) -> Tensor:
        """Return which open sentences continue: fewer than K are finished, and a better score is possible.

        A sum can only decrease, and lengths are at most ``limit``.
        """
        bound = self.sums[:, 0] / self.limit**self.penalty
        undecided: Tensor = (self.ended[self.open] < self.beam) & (bound > self.best[self.open])
        return undecided

    def _close(self, done: Tensor) -> None:
        self.open, self.sums, self.last = self.open[~done], self.sums[~done], self.last[~done]
        self.pieces = self.pieces[~done]

    def best_hypotheses(self) -> Hypotheses:
        """Return the best hypothesis of each sentence, unfinished if none is finished within the limit."""
        unfinished = self.best[self.open] == -torch.inf
        items = self.open[unfinished]
        self.best_sum[items] = self.sums[unfinished, 0]
        self.best[items] = self.best_sum[items] / self.limit**self.penalty
        self.best_pieces[items] = self.pieces[unfinished, 0]
        longest = int((self.best_pieces != PAD).sum(1).max()) if len(self.best_pieces) else 0
        return Hypotheses(self.best_pieces[:, :longest], self.best_sum, self.best)
