"""The base class of acoustic models, and their output."""

from abc import ABC, abstractmethod
from typing import Literal, NamedTuple

from torch import Tensor, nn

from recollect_speech.models.alignment import Word
from recollect_speech.models.augmentation import SpecAugment, SpectrumAugmentation, masking
from recollect_speech.models.features import LogMel
from recollect_speech.models.speaker_states import SpeakerStates
from recollect_speech.types import TimedWord


class AcousticOutput(NamedTuple):
    """Output of an acoustic model for a batch.

    Attributes:
        log_probs: ``(B, T, V)``, log-probabilities of the blank and the units at each step.
        lengths: ``(B,)`` int64, number of valid steps.
        speaker_states: States of the speaker memory, by speaker.
    """

    log_probs: Tensor
    lengths: Tensor
    speaker_states: SpeakerStates


class AcousticModel(nn.Module, ABC):
    """Base class of acoustic models: log-mel features, augmented in training.

    Args:
        rate: Samples per second.
        bins: Number F of mel bins.
        mean: As in ``LogMel``.
        spec_augment: Masking of the features in training; none by default.
        augmentation: Augmentation of the mel energies in training; none by default.
    """

    def __init__(
        self,
        rate: int,
        bins: int,
        mean: Literal["utterance", "running"] = "utterance",
        spec_augment: SpecAugment | None = None,
        augmentation: SpectrumAugmentation | None = None,
    ) -> None:
        super().__init__()
        self.features = LogMel(rate, bins, mean, augmentation)
        self.spec_augment = None if spec_augment is None else masking(spec_augment)

    @abstractmethod
    def timed(self, word: Word, seconds: float) -> TimedWord:
        """Convert the steps of a word to seconds, within a recording that lasts ``seconds``."""

    def frames_of(self, samples: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Samples ``(B, S)`` with ``lengths`` ``(B,)`` → features ``(B, T, F)`` and their lengths."""
        samples = nn.functional.pad(samples, (0, max(0, self.features.window - samples.shape[1])))
        frames, counts = self.features(samples, lengths)
        if self.spec_augment is not None and self.training:
            frames = self.spec_augment(frames.mT).mT
        return frames, counts
