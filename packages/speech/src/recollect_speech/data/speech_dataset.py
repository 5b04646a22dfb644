"""The dataset of recordings as tensors, and its batches."""

from collections.abc import Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset
from torchaudio.functional import add_noise
from torchaudio.transforms import SpeedPerturbation

from recollect_speech.data.units import Units
from recollect_speech.data.utterances import Utterance
from recollect_speech.types import SpeechBatch, SpeechItem


def collate(items: Sequence[SpeechItem]) -> SpeechBatch:
    """Pad items to a batch."""
    units = [torch.tensor(item.units, dtype=torch.int64) for item in items]
    return SpeechBatch(
        pad_sequence([item.samples for item in items], batch_first=True),
        torch.tensor([len(item.samples) for item in items]),
        pad_sequence(units, batch_first=True),
        torch.tensor([len(item.units) for item in items]),
        [item.text for item in items],
        [item.name for item in items],
        [item.speaker for item in items],
    )


class WaveformAugmentation(NamedTuple):
    """Random changes of the samples in training, drawn each time a recording is read.

    Attributes:
        speeds: Speed factors, one of which is drawn; they change the pitch too (Ko et al. 2015, Interspeech).
        noise: Bounds in dB of the signal-to-noise ratio of white noise; none by default.
    """

    speeds: Sequence[float] = (1.0,)
    noise: tuple[float, float] | None = None


@final
class SpeechDataset(Dataset[SpeechItem]):
    """Recordings, read from their files on access.

    Args:
        utterances: The recordings.
        units: Units of the transcripts.
        rate: Sample rate.
        augmentation: Augmentation of the samples; none by default.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        units: Units,
        rate: int,
        augmentation: WaveformAugmentation | None = None,
    ) -> None:
        self.utterances = utterances
        self.units = units
        self.rate = rate
        self.augmentation = augmentation
        self._speed = SpeedPerturbation(rate, list(augmentation.speeds)) if augmentation else None

    def __len__(self) -> int:
        """Number of recordings."""
        return len(self.utterances)

    def __getitem__(self, index: int) -> SpeechItem:
        """Read a recording."""
        utterance = self.utterances[index]
        samples = utterance.samples(self.rate)
        if self._speed is not None and self.augmentation is not None:
            samples, _ = self._speed(samples)
            if self.augmentation.noise is not None:
                samples = with_noise(samples, self.augmentation.noise)
        units = self.units.encode(utterance.text)
        return SpeechItem(samples, units, utterance.text, utterance.name, utterance.speaker)


def with_noise(samples: Tensor, bounds: tuple[float, float]) -> Tensor:
    """Add white noise to samples ``(S,)`` at a ratio in dB drawn from ``bounds``; silence stays silence.

    Example:
        >>> noisy = with_noise(torch.ones(1000), (20.0, 20.0))
        >>> round((noisy - 1).square().mean().item(), 2)
        0.01
    """
    if not samples.any():
        return samples
    low, high = bounds
    ratio = low + (high - low) * torch.rand(())
    noisy: Tensor = add_noise(samples, torch.randn_like(samples), ratio)
    return noisy
