"""What every recognizer begins with, and what it gives."""

from abc import ABC, abstractmethod
from typing import Literal, NamedTuple

from torch import Tensor, nn
from torchaudio import transforms

from recollect_speech.models.alignment import TimedWord, Word
from recollect_speech.models.features import LogMel
from recollect_speech.models.speakers import SpeakerStates
from recollect_speech.models.variety import SpectrumAugmentation


class SpecAugment(NamedTuple):
    """How much of the features is masked in training (Park et al. 2019, arXiv:1904.08779).

    The arguments are those of ``torchaudio.transforms.SpecAugment``.

    Attributes:
        n_time_masks: Number of masks over time.
        time_mask_param: Longest mask over time, in frames.
        n_freq_masks: Number of masks over frequency.
        freq_mask_param: Widest mask over frequency, in mel bins.
        p: Largest fraction of a recording that one mask over time may cover.
    """

    n_time_masks: int = 2
    time_mask_param: int = 20
    n_freq_masks: int = 2
    freq_mask_param: int = 12
    p: float = 0.2


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
        self.spec_augment = None if spec_augment is None else _spec_augment(spec_augment)

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


def _spec_augment(settings: SpecAugment) -> nn.Module:
    masking: nn.Module = transforms.SpecAugment(**settings._asdict(), iid_masks=True, zero_masking=True)
    return masking
