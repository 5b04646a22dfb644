"""What every recognizer begins with, and what it gives."""

from abc import ABC, abstractmethod
from typing import Literal, NamedTuple

from torch import Tensor, nn

from recollect_speech.models.alignment import Word
from recollect_speech.models.augmentation import SpecAugment, SpectrumAugmentation, masking
from recollect_speech.models.features import LogMel
from recollect_speech.models.speaker_states import SpeakerStates
from recollect_speech.types import TimedWord


class AcousticOutput(NamedTuple):
    """What a recognizer makes of a batch.

    Attributes:
        log_probs: ``(B, T, V)``, of the blank and the units at each step.
        lengths: ``(B,)`` int64, how many steps count.
        speaker_states: What is remembered of each speaker.
    """

    log_probs: Tensor
    lengths: Tensor
    speaker_states: SpeakerStates


class AcousticModel(nn.Module, ABC):
    """Log-mel features, of which some are hidden in training.

    Args:
        rate: Samples a second.
        bins: Number F of mel bins.
        mean: As in ``LogMel``.
        spec_augment: What is hidden in training; nothing by default.
        augmentation: What is made of energies in training; nothing by default.
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
        """When a word was said in a recording of so many seconds."""

    def frames_of(self, samples: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Samples ``(B, S)``, of which ``lengths`` count → ``(B, T, F)`` and how many frames count."""
        samples = nn.functional.pad(samples, (0, max(0, self.features.window - samples.shape[1])))
        frames, counts = self.features(samples, lengths)
        if self.spec_augment is not None and self.training:
            frames = self.spec_augment(frames.mT).mT
        return frames, counts
