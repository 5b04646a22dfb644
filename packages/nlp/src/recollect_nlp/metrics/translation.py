"""Corpus metrics of translation by sacrebleu, with their signatures."""

from collections.abc import Callable
from typing import Any, cast

import torch
from sacrebleu import BLEU, CHRF
from sacrebleu.metrics.base import Metric as SacreMetric
from sacremoses import MosesTokenizer  # type: ignore[import-untyped]
from torch import Tensor
from torchmetrics import Metric, MetricCollection


class CorpusMetric(Metric):
    """A sacrebleu metric (Post 2018, arXiv:1804.08771) of the translations of all processes.

    The state is the text itself, as bytes, so that the score is exactly that of sacrebleu.

    Args:
        metric: ``sacrebleu.BLEU(…)`` or ``sacrebleu.CHRF(…)``.
        prepare: Preprocessing of each sentence, for instance lowercasing.
        description: Description of ``prepare`` in the signature.

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
        """Add translations and their references.

        Raises:
            ValueError: If their numbers differ.
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
        """Return the corpus score in per cent; 0 without sentences."""
        text: Any = self.text
        content = torch.cat(text) if isinstance(text, list) and text else text
        if not len(content):
            return torch.zeros((), device=self.device)
        lines = content.cpu().numpy().tobytes().decode().split("\n")[:-1]
        score = self.metric.corpus_score(lines[::2], [lines[1::2]])
        return torch.tensor(score.score, device=self.device)

    def signature(self) -> str:
        """Return the sacrebleu signature of the last computed score."""
        return f"{self.metric.get_signature()}{self.description}"


def translation_metrics() -> MetricCollection:
    """Return cased BLEU (13a), BLEU of lowercased Moses tokens, and chrF."""
    moses = MosesTokenizer()

    def lowercased_tokens(sentence: str) -> str:
        return cast(str, moses.tokenize(sentence.lower(), escape=False, return_str=True))

    tokenized = CorpusMetric(
        BLEU(tokenize="none", force=True), lowercased_tokens, "|prepared:lowercased,sacremoses"
    )
    return MetricCollection(
        {
            "bleu": CorpusMetric(BLEU(tokenize="13a")),
            "bleu_tokenized_lowercase": tokenized,
            "chrf": CorpusMetric(CHRF()),
        }
    )
