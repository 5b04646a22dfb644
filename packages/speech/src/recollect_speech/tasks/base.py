"""The part that all tasks of recognition share."""

from abc import abstractmethod
from typing import Any, Literal, cast

from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch.optim import AdamW
from torchmetrics import MetricCollection

from recollect.training import DataModule, Task
from recollect.training.errors import ArgumentError
from recollect_speech.data.audio import is_clipped, is_silent
from recollect_speech.data.recognition import RecognitionData
from recollect_speech.metrics.error_rates import ErrorRates
from recollect_speech.models.acoustic_model import AcousticModel, AcousticOutput
from recollect_speech.models.alignment import align
from recollect_speech.models.speaker_states import SpeakerStates
from recollect_speech.types import SpeechBatch, TimedWord


class SpeechTask(Task):
    """Recordings become transcripts.

    Where speakers are remembered, the recordings of each are heard in their order, and what is remembered is
    handed on from batch to batch; in training it begins anew with each.

    Args: as in ``Task``.
    """

    model: AcousticModel

    def __init__(
        self,
        optimizer: OptimizerCallable = AdamW,
        scheduler: LRSchedulerCallable | None = None,
        scheduler_interval: Literal["step", "epoch"] = "step",
    ) -> None:
        super().__init__(optimizer, scheduler, scheduler_interval)
        self._speaker_states: SpeakerStates = {}

    @property
    def data(self) -> RecognitionData:
        """The recordings, with units and language model."""
        return recordings(cast(Any, self.trainer).datamodule)

    # --- what a subclass implements -------------------------------------------------------------------------

    @abstractmethod
    def loss(self, heard: AcousticOutput, batch: SpeechBatch) -> Tensor:
        """Of a batch, a mean over the recordings."""

    @abstractmethod
    def decode(self, heard: AcousticOutput, chosen: bool) -> list[list[int]]:
        """Units of each recording; ``chosen`` where training is over and it may take longer."""

    # --- what the base class asks for -----------------------------------------------------------------------

    def build_metrics(self, data: DataModule) -> MetricCollection:
        """Error rates by word and by character."""
        return MetricCollection({"errors": ErrorRates()})

    def evaluate(self, batch: SpeechBatch, metrics: MetricCollection) -> Tensor:
        """Recognize and compare."""
        heard = self._hear(batch)
        metrics.update(batch.texts, self._texts(self.decode(heard, chosen=self.trainer.testing)))
        return self.loss(heard, batch)

    def predict(self, batch: SpeechBatch) -> list[dict[str, Any]]:
        """One row a recording: text, its words with times in seconds and confidences, what to beware of."""
        heard = self._hear(batch)
        decoded = self.decode(heard, chosen=True)
        rows: list[dict[str, Any]] = []
        for i, (units, text) in enumerate(zip(decoded, self._texts(decoded), strict=True)):
            samples = batch.samples[i, : batch.lengths[i]]
            seconds = len(samples) / self.data.rate
            row: dict[str, Any] = {"path": batch.names[i], "text": text, "seconds": round(seconds, 3)}
            row["words"] = [_row(word) for word in self.words(heard, i, units, seconds)]
            found = {"silence": is_silent(samples), "clipped": is_clipped(samples)}
            row["notes"] = [note for note, holds in found.items() if holds]
            if batch.texts[i]:
                row["reference"] = batch.texts[i]
            rows.append(row)
        return rows

    # --- what is remembered of speakers ---------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Nobody has been heard."""
        self._speaker_states = {}

    def on_test_epoch_start(self) -> None:
        """Nobody has been heard."""
        self._speaker_states = {}

    def on_predict_epoch_start(self) -> None:
        """Nobody has been heard."""
        self._speaker_states = {}

    def _hear(self, batch: SpeechBatch) -> AcousticOutput:
        heard: AcousticOutput = self.model(batch.samples, batch.lengths, batch.speakers, self._speaker_states)
        self._speaker_states = heard.speaker_states
        return heard

    # --- shared parts ---------------------------------------------------------------------------------------

    def transcripts(self, heard: AcousticOutput, batch: SpeechBatch) -> list[list[TimedWord]]:
        """The words of the first recordings of a batch, as many as were heard."""
        seconds = (batch.lengths / self.data.rate).tolist()
        decoded = self.decode(heard, chosen=False)
        return [self.words(heard, i, units, seconds[i]) for i, units in enumerate(decoded)]

    def words(self, heard: AcousticOutput, item: int, units: list[int], seconds: float) -> list[TimedWord]:
        """The words of a recording of so many seconds, with times and confidences."""
        log_probs = heard.log_probs[item, : heard.lengths[item]]
        return [self.model.timed(word, seconds) for word in align(log_probs, units, self.data.units.name)]

    def _texts(self, decoded: list[list[int]]) -> list[str]:
        return [self.data.units.decode(units) for units in decoded]


def recordings(data: DataModule) -> RecognitionData:
    """The data module, which must be one of recordings.

    Raises:
        ArgumentError: If it is another.
    """
    if not isinstance(data, RecognitionData):
        raise ArgumentError(
            "recordings are needed (--data ManifestData or another RecognitionData), "
            f"not {type(data).__name__}"
        )
    return data


def _row(word: TimedWord) -> dict[str, Any]:
    """A word as a row: times in seconds from the beginning of the recording."""
    return {
        "word": word.text,
        "start": round(word.start, 2),
        "end": round(word.end, 2),
        "confidence": round(word.confidence, 4),
    }
