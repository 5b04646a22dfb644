"""The base class of the tasks of speech recognition."""

from abc import abstractmethod
from typing import Any, Literal

from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torchmetrics import MetricCollection

from recollect.training import Task
from recollect_speech.data.audio import is_clipped, is_silent
from recollect_speech.data.recognition import RecognitionData
from recollect_speech.metrics.error_rates import ErrorRates
from recollect_speech.models.acoustic_model import AcousticModel, AcousticOutput
from recollect_speech.models.alignment import align
from recollect_speech.models.speaker_states import SpeakerStates
from recollect_speech.types import SpeechBatch, TimedWord


class SpeechTask(Task[RecognitionData]):
    """Base class of tasks that transcribe recordings.

    With a speaker memory, the recordings of a speaker are processed in order. In evaluation the states of the
    speakers are carried from batch to batch; in training every batch starts with empty states.

    Args: As in ``Task``.
    """

    model: AcousticModel

    def __init__(
        self,
        optimizer: OptimizerCallable | None = None,
        scheduler: LRSchedulerCallable | None = None,
        scheduler_interval: Literal["step", "epoch"] = "step",
    ) -> None:
        super().__init__(optimizer, scheduler, scheduler_interval)
        self._speaker_states: SpeakerStates = {}

    # --- what a subclass implements -------------------------------------------------------------------------

    @abstractmethod
    def loss(self, output: AcousticOutput, batch: SpeechBatch) -> Tensor:
        """The loss of a batch, averaged over the recordings."""

    @abstractmethod
    def decode(self, output: AcousticOutput, chosen: bool) -> list[list[int]]:
        """Decode the units of each recording.

        Args:
            output: Output of the model.
            chosen: Whether the best, slower decoder is used: in test and prediction.
        """

    # --- what the base class asks for -----------------------------------------------------------------------

    def build_metrics(self, data: RecognitionData) -> MetricCollection:
        """Word and character error rates."""
        return MetricCollection({"errors": ErrorRates()})

    def evaluate(self, batch: SpeechBatch, metrics: MetricCollection) -> Tensor:
        """Transcribe a batch, update the metrics and return the loss."""
        output = self._forward(batch)
        metrics.update(batch.texts, self._texts(self.decode(output, chosen=self.trainer.testing)))
        return self.loss(output, batch)

    def predict(self, batch: SpeechBatch) -> list[dict[str, Any]]:
        """One row per recording: text, words with times (s) and confidences, notes on the audio."""
        output = self._forward(batch)
        decoded = self.decode(output, chosen=True)
        rows: list[dict[str, Any]] = []
        for i, (units, text) in enumerate(zip(decoded, self._texts(decoded), strict=True)):
            samples = batch.samples[i, : batch.lengths[i]]
            seconds = len(samples) / self.data.rate
            row: dict[str, Any] = {"path": batch.names[i], "text": text, "seconds": round(seconds, 3)}
            row["words"] = [_row(word) for word in self.words(output, i, units, seconds)]
            found = {"silence": is_silent(samples), "clipped": is_clipped(samples)}
            row["notes"] = [note for note, holds in found.items() if holds]
            if batch.texts[i]:
                row["reference"] = batch.texts[i]
            rows.append(row)
        return rows

    # --- states of speakers ---------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Forget all speakers."""
        self._speaker_states = {}

    def on_test_epoch_start(self) -> None:
        """Forget all speakers."""
        self._speaker_states = {}

    def on_predict_epoch_start(self) -> None:
        """Forget all speakers."""
        self._speaker_states = {}

    def _forward(self, batch: SpeechBatch) -> AcousticOutput:
        output: AcousticOutput = self.model(
            batch.samples, batch.lengths, batch.speakers, self._speaker_states
        )
        self._speaker_states = output.speaker_states
        return output

    # --- shared parts ---------------------------------------------------------------------------------------

    def transcripts(self, output: AcousticOutput, batch: SpeechBatch) -> list[list[TimedWord]]:
        """The words of the first recordings of a batch, as many as ``output`` holds."""
        seconds = (batch.lengths / self.data.rate).tolist()
        decoded = self.decode(output, chosen=False)
        return [self.words(output, i, units, seconds[i]) for i, units in enumerate(decoded)]

    def words(self, output: AcousticOutput, item: int, units: list[int], seconds: float) -> list[TimedWord]:
        """The words of a recording that lasts ``seconds``, with times and confidences."""
        log_probs = output.log_probs[item, : output.lengths[item]]
        return [self.model.timed(word, seconds) for word in align(log_probs, units, self.data.units.name)]

    def _texts(self, decoded: list[list[int]]) -> list[str]:
        return [self.data.units.decode(units) for units in decoded]


def _row(word: TimedWord) -> dict[str, Any]:
    """A word as a JSON object; times are in seconds from the start of the recording."""
    return {
        "word": word.text,
        "start": round(word.start, 2),
        "end": round(word.end, 2),
        "confidence": round(word.confidence, 4),
    }
