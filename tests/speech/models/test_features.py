"""Frames of pieces are frames of the whole; loudness and padding are of no consequence."""

from collections.abc import Callable

import pytest
import torch

from recollect_speech.models.features import LogMel
from recollect_speech.models.subsampling import REACH, STRIDE, Subsampling, steps_of

Tone = Callable[..., torch.Tensor]


def speechlike(seconds: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return 0.1 * torch.randn(round(8000 * seconds), generator=generator)


def test_a_tone_is_loudest_in_its_bin(tone: Tone) -> None:
    features = LogMel(8000, bins=40)
    loudest = [
        int(features.logs(tone(0.5, pitch=pitch).unsqueeze(0), torch.tensor([4000]))[0][0].mean(0).argmax())
        for pitch in (300.0, 1000.0, 3000.0)
    ]
    assert loudest == sorted(loudest)
    assert loudest[0] < 10 < loudest[1] < 30 <= loudest[2]


def test_the_mean_of_a_long_recording_is_taken_away_and_that_of_a_short_one_mostly_stays() -> None:
    features, left = LogMel(8000), []
    for seconds in (0.2, 1.0, 30.0):
        samples = speechlike(seconds).unsqueeze(0)
        length = torch.tensor([samples.shape[1]])
        frames, counts = features(samples, length)
        logs, _ = features.logs(samples, length)
        expected = 0.25 * 50 / (50 + int(counts)) * (logs.mean(1) - features.prior)
        torch.testing.assert_close(frames.mean(1), expected, atol=1e-4, rtol=0)
        left.append(expected.abs().mean().item())
    assert left[0] > 2 * left[1] > 20 * left[2]


@pytest.mark.parametrize("gain", [0.01, 0.3, 5.0])
def test_loudness_is_of_no_consequence(gain: float) -> None:
    features, samples, length = LogMel(8000), speechlike().unsqueeze(0), torch.tensor([8000])
    torch.testing.assert_close(
        features(gain * samples, length)[0], features(samples, length)[0], atol=1e-3, rtol=0
    )


def test_a_running_mean_knows_nothing_of_what_follows() -> None:
    features, samples = LogMel(8000, mean="running"), speechlike()
    changed = samples.clone()
    changed[4000:] *= 9
    length = torch.tensor([8000])
    before, after = (features(x.unsqueeze(0), length)[0][0] for x in (samples, changed))
    torch.testing.assert_close(before[:45], after[:45])
    assert not torch.allclose(before[60:], after[60:])


def test_a_running_mean_begins_with_the_learned_one_and_ends_near_that_of_the_recording() -> None:
    features, samples = LogMel(8000, mean="running"), speechlike(20.0).unsqueeze(0)
    logs, _ = features.logs(samples, torch.tensor([160000]))
    frames, _ = features(samples, torch.tensor([160000]))
    first = (logs[0, 0] + 50 * features.prior) / 51
    torch.testing.assert_close(frames[0, 0], 0.25 * (logs[0, 0] - first))
    assert (frames[0, -200:].mean(0)).abs().max() < 0.2
    features(samples, torch.tensor([160000]))[0].sum().backward()
    assert features.prior.grad is not None
    assert features.prior.grad.abs().max() > 0


def test_silence_is_finite() -> None:
    for mean in ("utterance", "running"):
        frames, _ = LogMel(8000, mean=mean)(torch.zeros(2, 8000), torch.tensor([8000, 0]))  # type: ignore[arg-type]
        assert frames.isfinite().all()


def test_there_is_no_other_mean() -> None:
    with pytest.raises(ValueError, match="mean must be"):
        LogMel(8000, mean="global")  # type: ignore[arg-type]


@pytest.mark.parametrize("frames", range(0, 40))
def test_as_many_steps_as_are_made(frames: int) -> None:
    steps = int(steps_of(torch.tensor(frames)))
    if frames >= REACH:
        assert Subsampling(20, 2, 8)(torch.randn(1, frames, 20)).shape == (1, steps, 8)
    else:
        assert steps == 0


def test_a_step_sees_seven_frames() -> None:
    subsampling = Subsampling(20, 4, 8).eval()
    frames = torch.randn(1, 60, 20, requires_grad=True)
    step = 5
    (seen,) = torch.autograd.grad(subsampling(frames)[0, step].square().sum(), frames)
    where = torch.where(seen[0].abs().sum(1) > 0)[0].tolist()
    assert where == list(range(STRIDE * step, STRIDE * step + REACH))
