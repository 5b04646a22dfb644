"""Word and character error rates, with counts and confidence intervals."""

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple, final

import torch
from torch import Tensor
from torchmetrics import Metric

RESAMPLES = 1000
"""Number of bootstrap samples."""


class Edits(NamedTuple):
    """Numbers of edits between a reference and a transcript."""

    substitutions: int
    deletions: int
    insertions: int


def edits(reference: Sequence[Hashable], transcript: Sequence[Hashable]) -> Edits:
    """Minimum numbers of substitutions, deletions and insertions (Levenshtein 1966).

    Among minimal edit sequences the one with the most substitutions counts.

    Example:
        >>> edits("one two three".split(), "one too three four".split())
        Edits(substitutions=1, deletions=0, insertions=1)
    """
    # Edits for each prefix of the reference; ties are broken by the fewest deletions and insertions.
    row = [Edits(0, deleted, 0) for deleted in range(len(reference) + 1)]
    for inserted, part in enumerate(transcript, start=1):
        above, row = row, [Edits(0, 0, inserted)]
        for place, wanted in enumerate(reference):
            kept = above[place]
            if wanted != part:
                kept = kept._replace(substitutions=kept.substitutions + 1)
            deleted = row[place]._replace(deletions=row[place].deletions + 1)
            more = above[place + 1]._replace(insertions=above[place + 1].insertions + 1)
            row.append(min(kept, deleted, more, key=lambda e: (sum(e), e.deletions + e.insertions)))
    return row[-1]


@final
class ErrorRates(Metric):
    """Word and character error rates, (S + D + I) / N over all recordings, and the rate of exact transcripts.

    The bounds of the interval are the 2.5th and the 97.5th percentile of the word error rate over 1,000
    samples of the recordings, drawn with replacement (Bisani & Ney 2004, ICASSP).

    Example:
        >>> rates = ErrorRates()
        >>> rates.update(["one two", "three"], ["one too", "three"])
        >>> values = rates.compute()
        >>> round(values["wer"].item(), 3), values["substitutions"].item(), values["accuracy"].item()
        (0.333, 1.0, 0.5)
    """

    full_state_update = False
    counts: Any

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("counts", default=[], dist_reduce_fx="cat")

    def update(self, references: Sequence[str], transcripts: Sequence[str]) -> None:
        """Add transcripts and their references."""
        rows = []
        for reference, transcript in zip(references, transcripts, strict=True):
            by_word = edits(reference.split(), transcript.split())
            by_character = sum(edits(reference, transcript))
            rows.append([*by_word, len(reference.split()), by_character, len(reference)])
        if rows:
            self.counts.append(torch.tensor(rows, dtype=torch.float64, device=self.device))

    def compute(self) -> dict[str, Tensor]:
        """``wer`` and its bounds, numbers of edited words, ``cer`` and ``accuracy``; NaN without data."""
        kept = self.counts
        rows = torch.cat(kept) if isinstance(kept, list) and kept else kept
        rows = (
            rows if isinstance(rows, Tensor) else torch.zeros(0, 6, dtype=torch.float64, device=self.device)
        )
        substitutions, deletions, insertions, words, character_edits, characters = rows.T
        wrong = substitutions + deletions + insertions
        low, high = _interval(wrong, words)
        return {
            "wer": wrong.sum() / words.sum(),
            "wer_low": low,
            "wer_high": high,
            "substitutions": substitutions.sum(),
            "deletions": deletions.sum(),
            "insertions": insertions.sum(),
            "cer": character_edits.sum() / characters.sum(),
            "accuracy": (character_edits == 0).double().mean(),
        }


def _interval(wrong: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (RESAMPLES, len(words))
    drawn = torch.randint(max(len(words), 1), shape, generator=generator, device="cpu").to(words.device)
    rates = wrong[drawn].sum(1) / words[drawn].sum(1)
    low, high = rates.quantile(torch.tensor([0.025, 0.975], dtype=rates.dtype, device=rates.device))
    return low, high
