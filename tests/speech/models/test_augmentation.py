"""Warps move frequencies, colours change gains, each recording by itself and in training alone."""

from collections.abc import Callable

import pytest
import torch

from recollect_speech.models.augmentation import (
    KNOTS,
    SpectrumAugmentation,
    SpectrumAugmenter,
    filter_gains,
    warp_frequencies,
)
from recollect_speech.models.features import LogMel, centres_of

Tone = Callable[..., torch.Tensor]
CENTRES = torch.linspace(100, 3900, 39)


def test_a_factor_of_one_leaves_all_as_it_is() -> None:
    energies = torch.rand(2, 5, 39)
    torch.testing.assert_close(warp_frequencies(energies, torch.ones(2), CENTRES, 4000.0), energies)


@pytest.mark.parametrize("factor", [0.8, 0.95, 1.1, 1.25])
def test_a_tone_moves_by_the_factor(factor: float, tone: Tone) -> None:
    features = LogMel(8000, bins=40)
    energies = features.mel(tone(0.5, pitch=1000.0).unsqueeze(0)).mT
    warped = warp_frequencies(energies, torch.tensor([factor]), centres_of(features.mel), 4000.0)
    moved = features.mel(tone(0.5, pitch=1000.0 / factor).unsqueeze(0)).mT
    assert abs(int(warped[0, 9].argmax()) - int(moved[0, 9].argmax())) <= 1


@pytest.mark.parametrize("factor", [0.7, 1.3])
def test_a_flat_spectrum_stays_flat_and_order_stays(factor: float) -> None:
    flat = torch.full((1, 3, 39), 2.0)
    torch.testing.assert_close(warp_frequencies(flat, torch.tensor([factor]), CENTRES, 4000.0), flat)
    rising = warp_frequencies(CENTRES.expand(1, 1, -1), torch.tensor([factor]), CENTRES, 4000.0)[0, 0]
    assert (rising.diff() >= 0).all()
    low = CENTRES <= 2000
    torch.testing.assert_close(rising[low], (factor * CENTRES[low]).clamp_min(100.0))


def test_colour_is_linear_in_decibels_between_its_knots() -> None:
    gains = 10 * filter_gains(torch.tensor([[[-6.0, 0.0, 6.0]]]), 5).log10()
    torch.testing.assert_close(gains, torch.tensor([[[-6.0, -3.0, 0.0, 3.0, 6.0]]]))


def test_each_recording_has_its_own_and_all_of_its_frames_the_same() -> None:
    torch.manual_seed(0)
    energies = torch.rand(1, 1, 39).expand(3, 4, 39)
    varied = SpectrumAugmenter(SpectrumAugmentation(0.2, 10.0), CENTRES, 4000.0)(energies)
    torch.testing.assert_close(varied, varied[:, :1].expand_as(varied))
    assert not torch.allclose(varied[0], varied[1])
    ratio = (
        10 * (SpectrumAugmenter(SpectrumAugmentation(0.0, 6.0), CENTRES, 4000.0)(energies) / energies).log10()
    )
    assert 0.5 < ratio.abs().max() <= 6.001
    assert KNOTS < 39


def test_it_is_for_training_alone(tone: Tone) -> None:
    torch.manual_seed(0)
    samples, lengths = tone(0.5).unsqueeze(0), torch.tensor([4000])
    plain, varied = LogMel(8000, 40), LogMel(8000, 40, augmentation=SpectrumAugmentation())
    assert plain.state_dict().keys() == varied.state_dict().keys()
    assert not torch.allclose(plain(samples, lengths)[0], varied(samples, lengths)[0], atol=0.01)
    assert torch.equal(plain(samples, lengths)[0], varied.eval()(samples, lengths)[0])


@pytest.mark.parametrize(
    ("augmentation", "message"),
    [
        (SpectrumAugmentation(0.4), "vtlp must be in"),
        (SpectrumAugmentation(-0.1), "vtlp must be in"),
        (SpectrumAugmentation(0.1, -1), "filter_db must"),
    ],
)
def test_numbers_out_of_range(augmentation: SpectrumAugmentation, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpectrumAugmenter(augmentation, CENTRES, 4000.0)


def test_bins_that_hear_nothing_cannot_be_warped() -> None:
    with pytest.raises(ValueError, match="3 mel bins are too many"):
        SpectrumAugmenter(SpectrumAugmentation(), torch.tensor([100.0, torch.nan, 300.0]), 4000.0)
