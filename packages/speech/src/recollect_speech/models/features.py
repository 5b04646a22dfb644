"""Log-mel features, which can be computed in pieces."""

from typing import Literal, NamedTuple, final

import torch
from torch import Tensor, nn
from torchaudio.transforms import MelSpectrogram

from recollect.state import register_state
from recollect_speech.models.augmentation import SpectrumAugmentation, SpectrumAugmenter

FLOOR = 1e-5
"""Added to energies before the logarithm with a running mean; far below the loudness of speech."""

RELATIVE_FLOOR = 1e-3
"""The same relative to the mean energy of a whole recording: 30 dB below it is mostly noise."""

SILENCE = 1e-8
"""Minimum of the mean energy that a recording is divided by."""

PRIOR_FRAMES = 50.0
"""Number of frames that the learned mean counts for."""

SCALE = 0.25
"""Scales log energies to about unit variance."""


@register_state
class FeatureState(NamedTuple):
    """State of the running mean.

    Attributes:
        total: ``(B, F)``, sum of the frames so far.
        frames: ``(B,)``, number of frames so far.
    """

    total: Tensor
    frames: Tensor


@final
class LogMel(nn.Module):
    """x_t = (log(mel_t + ε) − m_t) / 4, where m_t is a mean over the frames up to t, or over all frames.

    m = (Σ log mel + 50 m_0) / (n + 50), over n frames and with a learned m_0. So the channel is removed from
    long recordings, while short words, whose own mean says what they are, are hardly changed. For whole
    recordings the energies are first divided by their mean, which makes the features independent of loudness.

    Frames are 25 ms long, 100 per second. The first frame starts at the first sample and the last one ends
    within the recording, so the frames of a piece are those of the whole recording.

    Args:
        rate: Samples per second.
        bins: Number F of mel bins.
        mean: ``"utterance"`` for the mean of the whole recording, ``"running"`` for that up to t.
        augmentation: Augmentation of the mel energies in training; none by default.

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
        """Number of frames for a number of samples."""
        return ((samples - self.window) // self.hop + 1).clamp_min(0)

    def initial_state(self, batch: int) -> FeatureState:
        """The state before the first frame."""
        return FeatureState(self.prior.new_zeros(batch, self.bins), self.prior.new_zeros(batch))

    def forward(
        self, samples: Tensor, lengths: Tensor, state: FeatureState | None = None
    ) -> tuple[Tensor, Tensor]:
        """Samples ``(B, S)`` with ``lengths`` ``(B,)`` → features ``(B, T, F)`` and their lengths.

        Args:
            samples: Samples at the model's rate.
            lengths: Number of samples of each recording.
            state: State of the running mean.
        """
        logs, counts = self.logs(samples, lengths)
        valid = (torch.arange(logs.shape[1], device=logs.device) < counts.unsqueeze(1)).unsqueeze(-1)
        logs = logs * valid
        if self.mean == "utterance":
            total, count = logs.sum(1, keepdim=True), counts.reshape(-1, 1, 1)
            mean = (total + PRIOR_FRAMES * self.prior) / (count + PRIOR_FRAMES)
        else:
            mean = self._running(logs, state or self.initial_state(len(logs)))
        return (logs - mean) * SCALE * valid, counts

    def logs(self, samples: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Log energies ``(B, T, F)`` and their lengths."""
        energies, counts = self.mel(samples).mT, self.frames(lengths)
        if self.augmenter is not None and self.training:
            energies = self.augmenter(energies)
        if self.mean == "running":
            return (energies + FLOOR).log(), counts
        valid = torch.arange(energies.shape[1], device=energies.device) < counts.unsqueeze(1)
        loudness = (energies.mean(-1) * valid).sum(1) / counts.clamp_min(1)
        return (energies / loudness.clamp_min(SILENCE).reshape(-1, 1, 1) + RELATIVE_FLOOR).log(), counts

    def advance(self, logs: Tensor, state: FeatureState) -> FeatureState:
        """The state after log energies ``(B, T, F)`` without padding."""
        return FeatureState(state.total + logs.sum(1), state.frames + logs.shape[1])

    def _running(self, logs: Tensor, state: FeatureState) -> Tensor:
        count = state.frames.unsqueeze(1) + torch.arange(1, logs.shape[1] + 1, device=logs.device)
        total = state.total.unsqueeze(1) + logs.cumsum(1)
        return (total + PRIOR_FRAMES * self.prior) / (count + PRIOR_FRAMES).unsqueeze(-1)


def centres_of(mel: MelSpectrogram) -> Tensor:
    """Centre frequencies ``(F,)`` of the mel filters in Hz, weighted by the filters.

    Example:
        >>> centres_of(MelSpectrogram(8000, n_fft=200, n_mels=3, norm="slaney", mel_scale="slaney")).long()
        tensor([ 593, 1321, 2459])
    """
    filters = mel.mel_scale.fb
    frequencies = torch.linspace(0, mel.sample_rate / 2, len(filters))
    centres: Tensor = (frequencies @ filters) / filters.sum(0)
    return centres
