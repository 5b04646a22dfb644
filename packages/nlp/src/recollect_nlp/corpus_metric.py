"""What torchmetrics lacks: corpus metrics of sacrebleu, with their signatures."""

from collections.abc import Callable
from typing import Any

import torch
from sacrebleu.metrics.base import Metric as SacreMetric
from torch import Tensor
from torchmetrics import Metric


class CorpusMetric(Metric):
    """A metric of sacrebleu (Post 2018, arXiv:1804.08771) over all translations, of all processes.

    What is kept is the text itself, as bytes, so that the score is sacrebleu's own to the last digit.

    Args:
        metric: ``sacrebleu.BLEU(…)`` or ``sacrebleu.CHRF(…)``.
        prepare: Applied to each sentence first: tokenisation, lowercasing.
        description: What ``prepare`` does, for the signature.

    Example:
        >>> from sacrebleu import BLEU
        >>> bleu = CorpusMetric(BLEU())
        >>> bleu.update(["A small dog runs home."], ["A small dog runs home."])
        >>> round(bleu.compute().item(), 1)
        100.0
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True
    text: list[Tensor]

    def __init__(
        self, metric: SacreMetric, prepare: Callable[[str], str] | None = None, description: str = ""
    ) -> None:
        super().__init__()
        self.metric = metric
        self.prepare = prepare
        self.description = description
        self.add_state("text", default=[], dist_reduce_fx="cat")

    def update(self, translations: list[str], references: list[str]) -> None:
        """Add translations and their references, one each.

        Raises:
            ValueError: If there are not as many of the one as of the other.
        """
        lines = []
        for translation, reference in zip(translations, references, strict=True):
            for sentence in (translation, reference):
                prepared = sentence if self.prepare is None else self.prepare(sentence)
                lines.append(prepared.replace("\n", " ") + "\n")
        content = bytearray("".join(lines).encode())
        if content:
            self.text.append(torch.frombuffer(content, dtype=torch.uint8).to(self.device))

    def compute(self) -> Tensor:
        """The score of the corpus, in per cent; 0 of nothing."""
        kept: Any = self.text
        content = torch.cat(kept) if isinstance(kept, list) and kept else kept
        if not len(content):
            return torch.zeros((), device=self.device)
        lines = content.cpu().numpy().tobytes().decode().split("\n")[:-1]
        score = self.metric.corpus_score(lines[::2], [lines[1::2]])
        return torch.tensor(score.score, device=self.device)

    def signature(self) -> str:
        """How the score was made, in sacrebleu's form; known once it was computed."""
        return f"{self.metric.get_signature()}{self.description}"
