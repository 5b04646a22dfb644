"""Speech recognition: recordings to transcripts."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, final

import torch
import torch.nn.functional as F
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from recollect import Concatenation, Integration, Memory, Parallel
from recollect.training import NamedFigure
from recollect_speech.data.recognition import RecognitionData
from recollect_speech.figures.recognition import transcript_figures
from recollect_speech.figures.spectrogram import PICTURES
from recollect_speech.models.acoustic_model import AcousticOutput
from recollect_speech.models.augmentation import SpecAugment, SpectrumAugmentation
from recollect_speech.models.decoding import Beam, beam_search, greedy
from recollect_speech.models.encoder import Encoder
from recollect_speech.models.recognition import Recognizer
from recollect_speech.tasks.base import SpeechTask
from recollect_speech.tasks.warm_start import warm_start
from recollect_speech.types import SpeechBatch


@final
class Recognition(SpeechTask):
    """Speech recognition by connectionist temporal classification (Graves et al. 2006, ICML).

    Validation decodes the best path. Test and prediction use beam search if ``beam`` is given, with the
    n-gram model of the data module if it has one.

    Args:
        encoder: The encoder.
        bins: Number of mel bins.
        channels: Number of channels of the subsampling.
        dropout: Dropout rate of the subsampled features.
        spec_augment: Masking of the features in training.
        augmentation: Augmentation of the mel energies in training: other speakers, other microphones.
        memory: Builds the memory of earlier segments, given the encoder's width.
        integration: Its integration with a layer of the encoder: ``recollect.Parallel``, ``Concatenation`` or
            ``Fusion``.
        at: Index of that layer, counted from 0.
        speaker_memory: Builds the memory of speakers, carried from recording to recording, given the width of
            the encoder.
        speaker_integration: Integration of the speaker memory with the subsampled features.
        beam: Beam search in test and prediction.
        warm_start: Run folder whose weights initialise the model; see ``tasks.warm_start``.
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
        spec_augment: SpecAugment | None = None,
        augmentation: SpectrumAugmentation | None = None,
        memory: Callable[[int], Memory] | None = None,
        integration: type[Integration] = Parallel,
        at: int = 1,
        speaker_memory: Callable[[int], Memory] | None = None,
        speaker_integration: type[Integration] = Concatenation,
        beam: Beam | None = None,
        warm_start: Path | None = None,
        optimizer: OptimizerCallable | None = None,
        scheduler: LRSchedulerCallable | None = None,
        scheduler_interval: Literal["step", "epoch"] = "step",
    ) -> None:
        super().__init__(optimizer, scheduler, scheduler_interval)
        if beam is not None and beam.width < 1:
            raise ValueError(f"beam.width must be at least 1, got {beam.width}")
        self.encoder = encoder
        self.bins = bins
        self.channels = channels
        self.dropout = dropout
        self.spec_augment = spec_augment
        self.augmentation = augmentation
        self.memory = memory
        self.integration = integration
        self.at = at
        self.speaker_memory = speaker_memory
        self.speaker_integration = speaker_integration
        self.beam = beam
        self.warm_start = warm_start
        self._warned = False

    # --- what the base class asks for -----------------------------------------------------------------------

    def build_model(self, data: RecognitionData) -> Recognizer:
        """A recognizer for the units of the data."""
        memory, speaker_memory = (
            None if make is None else make(self.encoder.size) for make in (self.memory, self.speaker_memory)
        )
        if memory is not None:
            self.encoder.add_memory(memory, self.integration, self.at)
        model = Recognizer(
            len(data.units),
            data.rate,
            self.encoder,
            self.bins,
            self.channels,
            self.dropout,
            self.spec_augment,
            speaker_memory,
            self.speaker_integration,
            self.augmentation,
        )
        if self.warm_start is not None and self._trainer is not None and self._trainer.state.fn == "fit":
            warm_start(model, data.units, self.warm_start)
        return model

    def training_loss(self, batch: SpeechBatch) -> tuple[Tensor, int]:
        """CTC loss averaged over the recordings; those with too few steps for their text have loss zero."""
        output = self.model(batch.samples, batch.lengths, batch.speakers)
        self._warn_of_short(output, batch)
        return self.loss(output, batch), len(batch.lengths)

    def figures(self, batch: SpeechBatch) -> list[NamedFigure]:
        """Spectrogram, words, and reads of the memory of segments."""
        few = min(PICTURES, len(batch.lengths))
        output = self.model(
            batch.samples[:few], batch.lengths[:few], batch.speakers[:few], self._speaker_states
        )
        return transcript_figures(self.model, batch, self.transcripts(output, batch))

    def loss(self, output: AcousticOutput, batch: SpeechBatch) -> Tensor:
        """CTC loss; recordings with too few steps for their text have loss zero."""
        losses = F.ctc_loss(
            output.log_probs.transpose(0, 1),
            batch.units,
            output.lengths,
            batch.unit_lengths,
            reduction="none",
            zero_infinity=True,
        )
        return losses.mean()

    def decode(self, output: AcousticOutput, chosen: bool) -> list[list[int]]:
        """Decode the best path, or by beam search if ``chosen`` and ``beam`` is set."""
        if not chosen or self.beam is None:
            return greedy(output.log_probs, output.lengths)
        ngram = self.data.ngram
        language = None if ngram is None else ngram.log_probability
        return [
            beam_search(log_probs[:length], self.beam, language)
            for log_probs, length in zip(output.log_probs, output.lengths, strict=True)
        ]

    def _warn_of_short(self, output: AcousticOutput, batch: SpeechBatch) -> None:
        """Warn once, naming the recordings of a batch that are too short for their transcripts."""
        repeated = (batch.units[:, 1:] == batch.units[:, :-1]) & (batch.units[:, 1:] > 0)  # blank between
        short = output.lengths < batch.unit_lengths + repeated.sum(1)
        if self._warned or not short.any():
            return
        self._warned = True
        named = ", ".join(batch.names[i] for i in torch.where(short)[0].tolist())
        rank_zero_warn(f"too short for their transcripts, ignored in training: {named} (and perhaps others)")
