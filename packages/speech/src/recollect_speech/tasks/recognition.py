"""The task of writing down what is said."""

from pathlib import Path
from typing import Literal, final

import torch
import torch.nn.functional as F
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.optim import AdamW

from recollect import Concatenation, Integration, Memory
from recollect.training import DataModule, Picture
from recollect_speech.models.acoustic_model import AcousticOutput
from recollect_speech.models.augmentation import SpecAugment, SpectrumAugmentation
from recollect_speech.models.decoding import Beam, beam_search, greedy
from recollect_speech.models.encoder import Encoder
from recollect_speech.models.recognition import Recognizer
from recollect_speech.tasks.base import SpeechTask, recordings
from recollect_speech.tasks.drawing import PICTURES, transcript_pictures
from recollect_speech.tasks.warm_start import warm_start
from recollect_speech.types import SpeechBatch


@final
class Recognition(SpeechTask):
    """Transcripts by connectionist temporal classification (Graves et al. 2006, ICML).

    Validation takes the best path. Test and prediction take the beam where ``beam`` is given, with the n-gram
    model of the data where there is one.

    Args:
        encoder: What listens.
        bins: Mel bins.
        channels: Channels of the subsampling.
        dropout: Share of the subsampled features that is dropped in training.
        spec_augment: What is hidden of the features in training.
        augmentation: What is made of energies in training, as if others spoke or other microphones heard.
        speaker_memory: What remembers speakers from recording to recording; of the encoder's width.
        speaker_integration: How it joins the subsampled features.
        beam: Beam search in test and prediction.
        warm_start: Run folder whose weights training begins with; see ``warm_start``.
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
        speaker_memory: Memory | None = None,
        speaker_integration: type[Integration] = Concatenation,
        beam: Beam | None = None,
        warm_start: Path | None = None,
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
        self.spec_augment = spec_augment
        self.augmentation = augmentation
        self.speaker_memory = speaker_memory
        self.speaker_integration = speaker_integration
        self.beam = beam
        self.warm_start = warm_start
        self._warned = False

    # --- what the base class asks for -----------------------------------------------------------------------

    def build_model(self, data: DataModule) -> Recognizer:
        """A recognizer that writes the data's units."""
        data = recordings(data)
        model = Recognizer(
            len(data.units),
            data.rate,
            self.encoder,
            self.bins,
            self.channels,
            self.dropout,
            self.spec_augment,
            self.speaker_memory,
            self.speaker_integration,
            self.augmentation,
        )
        if self.warm_start is not None and self._trainer is not None and self._trainer.state.fn == "fit":
            warm_start(model, data.units, self.warm_start)
        return model

    def training_loss(self, batch: SpeechBatch) -> tuple[Tensor, int]:
        """CTC, a mean over the recordings; one with too few steps for its text counts for nothing."""
        heard = self.model(batch.samples, batch.lengths, batch.speakers)
        self._warn_of_short(heard, batch)
        return self.loss(heard, batch), len(batch.lengths)

    def pictures(self, batch: SpeechBatch) -> list[Picture]:
        """Spectrogram, words, and what the memory of segments read."""
        few = min(PICTURES, len(batch.lengths))
        heard = self.model(
            batch.samples[:few], batch.lengths[:few], batch.speakers[:few], self._speaker_states
        )
        return transcript_pictures(self.model, batch, self.transcripts(heard, batch))

    def loss(self, heard: AcousticOutput, batch: SpeechBatch) -> Tensor:
        """CTC; a recording with too few steps for its text counts for nothing."""
        losses = F.ctc_loss(
            heard.log_probs.transpose(0, 1),
            batch.units,
            heard.lengths,
            batch.unit_lengths,
            reduction="none",
            zero_infinity=True,
        )
        return losses.mean()

    def decode(self, heard: AcousticOutput, chosen: bool) -> list[list[int]]:
        """By the best path, or by the beam where there is one and the result is wanted."""
        if not chosen or self.beam is None:
            return greedy(heard.log_probs, heard.lengths)
        ngram = self.data.ngram
        language = None if ngram is None else ngram.log_probability
        return [
            beam_search(log_probs[:length], self.beam, language)
            for log_probs, length in zip(heard.log_probs, heard.lengths, strict=True)
        ]

    def _warn_of_short(self, heard: AcousticOutput, batch: SpeechBatch) -> None:
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
