"""What every recognizer begins with, and what it gives."""

from abc import ABC, abstractmethod
from typing import Literal, NamedTuple

from torch import Tensor, nn
from torchaudio.transforms import SpecAugment

from recollect_speech.models.alignment import TimedWord, Word
from recollect_speech.models.features import LogMel
from recollect_speech.models.speakers import Speakers
from recollect_speech.models.variety import Variety


class Masks(NamedTuple):
    """What is hidden of the features in training (SpecAugment; Park et al. 2019, arXiv:1904.08779).

    Attributes:
        times: Number of masks over time.
        frames: Longest mask over time.
        bands: Number of masks over frequency.
        bins: Widest mask over frequency.
        share: Part of a recording that a mask over time may hide at most.
    """

    times: int = 2
    frames: int = 20
    bands: int = 2
    bins: int = 12
    share: float = 0.2


class Heard(NamedTuple):
    """What a recognizer makes of a batch.

    Attributes:
        log_probs: ``(B, T, V)``, of the blank and the units at each step.
        lengths: ``(B,)`` int64, how many steps count.
        speakers: What is remembered of each speaker.
    """

    log_probs: Tensor
    lengths: Tensor
    speakers: Speakers


class Listener(nn.Module, ABC):
    """Log-mel features, of which some are hidden in training.

    Args:
        rate: Samples a second.
        bins: Number F of mel bins.
        mean: As in ``LogMel``.
        masks: What is hidden in training; nothing by default.
        variety: What is made of energies in training; nothing by default.
    """

    def __init__(
        self,
        rate: int,
        bins: int,
        mean: Literal["utterance", "running"] = "utterance",
        masks: Masks | None = None,
        variety: Variety | None = None,
    ) -> None:
        super().__init__()
        self.features = LogMel(rate, bins, mean, variety)
        self.masks = None if masks is None else _spec_augment(masks)

    @abstractmethod
    def timed(self, word: Word, seconds: float) -> TimedWord:
        """When a word was said in a recording of so many seconds."""

    def frames_of(self, samples: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Samples ``(B, S)``, of which ``lengths`` count → ``(B, T, F)`` and how many frames count."""
        samples = nn.functional.pad(samples, (0, max(0, self.features.window - samples.shape[1])))
        frames, counts = self.features(samples, lengths)
        if self.masks is not None and self.training:
            frames = self.masks(frames.mT).mT
        return frames, counts


def _spec_augment(masks: Masks) -> nn.Module:
    augment: nn.Module = SpecAugment(
        n_time_masks=masks.times,
        time_mask_param=masks.frames,
        n_freq_masks=masks.bands,
        freq_mask_param=masks.bins,
        iid_masks=True,
        p=masks.share,
        zero_masking=True,
    )
    return augment
