"""The task of writing down what is said."""

from pathlib import Path
from typing import Any, Literal, cast, final

import torch
import torch.nn.functional as F
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.optim import AdamW
from torchmetrics import MetricCollection

from recollect import Concatenation, Integration, Memory
from recollect.training import DataModule, Picture, Task
from recollect.training.errors import ArgumentError
from recollect_speech.data.recognition import RecognitionData
from recollect_speech.data.speech import SpeechBatch, is_clipped, is_silent
from recollect_speech.metrics import ErrorRates
from recollect_speech.models.alignment import Word, align
from recollect_speech.models.decoding import Beam, beam_search, greedy
from recollect_speech.models.encoder import Encoder
from recollect_speech.models.recognizer import MARGIN, STEP, Heard, Masks, Recognizer
from recollect_speech.models.speakers import Speakers
from recollect_speech.models.variety import Variety
from recollect_speech.tasks.drawing import PICTURES, heard_pictures
from recollect_speech.tasks.starting import start_from

EARLY = 0.01 * MARGIN
"""Seconds that a recording's first step begins before it."""


@final
class Recognition(Task):
    """Transcripts by connectionist temporal classification (Graves et al. 2006, ICML).

    Validation takes the best path. Test and prediction take the beam where ``beam`` is given, with the n-gram
    model of the data where there is one. With a speaker memory, the recordings of a speaker are heard in
    their order, and what is remembered is handed on from batch to batch; in training it begins anew with
    each.

    Args:
        encoder: What listens.
        bins: Mel bins.
        channels: Channels of the subsampling.
        dropout: Share of the subsampled features that is dropped in training.
        masks: What is hidden of the features in training.
        variety: What is made of energies in training, as if others spoke or other microphones heard.
        speaker_memory: What remembers speakers from recording to recording; of the encoder's width.
        speaker_integration: How it joins the subsampled features.
        beam: Beam search in test and prediction.
        start: Run folder whose weights training begins with; see ``start_from``.
        optimizer: As in ``Task``.
        scheduler: As in ``Task``.
        scheduler_interval: As in ``Task``.
    """

    model: Recognizer

    def __init__(
        self,
        encoder: Encoder,
        bins: int = 64,
        channels: int = 32,
        dropout: float = 0.1,
        masks: Masks | None = None,
        variety: Variety | None = None,
        speaker_memory: Memory | None = None,
        speaker_integration: type[Integration] = Concatenation,
        beam: Beam | None = None,
        start: Path | None = None,
        optimizer: OptimizerCallable = AdamW,
        scheduler: LRSchedulerCallable | None = None,
        scheduler_interval: Literal["step", "epoch"] = "step",
    ) -> None:
        super().__init__(optimizer, scheduler, scheduler_interval)
        if beam is not None and beam.width < 1:
            raise ValueError(f"the width of the beam must be at least 1, got {beam.width}")
        self.encoder = encoder
        self.bins = bins
        self.channels = channels
        self.dropout = dropout
        self.masks = masks
        self.variety = variety
        self.speaker_memory = speaker_memory
        self.speaker_integration = speaker_integration
        self.beam = beam
        self.start = start
        self._known: Speakers = {}
        self._warned = False

    @property
    def data(self) -> RecognitionData:
        """The recordings, with units and language model."""
        return _recognition(cast(Any, self.trainer).datamodule)

    # --- what the base class asks for -----------------------------------------------------------------------

    def build_model(self, data: DataModule) -> Recognizer:
        """A recognizer that writes the data's units."""
        data = _recognition(data)
        model = Recognizer(
            len(data.units),
            data.rate,
            self.encoder,
            self.bins,
            self.channels,
            self.dropout,
            self.masks,
            self.speaker_memory,
            self.speaker_integration,
            self.variety,
        )
        if self.start is not None and self._trainer is not None and self._trainer.state.fn == "fit":
            start_from(model, data.units, self.start)
        return model

    def build_metrics(self, data: DataModule) -> MetricCollection:
        """Error rates by word and by character."""
        return MetricCollection({"errors": ErrorRates()})

    def training_loss(self, batch: SpeechBatch) -> tuple[Tensor, int]:
        """CTC, a mean over the recordings; one with too few steps for its text counts for nothing."""
        heard = self.model(batch.samples, batch.lengths, batch.speakers)
        self._warn_of_short(heard, batch)
        return self._loss(heard, batch), len(batch.lengths)

    def evaluate(self, batch: SpeechBatch, metrics: MetricCollection) -> Tensor:
        """Recognize and compare."""
        heard = self._hear(batch)
        metrics.update(batch.texts, self._texts(self._decode(heard, beam=self.trainer.testing)))
        return self._loss(heard, batch)

    def predict(self, batch: SpeechBatch) -> list[dict[str, Any]]:
        """One row a recording: text, its words with times in seconds and confidences, what to beware of."""
        heard = self._hear(batch)
        decoded = self._decode(heard, beam=True)
        rows: list[dict[str, Any]] = []
        for i, (units, text) in enumerate(zip(decoded, self._texts(decoded), strict=True)):
            samples = batch.samples[i, : batch.lengths[i]]
            seconds = len(samples) / self.data.rate
            row: dict[str, Any] = {"path": batch.names[i], "text": text, "seconds": round(seconds, 3)}
            row["words"] = [_timed(word, seconds) for word in self._words(heard, i, units)]
            found = {"silence": is_silent(samples), "clipped": is_clipped(samples)}
            row["notes"] = [note for note, holds in found.items() if holds]
            if batch.texts[i]:
                row["reference"] = batch.texts[i]
            rows.append(row)
        return rows

    def pictures(self, batch: SpeechBatch) -> list[Picture]:
        """Spectrogram, words, and what the memory of segments read."""
        few = min(PICTURES, len(batch.lengths))
        heard = self.model(batch.samples[:few], batch.lengths[:few], batch.speakers[:few], self._known)
        decoded = self._decode(heard, beam=False)
        words = [self._words(heard, i, units) for i, units in enumerate(decoded)]
        return heard_pictures(self.model, batch, words)

    # --- what is remembered of speakers ---------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Nobody has been heard."""
        self._known = {}

    def on_test_epoch_start(self) -> None:
        """Nobody has been heard."""
        self._known = {}

    def on_predict_epoch_start(self) -> None:
        """Nobody has been heard."""
        self._known = {}

    def _hear(self, batch: SpeechBatch) -> Heard:
        heard: Heard = self.model(batch.samples, batch.lengths, batch.speakers, self._known)
        self._known = heard.speakers
        return heard

    # --- shared parts ---------------------------------------------------------------------------------------

    def _loss(self, heard: Heard, batch: SpeechBatch) -> Tensor:
        losses = F.ctc_loss(
            heard.log_probs.transpose(0, 1),
            batch.units,
            heard.lengths,
            batch.unit_lengths,
            reduction="none",
            zero_infinity=True,
        )
        return losses.mean()

    def _decode(self, heard: Heard, beam: bool) -> list[list[int]]:
        if not beam or self.beam is None:
            return greedy(heard.log_probs, heard.lengths)
        ngram = self.data.ngram
        language = None if ngram is None else ngram.log_probability
        return [
            beam_search(log_probs[:length], self.beam, language)
            for log_probs, length in zip(heard.log_probs, heard.lengths, strict=True)
        ]

    def _texts(self, decoded: list[list[int]]) -> list[str]:
        return [self.data.units.decode(units) for units in decoded]

    def _words(self, heard: Heard, item: int, units: list[int]) -> list[Word]:
        return align(heard.log_probs[item, : heard.lengths[item]], units, self.data.units.name)

    def _warn_of_short(self, heard: Heard, batch: SpeechBatch) -> None:
        """Once, with the names of a batch's recordings that are too short for what is said in them."""
        again = (batch.units[:, 1:] == batch.units[:, :-1]) & (batch.units[:, 1:] > 0)
        short = heard.lengths < batch.unit_lengths + again.sum(1)
        if self._warned or not short.any():
            return
        self._warned = True
        named = ", ".join(batch.names[i] for i in torch.where(short)[0].tolist())
        rank_zero_warn(
            f"too short for what is said in them, and learnt nothing from: {named} (and perhaps more)"
        )


def _timed(word: Word, seconds: float) -> dict[str, Any]:
    """A word as a row: times in seconds from the beginning of the recording."""
    start, end = (min(max(step * STEP - EARLY, 0.0), seconds) for step in (word.start, word.end))
    return {
        "word": word.text,
        "start": round(start, 2),
        "end": round(end, 2),
        "confidence": round(word.confidence, 4),
    }


def _recognition(data: DataModule) -> RecognitionData:
    if not isinstance(data, RecognitionData):
        raise ArgumentError(
            "Recognition needs recordings (--data ManifestData or another RecognitionData), "
            f"not {type(data).__name__}"
        )
    return data
