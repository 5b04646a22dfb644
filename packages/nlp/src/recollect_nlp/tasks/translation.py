"""Translation of sentences."""

import math
from collections.abc import Callable
from typing import Any, Literal, cast, final

import torch
import torch.nn.functional as F
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torchmetrics import MetricCollection

from recollect import Concatenation, Memory
from recollect.training import ReadHeatmap, Task
from recollect.validation import check_positive
from recollect_nlp.data.translation import MAX_LENGTH, TranslationData
from recollect_nlp.figures.translation import MAX_FIGURES, attention_figures
from recollect_nlp.metrics.translation import CorpusMetric, translation_metrics
from recollect_nlp.models.beam_search import Hypotheses, beam_search
from recollect_nlp.models.transformer_layers import IntegrationFactory
from recollect_nlp.models.translation import Translator, shift_right, until_eos
from recollect_nlp.types import PAD, UNK, TranslationBatch

MIN_WEIGHT = 0.05
"""Smallest attention weight in predictions."""


@final
class Translation(Task[TranslationData]):
    """Translation, with label-smoothed cross-entropy and beam search.

    The metrics are BLEU (cased, detokenised, 13a), BLEU of lowercased Moses tokens (as in publications on
    Multi30k), and chrF, by sacrebleu. Validation uses greedy search, test and prediction use beam search.

    Args:
        translator: Builds the network, given the number of pieces; in YAML a ``class_path`` with
            ``init_args``.
        memory: Builds a memory of the decoder, given the width of the translator.
        integration: Integration of the memory with a decoder layer of ``TransformerTranslator``; in
            ``RecurrentTranslator`` the memory is the decoder.
        at: Index of that layer; negative indices count from the end.
        label_smoothing: Probability that is spread over all pieces (Szegedy et al. 2016, arXiv:1512.00567,
            section 7).
        beam: Beam width in test and prediction.
        length_penalty: Exponent of the length by which log-probabilities are divided.
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
        integration: IntegrationFactory = Concatenation,
        at: int = -1,
        label_smoothing: float = 0.1,
        beam: int = 5,
        length_penalty: float = 1.0,
        optimizer: OptimizerCallable | None = None,
        scheduler: LRSchedulerCallable | None = None,
        scheduler_interval: Literal["step", "epoch"] = "step",
    ) -> None:
        super().__init__(optimizer, scheduler, scheduler_interval)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
        check_positive(beam=beam)
        self.translator = translator
        self.memory = memory
        self.integration = integration
        self.at = at
        self.label_smoothing = label_smoothing
        self.beam = beam
        self.length_penalty = length_penalty
        self._signatures: list[str] = []

    def build_model(self, data: TranslationData) -> Translator[Any]:
        """Build a translator for the pieces of the vocabulary."""
        model = self.translator(len(data.tokenizer))
        if self.memory is not None:
            model.add_memory(self.memory(model.model_size), self.integration, self.at)
        data.max_source_length = min(model.max_source_length or MAX_LENGTH, MAX_LENGTH)
        return model

    def build_metrics(self, data: TranslationData) -> MetricCollection:
        """BLEU with both signatures, and chrF."""
        return translation_metrics()

    def training_loss(self, batch: TranslationBatch) -> tuple[Tensor, int]:
        """Return the label-smoothed cross-entropy and the number of target pieces."""
        logits, target = self._teacher_forcing(batch)
        return F.cross_entropy(logits, target, label_smoothing=self.label_smoothing), len(target)

    def _teacher_forcing(self, batch: TranslationBatch) -> tuple[Tensor, Tensor]:
        """Return logits and target of all N target pieces that are not padding: ``(N, pieces)``, ``(N,)``."""
        decoded, _ = self.model.decode(self.model.encode(batch.source), shift_right(batch.target))
        mask = batch.target != PAD
        return self.model.logits(decoded[mask]), batch.target[mask]

    def evaluate(self, batch: TranslationBatch, metrics: MetricCollection) -> Tensor:
        """Translate and update the metrics; the loss is the cross-entropy without label smoothing."""
        hypotheses = self._translate(batch.source, beam=self.beam if self.trainer.testing else 1)
        metrics.update(self._texts(hypotheses), batch.target_text)
        return F.cross_entropy(*self._teacher_forcing(batch))

    def items(self, batch: TranslationBatch) -> int:
        """Return the number of target pieces."""
        return int((batch.target != PAD).sum())

    def summarize(self, stage: Literal["val", "test"], values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the values unchanged; keep the signatures of the metrics for ``notes``."""
        metrics = self.stage_metrics(stage).items()
        self._signatures = [
            f"{stage}/{name}: {cast(CorpusMetric, metric).signature()}" for name, metric in metrics
        ]
        return values

    @property
    def notes(self) -> list[str]:
        """The sacrebleu signatures of the last scores."""
        return self._signatures

    def predict(self, batch: TranslationBatch) -> list[dict[str, Any]]:
        """Return translations, their probabilities and scores, and the attention of each piece to the source.

        ``unknown`` lists the source pieces that are not in the vocabulary. ``cut`` is the number of source
        pieces that were truncated. A blank line stays blank.
        """
        hypotheses = self._translate(batch.source, self.beam)
        attention = self._attention(batch.source, hypotheses)
        rows = []
        for i, (source, translation) in enumerate(
            zip(batch.source_text, self._texts(hypotheses), strict=True)
        ):
            ids = batch.source[i][batch.source[i] != PAD].tolist()
            pieces = self._source_pieces(source, len(ids))
            row: dict[str, Any] = {"source": source, "translation": translation if source.strip() else ""}
            row["probability"] = math.exp(float(hypotheses.log_probability[i]))
            row["score"] = float(hypotheses.score[i])
            row["unknown"] = [text for text, piece in zip(pieces, ids, strict=True) if piece == UNK]
            row["cut"] = len(self.data.tokenizer.encode(source)) - len(ids)
            weights = None if attention is None else attention[i]
            row["read"] = None if weights is None else self._reads(hypotheses.pieces[i], pieces, weights)
            rows.append(row)
        return rows

    def figures(self, batch: TranslationBatch) -> list[ReadHeatmap]:
        """Attention of each piece of the first translations to the source."""
        few = min(MAX_FIGURES, len(batch.source))
        source, texts = batch.source[:few], batch.source_text[:few]
        hypotheses = self._translate(source, self.beam)
        attention = self._attention(source, hypotheses)
        if attention is None:
            return []
        lengths = (source != PAD).sum(1).tolist()
        pieces = [self._source_pieces(text, length) for text, length in zip(texts, lengths, strict=True)]
        return attention_figures(texts, pieces, hypotheses.pieces, attention, self.data.tokenizer)

    # --- shared parts ---------------------------------------------------------------------------------------

    def _translate(self, source: Tensor, beam: int) -> Hypotheses:
        return beam_search(self.model, source, beam, self.length_penalty)

    def _source_pieces(self, source: str, length: int) -> list[str]:
        """Return the ``length`` pieces of a sentence that the model reads: the first ones and ``EOS``."""
        pieces = self.data.tokenizer.pieces(source)
        return [*pieces[: length - 1], pieces[-1]]

    def _texts(self, hypotheses: Hypotheses) -> list[str]:
        return [self.data.tokenizer.decode(pieces) for pieces in hypotheses.pieces.tolist()]

    def _attention(self, source: Tensor, hypotheses: Hypotheses) -> Tensor | None:
        with torch.no_grad():
            return self.model.alignment(source, shift_right(hypotheses.pieces))

    def _reads(
        self, translation: Tensor, source_pieces: list[str], attention: Tensor
    ) -> list[dict[str, Any]]:
        """Return the source pieces and weights that each piece of a translation attends to."""
        return [
            {
                "piece": self.data.tokenizer.piece(piece),
                "from": {
                    f"{index}:{text}": round(weight, 3)
                    for index, (text, weight) in enumerate(zip(source_pieces, weights, strict=False))
                    if weight >= MIN_WEIGHT
                },
            }
            for piece, weights in zip(until_eos(translation), attention.tolist(), strict=False)
        ]
