"""The task of translating sentences."""

import math
from collections.abc import Callable
from typing import Any, Literal, cast, final

import torch
import torch.nn.functional as F
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from sacrebleu import BLEU, CHRF
from sacremoses import MosesTokenizer  # type: ignore[import-untyped]
from torch import Tensor
from torch.optim import AdamW
from torchmetrics import MetricCollection

from recollect import Concatenation, Memory
from recollect.training import ReadHeatmap, Task
from recollect_nlp.corpus_metric import CorpusMetric
from recollect_nlp.data.parallel import LONGEST, ParallelBatch, ParallelData
from recollect_nlp.data.subwords import BEGIN, END, PAD, UNKNOWN
from recollect_nlp.models.beam_search import Found, beam_search
from recollect_nlp.models.transformer_layers import Join
from recollect_nlp.models.translator import Translator

PICTURES = 4
"""How many sentences of a batch are drawn."""

ATTENTION_SHOWN = 0.05
"""Weights below this are left out of predictions."""


@final
class Translation(Task[ParallelData]):
    """Sentences into another language, by cross-entropy with smoothed labels and beam search.

    Measured are BLEU (cased, detokenised, 13a), BLEU of lowercased text in Moses tokens (the one that
    published Multi30k figures use), and chrF, by sacrebleu. Validation translates greedily, the test with
    the beam.

    Args:
        translator: Makes the network from the number of pieces; in YAML a ``class_path`` with
            ``init_args``.
        memory: Builds a memory for the decoder, given the translator's width.
        integration: How it joins a layer of ``TransformerTranslator``; the decoder of ``RecurrentTranslator``
            is the memory itself.
        at: Index of that layer, counted as in Python.
        label_smoothing: Share of the probability that is spread over all pieces (Szegedy et al. 2016,
            arXiv:1512.00567, section 7).
        beam: Width of the beam in test and prediction.
        length_penalty: Power of the length that a log-probability is divided by.
        optimizer: As in ``Task``.
        scheduler: As in ``Task``.
        scheduler_interval: As in ``Task``.

    Raises:
        ValueError: If ``label_smoothing`` is not in [0, 1) or ``beam`` is not positive.
    """

    model: Translator[Any]
    model_methods = ("encode", "decode", "logits", "alignment")

    def __init__(
        self,
        translator: Callable[[int], Translator[Any]],
        memory: Callable[[int], Memory] | None = None,
        integration: Join = Concatenation,
        at: int = -1,
        label_smoothing: float = 0.1,
        beam: int = 5,
        length_penalty: float = 1.0,
        optimizer: OptimizerCallable = AdamW,
        scheduler: LRSchedulerCallable | None = None,
        scheduler_interval: Literal["step", "epoch"] = "step",
    ) -> None:
        super().__init__(optimizer, scheduler, scheduler_interval)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
        if beam < 1:
            raise ValueError(f"beam must be at least 1, got {beam}")
        self.translator = translator
        self.memory = memory
        self.integration = integration
        self.at = at
        self.label_smoothing = label_smoothing
        self.beam = beam
        self.length_penalty = length_penalty
        self._signatures: list[str] = []

    def build_model(self, data: ParallelData) -> Translator[Any]:
        """Build a translator for the pieces of the vocabulary."""
        model = self.translator(len(data.subwords))
        if self.memory is not None:
            model.add_memory(self.memory(model.model_size), self.integration, self.at)
        data.longest_source = min(model.longest_source or LONGEST, LONGEST)
        return model

    def build_metrics(self, data: ParallelData) -> MetricCollection:
        """BLEU with both signatures, and chrF."""
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

    def training_loss(self, batch: ParallelBatch) -> tuple[Tensor, int]:
        """Cross-entropy of the target pieces with smoothed labels."""
        scores, told = self._teach(batch)
        return F.cross_entropy(scores, told, label_smoothing=self.label_smoothing), len(told)

    def _teach(self, batch: ParallelBatch) -> tuple[Tensor, Tensor]:
        """Scores and truth of every target piece that is no padding."""
        decoded, _ = self.model.decode(self.model.encode(batch.source), after_begin(batch.target))
        there = batch.target != PAD
        return self.model.logits(decoded[there]), batch.target[there]

    def evaluate(self, batch: ParallelBatch, metrics: MetricCollection) -> Tensor:
        """Translate and compare; the loss is the negative log-likelihood of a piece, labels not smoothed."""
        found = self._translate(batch.source, beam=self.beam if self.trainer.testing else 1)
        metrics.update(self._texts(found), batch.target_text)
        return F.cross_entropy(*self._teach(batch))

    def items(self, batch: ParallelBatch) -> int:
        """Target pieces."""
        return int((batch.target != PAD).sum())

    def summarize(self, stage: Literal["val", "test"], values: dict[str, Tensor]) -> dict[str, Tensor]:
        """As measured; the signatures of the scores are kept for ``notes``."""
        measured = self.stage_metrics(stage).items()
        self._signatures = [
            f"{stage}/{name}: {cast(CorpusMetric, metric).signature()}" for name, metric in measured
        ]
        return values

    @property
    def notes(self) -> list[str]:
        """How the scores that were measured last were made, in sacrebleu's signatures."""
        return self._signatures

    def predict(self, batch: ParallelBatch) -> list[dict[str, Any]]:
        """For each sentence: translation, probability, score, and for each piece what was read of the source.

        ``unknown`` lists the parts of the source that the vocabulary cannot spell, ``cut`` is how many of its
        pieces were left out because the memory cannot hold them; a blank line stays blank.
        """
        found, subwords = self._translate(batch.source, self.beam), self.data.subwords
        reads = self._alignment(batch.source, found)
        rows = []
        for i, (source, translation) in enumerate(zip(batch.source_text, self._texts(found), strict=True)):
            ids = batch.source[i][batch.source[i] != PAD].tolist()
            pieces = self._source_pieces(source, len(ids))
            row: dict[str, Any] = {"source": source, "translation": translation if source.strip() else ""}
            row["probability"] = math.exp(float(found.log_probability[i]))
            row["score"] = float(found.score[i])
            row["unknown"] = [name for name, piece in zip(pieces, ids, strict=True) if piece == UNKNOWN]
            row["cut"] = len(subwords.encode(source)) - len(ids)
            row["read"] = None if reads is None else self._read_row(found.pieces[i], pieces, reads[i])
            rows.append(row)
        return rows

    def figures(self, batch: ParallelBatch) -> list[ReadHeatmap]:
        """What was read of the source before each piece of the translation was told."""
        few = min(PICTURES, len(batch.source))
        source = batch.source[:few]
        found, subwords = self._translate(source, self.beam), self.data.subwords
        reads = self._alignment(source, found)
        if reads is None:
            return []
        figures = []
        for i in range(few):
            columns = self._source_pieces(batch.source_text[i], int((source[i] != PAD).sum()))
            told = until_end(found.pieces[i])
            title = f"{batch.source_text[i]} → {subwords.decode(told)}"
            weights = reads[i, : len(told), : len(columns)]
            rows = [subwords.name(piece) for piece in told]
            figures.append(
                ReadHeatmap(title, weights, rows, columns, across="translation", down="source that is read")
            )
        return figures

    # --- shared parts ---------------------------------------------------------------------------------------

    def _translate(self, source: Tensor, beam: int) -> Found:
        return beam_search(self.model, source, beam, self.length_penalty)

    def _source_pieces(self, source: str, length: int) -> list[str]:
        """The pieces that were read: the first ones of the sentence, and its end."""
        pieces = self.data.subwords.pieces(source)
        return [*pieces[: length - 1], pieces[-1]]

    def _texts(self, found: Found) -> list[str]:
        return [self.data.subwords.decode(pieces) for pieces in found.pieces.tolist()]

    def _alignment(self, source: Tensor, found: Found) -> Tensor | None:
        with torch.no_grad():
            return self.model.alignment(source, after_begin(found.pieces))

    def _read_row(self, told: Tensor, pieces: list[str], weights: Tensor) -> list[dict[str, Any]]:
        """For each piece of a translation, the source pieces that were read, with weights."""
        return [
            {
                "piece": self.data.subwords.name(piece),
                "from": {
                    f"{place}:{name}": round(weight, 3)
                    for place, (name, weight) in enumerate(zip(pieces, row, strict=False))
                    if weight >= ATTENTION_SHOWN
                },
            }
            for piece, row in zip(until_end(told), weights.tolist(), strict=False)
        ]


def after_begin(target: Tensor) -> Tensor:
    """What the decoder is given to tell ``target`` ``(B, T)``: the same, one later, after the begin piece.

    Example:
        >>> after_begin(torch.tensor([[7, 8, 3]]))
        tensor([[2, 7, 8]])
    """
    return F.pad(target, (1, 0), value=BEGIN)[:, :-1]


def until_end(pieces: Tensor) -> list[int]:
    """The pieces ``(T,)`` up to the end piece, which is included, without padding.

    Example:
        >>> until_end(torch.tensor([7, 8, 3, 0]))
        [7, 8, 3]
    """
    told = [piece for piece in pieces.tolist() if piece != PAD]
    return told[: told.index(END) + 1] if END in told else told
