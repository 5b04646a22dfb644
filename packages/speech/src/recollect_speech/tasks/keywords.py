"""Keyword spotting: one word per recording."""

from collections.abc import Callable
from typing import Literal, final

import torch.nn.functional as F
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor

from recollect import ExampleMemory, SlotStorage
from recollect.training import NamedFigure
from recollect.training.errors import ArgumentError, DataError
from recollect_speech.data.recognition import RecognitionData
from recollect_speech.figures.keywords import keyword_figures
from recollect_speech.figures.spectrogram import PICTURES
from recollect_speech.models.acoustic_model import AcousticOutput
from recollect_speech.models.augmentation import SpecAugment, SpectrumAugmentation
from recollect_speech.models.keyword_encoder import KeywordEncoder
from recollect_speech.models.keywords import KeywordSpotter
from recollect_speech.tasks.base import SpeechTask
from recollect_speech.types import SpeechBatch

SHARPNESS = 20.0
"""Scale s of the cosine similarity to a word's template."""


@final
class KeywordSpotting(SpeechTask):
    """Classification of recordings of single words, trained with cross-entropy.

    Args:
        encoder: The encoder.
        label_smoothing: Label smoothing of the cross-entropy.
        spec_augment: Masking of the features in training.
        augmentation: Augmentation of the mel energies in training: other speakers, other microphones.
        speaker_memory: Builds the storage of each speaker's words, given the widths of keys and values. It is
            not used in training.
        optimizer: As in ``Task``.
        scheduler: As in ``Task``.
        scheduler_interval: As in ``Task``.

    Raises:
        ValueError: If ``label_smoothing`` is not in [0, 1).
    """

    model: KeywordSpotter
    model_methods = ("alone",)

    def __init__(
        self,
        encoder: KeywordEncoder,
        label_smoothing: float = 0.1,
        spec_augment: SpecAugment | None = None,
        augmentation: SpectrumAugmentation | None = None,
        speaker_memory: Callable[[int, int], SlotStorage] | None = None,
        optimizer: OptimizerCallable | None = None,
        scheduler: LRSchedulerCallable | None = None,
        scheduler_interval: Literal["step", "epoch"] = "step",
    ) -> None:
        super().__init__(optimizer, scheduler, scheduler_interval)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
        self.encoder = encoder
        self.label_smoothing = label_smoothing
        self.spec_augment = spec_augment
        self.augmentation = augmentation
        self.speaker_memory = speaker_memory

    def build_model(self, data: RecognitionData) -> KeywordSpotter:
        """A keyword spotter for the words of the data."""
        if data.kind != "words":
            raise ArgumentError(f"KeywordSpotting needs --data.units words, not {data.kind}")
        memory = None
        if self.speaker_memory is not None:
            storage = self.speaker_memory(self.encoder.size, len(data.units) - 1)
            memory = ExampleMemory(storage, "prototypes", "cosine", SHARPNESS)
        return KeywordSpotter(
            len(data.units), data.rate, self.encoder, memory, self.spec_augment, self.augmentation
        )

    def training_loss(self, batch: SpeechBatch) -> tuple[Tensor, int]:
        """Cross-entropy averaged over the recordings."""
        _check(batch)
        log_probs = self.model(batch.samples, batch.lengths).log_probs[:, 0, 1:]  # without the blank
        loss = F.cross_entropy(log_probs, batch.units[:, 0] - 1, label_smoothing=self.label_smoothing)
        return loss, len(batch.lengths)

    def loss(self, output: AcousticOutput, batch: SpeechBatch) -> Tensor:
        """Negative log-likelihood; a word unknown in training has the probability of the blank."""
        _check(batch)
        return F.nll_loss(output.log_probs[:, 0], F.pad(batch.units, (0, 1))[:, 0])

    def decode(self, output: AcousticOutput, chosen: bool) -> list[list[int]]:
        """The most probable word."""
        return [[unit] for unit in output.log_probs[:, 0].argmax(-1).tolist()]

    def figures(self, batch: SpeechBatch) -> list[NamedFigure]:
        """Spectrogram, and word probabilities with and without the memory of the speaker."""
        few = min(PICTURES, len(batch.lengths))
        output = self.model(
            batch.samples[:few], batch.lengths[:few], batch.speakers[:few], self._speaker_states
        )
        return keyword_figures(self.model, self.data.units, batch, output, self.transcripts(output, batch))


def _check(batch: SpeechBatch) -> None:
    """Check that every recording holds one word."""
    for text, name in zip(batch.texts, batch.names, strict=True):
        if len(text.split()) != 1:
            raise DataError(
                f"the transcript of {name} is {text!r}: KeywordSpotting needs one word per recording"
            )
