"""Recordings as tensors, batch by batch."""

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
    """A batch of items."""
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
    """What is done to recordings while training, drawn anew each time.

    Attributes:
        speeds: Factors of speed, one of which is drawn (Ko et al. 2015, Interspeech); pitch goes with it.
        noise: Bounds of the signal-to-noise ratio of white noise, in dB; none by default.
    """

    speeds: Sequence[float] = (1.0,)
    noise: tuple[float, float] | None = None


@final
class SpeechDataset(Dataset[SpeechItem]):
    """Recordings, read when they are asked for.

    Args:
        utterances: The recordings.
        units: How their transcripts are spelt.
        rate: Samples a second.
        augmentation: What is done to them; nothing by default.
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
        """How many there are."""
        return len(self.utterances)

    def __getitem__(self, index: int) -> SpeechItem:
        """One recording."""
        utterance = self.utterances[index]
        samples = utterance.samples(self.rate)
        if self._speed is not None and self.augmentation is not None:
            samples, _ = self._speed(samples)
            if self.augmentation.noise is not None:
                samples = with_noise(samples, self.augmentation.noise)
        units = self.units.encode(utterance.text)
        return SpeechItem(samples, units, utterance.text, utterance.name, utterance.speaker)


def with_noise(samples: Tensor, bounds: tuple[float, float]) -> Tensor:
    """Samples ``(S,)`` and white noise, at a ratio in dB drawn between the bounds; silence stays silence.

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
