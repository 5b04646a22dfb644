"""Augmentation of mel energies and features in training."""

from typing import NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchaudio import transforms

BEND = 0.85
"""Fraction of the highest frequency up to which VTLP scales frequencies by a constant factor."""

KNOTS = 5
"""Number of points at which the random filter is drawn; it is linear in dB between them."""


class SpectrumAugmentation(NamedTuple):
    """Random changes of the mel energies, drawn for each recording at each step of training.

    Attributes:
        vtlp: Vocal tract length perturbation: frequencies are scaled by a factor in 1 ± ``vtlp`` (Jaitly &
            Hinton 2013, ICML workshop on deep learning for audio, speech and language).
        filter_db: Filter augmentation: bands are amplified by up to ± ``filter_db`` dB, as by another
            microphone or room (Nam et al. 2022, arXiv:2110.03282; linear filter, evenly spaced knots).
    """

    vtlp: float = 0.1
    filter_db: float = 6.0


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


@final
class SpectrumAugmenter(nn.Module):
    """Apply a random frequency warp and a random filter to mel energies.

    Args:
        augmentation: Strength of both.
        centres: ``(F,)``, centre frequencies of the bins in Hz, increasing.
        highest: Highest frequency in Hz.

    Raises:
        ValueError: If ``vtlp`` is not in [0, 0.3], ``filter_db`` is negative, or a bin is empty.
    """

    centres: Tensor

    def __init__(self, augmentation: SpectrumAugmentation, centres: Tensor, highest: float) -> None:
        super().__init__()
        if not 0 <= augmentation.vtlp <= 0.3:
            raise ValueError(f"vtlp must be in [0, 0.3], got {augmentation.vtlp}")
        if augmentation.filter_db < 0:
            raise ValueError(f"filter_db must not be negative, got {augmentation.filter_db}")
        if not (centres.diff() > 0).all():
            raise ValueError(f"{len(centres)} mel bins are too many for augmentation: some are empty")
        self.augmentation = augmentation
        self.highest = highest
        self.register_buffer("centres", centres, persistent=False)

    def forward(self, energies: Tensor) -> Tensor:
        """``(B, T, F)`` → ``(B, T, F)``."""
        if self.augmentation.vtlp:
            factors = 1 + self.augmentation.vtlp * (2 * torch.rand(len(energies), device=energies.device) - 1)
            energies = warp_frequencies(energies, factors, self.centres, self.highest)
        if self.augmentation.filter_db:
            knots = self.augmentation.filter_db * (
                2 * torch.rand(len(energies), 1, KNOTS, device=energies.device) - 1
            )
            energies = energies * filter_gains(knots, energies.shape[-1])
        return energies


def warp_frequencies(energies: Tensor, factors: Tensor, centres: Tensor, highest: float) -> Tensor:
    """Warp the frequency axis: the bin at f gets the energy at w(f), interpolated linearly between bins.

    w(f) = α f up to f_0 = 0.85 · highest · min(1, 1/α); above f_0 it is linear up to w(highest) = highest
    (Jaitly & Hinton 2013, equation 1).

    Args:
        energies: ``(B, T, F)``.
        factors: ``(B,)``, α; 1 is the identity.
        centres: ``(F,)`` in Hz.
        highest: In Hz.

    Example:
        >>> centres = torch.linspace(100, 3900, 39)
        >>> peak = F.one_hot(torch.tensor([[20]]), 39).float()
        >>> warped = warp_frequencies(peak, torch.tensor([0.9]), centres, 4000.0)
        >>> warped.argmax().item()  # from 2,100 to 2,100 / 0.9 Hz
        22
    """
    alpha = factors.unsqueeze(1)
    bend = BEND * highest * alpha.reciprocal().clamp_max(1)
    beyond = alpha * bend + (highest - alpha * bend) / (highest - bend) * (centres - bend)
    moved = torch.where(centres <= bend, alpha * centres, beyond).clamp(centres[0], centres[-1])
    above = torch.searchsorted(centres, moved).clamp(1, len(centres) - 1)
    share = (moved - centres[above - 1]) / (centres[above] - centres[above - 1])
    places = above.unsqueeze(1).expand_as(energies)
    return energies.gather(2, places - 1).lerp(energies.gather(2, places), share.unsqueeze(1))


def filter_gains(knots: Tensor, bins: int) -> Tensor:
    """Gains ``(B, 1, F)`` of the energies from decibels ``(B, 1, k)`` at evenly spaced knots.

    Example:
        >>> filter_gains(torch.tensor([[[0.0, 10.0]]]), 3).log10()
        tensor([[[0.0000, 0.5000, 1.0000]]])
    """
    gains: Tensor = 10 ** (F.interpolate(knots, bins, mode="linear", align_corners=True) / 10)
    return gains


def masking(settings: SpecAugment) -> nn.Module:
    """A module that masks features ``(B, F, T)``."""
    module: nn.Module = transforms.SpecAugment(**settings._asdict(), iid_masks=True, zero_masking=True)
    return module
