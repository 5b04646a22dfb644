"""Log-mel features that can be computed piece by piece."""

from typing import Literal, NamedTuple, final

import torch
from torch import Tensor, nn
from torchaudio.transforms import MelSpectrogram

from recollect.state import register_state
from recollect_speech.models.augmentation import SpectrumAugmentation, SpectrumAugmenter

FLOOR = 1e-5
"""Added to every energy before its logarithm, as speech arrives: far below speech of common loudness."""

RELATIVE_FLOOR = 1e-3
"""The same for a whole recording, by its mean energy: 30 dB hide what rooms and microphones add."""

SILENCE = 1e-8
"""The least mean energy that a recording is divided by."""

PRIOR_FRAMES = 50.0
"""How many frames the learned mean counts for beside those that are known."""

SCALE = 0.25
"""Brings logarithms of energies to about unit variance."""


@register_state
class FeatureState(NamedTuple):
    """What a running mean goes on from.

    Attributes:
        total: ``(B, F)``, the sum of the frames that have been heard.
        frames: ``(B,)``, how many these are.
    """

    total: Tensor
    frames: Tensor


@final
class LogMel(nn.Module):
    """x_t = (log(mel_t + ε) − m_t) / 4, with m_t a mean of the frames up to t, or of all, and a learned one.

    m = (Σ log mel + 50 m_0) / (n + 50) of the n frames that are known and a learned m_0: a short word keeps
    its own colour, of which the mean of its frames would take most away, while in long recordings that of
    the channel goes. Where the whole recording is known its energies are divided by their mean, so that
    loudness is of no consequence.

    A frame is 25 ms long, and there are 100 a second. The first begins with the first sample and none reaches
    beyond the last, so that frames of a piece are those of the whole.

    Args:
        rate: Samples a second.
        bins: Number F of mel bins.
        mean: ``"utterance"`` takes the mean of the whole recording; ``"running"`` that of the frames up to t.
        augmentation: What is made of energies in training; nothing by default.

    Example:
        >>> features, lengths = LogMel(8000, bins=40)(torch.randn(2, 8000), torch.tensor([8000, 4000]))
        >>> features.shape, lengths.tolist()
        (torch.Size([2, 98, 40]), [98, 48])
    """

    def __init__(
        self,
        rate: int,
        bins: int = 64,
        mean: Literal["utterance", "running"] = "utterance",
        augmentation: SpectrumAugmentation | None = None,
    ) -> None:
        super().__init__()
        if mean not in ("utterance", "running"):
            raise ValueError(f'mean must be "utterance" or "running", got {mean!r}')
        self.bins = bins
        self.mean = mean
        self.window = round(0.025 * rate)
        self.hop = round(0.01 * rate)
        self.mel = MelSpectrogram(
            rate,
            n_fft=self.window,
            hop_length=self.hop,
            n_mels=bins,
            center=False,
            norm="slaney",
            mel_scale="slaney",
        )
        self.augmenter = (
            None if augmentation is None else SpectrumAugmenter(augmentation, centres_of(self.mel), rate / 2)
        )
        self.prior = nn.Parameter(torch.full((bins,), -6.0 if mean == "running" else -3.0))

    def frames(self, samples: Tensor) -> Tensor:
        """How many frames so many samples make."""
        return ((samples - self.window) // self.hop + 1).clamp_min(0)

    def initial_state(self, batch: int) -> FeatureState:
        """Nothing has been heard."""
        return FeatureState(self.prior.new_zeros(batch, self.bins), self.prior.new_zeros(batch))

    def forward(
        self, samples: Tensor, lengths: Tensor, state: FeatureState | None = None
    ) -> tuple[Tensor, Tensor]:
        """Samples ``(B, S)``, of which ``lengths`` ``(B,)`` count → ``(B, T, F)`` and how many count.

        Args:
            samples: At the rate of the model.
            lengths: Of each recording.
            state: What the running mean goes on from.
        """
        logs, counts = self.logs(samples, lengths)
        there = (torch.arange(logs.shape[1], device=logs.device) < counts.unsqueeze(1)).unsqueeze(-1)
        logs = logs * there
        if self.mean == "utterance":
            total, heard = logs.sum(1, keepdim=True), counts.reshape(-1, 1, 1)
            mean = (total + PRIOR_FRAMES * self.prior) / (heard + PRIOR_FRAMES)
        else:
            mean = self._running(logs, state or self.initial_state(len(logs)))
        return (logs - mean) * SCALE * there, counts

    def logs(self, samples: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Logarithms of energies ``(B, T, F)``, and how many frames count."""
        energies, counts = self.mel(samples).mT, self.frames(lengths)
        if self.augmenter is not None and self.training:
            energies = self.augmenter(energies)
        if self.mean == "running":
            return (energies + FLOOR).log(), counts
        there = torch.arange(energies.shape[1], device=energies.device) < counts.unsqueeze(1)
        loudness = (energies.mean(-1) * there).sum(1) / counts.clamp_min(1)
        return (energies / loudness.clamp_min(SILENCE).reshape(-1, 1, 1) + RELATIVE_FLOOR).log(), counts

    def heard(self, logs: Tensor, state: FeatureState) -> FeatureState:
        """The state after frames ``(B, T, F)``, which all count."""
        return FeatureState(state.total + logs.sum(1), state.frames + logs.shape[1])

    def _running(self, logs: Tensor, state: FeatureState) -> Tensor:
        heard = state.frames.unsqueeze(1) + torch.arange(1, logs.shape[1] + 1, device=logs.device)
        total = state.total.unsqueeze(1) + logs.cumsum(1)
        return (total + PRIOR_FRAMES * self.prior) / (heard + PRIOR_FRAMES).unsqueeze(-1)


def centres_of(mel: MelSpectrogram) -> Tensor:
    """The mean frequency of each bin ``(F,)`` in Hz, weighed as its filter does.

    Example:
        >>> centres_of(MelSpectrogram(8000, n_fft=200, n_mels=3, norm="slaney", mel_scale="slaney")).long()
        tensor([ 593, 1321, 2459])
    """
    filters = mel.mel_scale.fb
    frequencies = torch.linspace(0, mel.sample_rate / 2, len(filters))
    centres: Tensor = (frequencies @ filters) / filters.sum(0)
    return centres
