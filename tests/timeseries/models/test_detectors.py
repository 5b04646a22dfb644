"""Detectors: streams, memory that is added to and forgotten from, and what the scores mean."""

import io
from functools import partial

import pytest
import torch

from recollect_timeseries.models.anomaly_detection import DetectorMemories, DetectorSizes, sliding_windows
from recollect_timeseries.models.memory_autoencoder import (
    AutoencoderConfig,
    ChannelPrototypes,
    MemoryAutoencoder,
)
from recollect_timeseries.models.memory_detector import MemoryDetector
from recollect_timeseries.models.patch_memory import PatchMemory, coreset
from recollect_timeseries.models.pca_detector import PcaDetector
from recollect_timeseries.models.random_detector import RandomDetector

SIZES = DetectorSizes(channels=2, window=6, columns=3, periods=(5, 7))


def wave(steps: int, seed: int = 0) -> torch.Tensor:
    noise = torch.randn(steps, 3, generator=torch.Generator().manual_seed(seed))
    return torch.sin(torch.arange(steps) / 2)[:, None] * torch.tensor([1.0, 0.5, -1.0]) + 0.05 * noise


PATCHES = DetectorMemories(partial(PatchMemory, coreset=40, slots=60))
BOTH = PATCHES._replace(prototypes=partial(ChannelPrototypes, prototypes=6, nearest=3))
NETWORK = AutoencoderConfig(hidden=8, code=4)

MAKERS = {
    "patches": lambda: MemoryDetector(SIZES, PATCHES),
    "both": lambda: MemoryDetector(SIZES, BOTH, NETWORK, span=4),
    "projected": lambda: MemoryDetector(
        SIZES, DetectorMemories(partial(PatchMemory, size=5, coreset=9, slots=9))
    ),
    "sub-pca": lambda: PcaDetector(SIZES, span=3),
    "pca": lambda: PcaDetector(SIZES, windows=False, variance=0.9),
    "random": lambda: RandomDetector(SIZES),
}


@pytest.fixture(params=MAKERS)
def detector(request):
    return ready(MAKERS[request.param]())


def ready(detector):
    torch.manual_seed(0)
    normal = [wave(80), wave(70, seed=1)]
    train = [values[:60] for values in normal]
    detector.fit(train, normal)
    detector.calibrate(train, normal, 0.99)
    return detector


# --- streams ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [[1] * 10 + [20], [7, 1, 22], [0, 30]], ids=str)
def test_a_stream_gives_what_one_pass_gives(detector, sizes):
    values = wave(30, seed=5)
    values[20] += 3
    for channel in (0, 1):
        whole, _ = detector(values, channel)
        state, pieces = detector.initial_state(channel), []
        for part in values.split(sizes):
            scores, state = detector(part, channel, state)
            pieces.append(scores)
        torch.testing.assert_close(torch.cat(pieces), whole)


def test_a_score_knows_nothing_of_what_comes_later(detector):
    values, other = wave(30, seed=5), wave(30, seed=5)
    other[20:] += 9
    torch.testing.assert_close(detector(values)[0][:20], detector(other)[0][:20])


def test_the_state_is_a_value_that_can_be_saved(detector):
    _, state = detector(wave(10), 1)
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    again = torch.load(file, weights_only=True)
    first = detector(wave(9, seed=3), 1, state)[0]
    torch.testing.assert_close(detector(wave(9, seed=3), 1, again)[0], first)
    torch.testing.assert_close(detector(wave(9, seed=3), 1, state)[0], first)  # it was not changed


def test_a_trained_detector_travels_in_its_state_dict(detector, request):
    fresh = MAKERS[request.node.callspec.params["detector"]]()
    fresh.load_state_dict(detector.state_dict())
    torch.testing.assert_close(fresh(wave(30, seed=4), 1)[0], detector(wave(30, seed=4), 1)[0])


def test_before_there_is_a_whole_window_the_score_is_zero():
    scores, _ = ready(MAKERS["both"]())(wave(12))
    assert scores[:5].tolist() == [0] * 5
    assert (scores[5:] > 0).all()


def test_the_span_is_a_mean_of_the_scores_so_far():
    one, four = ready(MAKERS["patches"]()), ready(MemoryDetector(SIZES, PATCHES, span=4))
    four.load_state_dict(one.state_dict())
    single, averaged = one(wave(15, seed=2))[0], four(wave(15, seed=2))[0]
    torch.testing.assert_close(averaged[5:9], single[5:9].cumsum(0) / torch.arange(1, 5))
    torch.testing.assert_close(averaged[8:], single[5:].unfold(0, 4, 1).mean(-1))


def test_other_numbers_of_columns_are_refused(detector):
    if not isinstance(detector, RandomDetector):
        with pytest.raises(ValueError, match=r"\(T, 3\)"):
            detector(torch.zeros(4, 2))


# --- the memory of what is normal -------------------------------------------------------------------------


def test_the_score_is_the_distance_to_the_nearest_patch():
    memory = PatchMemory(SIZES, coreset=100, slots=100)
    memory.fit([wave(50), wave(50, seed=1)])
    patches = memory.embed(sliding_windows(wave(40, seed=7), 6))
    expected = torch.cdist(patches, memory.embed(sliding_windows(wave(50), 6))).amin(1) / 18**0.5
    torch.testing.assert_close(memory.score(patches, memory.state(0)), expected, rtol=1e-3, atol=1e-4)


def test_channels_remember_apart():
    memory = PatchMemory(SIZES, coreset=100, slots=100)
    memory.fit([wave(50), 9 + wave(50)])
    own, other = (
        memory.score(memory.embed(sliding_windows(wave(50), 6)), memory.state(g)).max() for g in (0, 1)
    )
    assert own < 1e-2
    assert other > 5


def test_what_is_written_is_normal_and_what_is_erased_is_not():
    detector = ready(MAKERS["patches"]())
    strange = 2 * torch.randn(6, 3, generator=torch.Generator().manual_seed(9))
    usual, state = wave(40, seed=8), detector.initial_state(0)

    def highest(values, state):
        return detector(values, 0, detector.initial_state(0)._replace(memory=state.memory))[0].max()

    before, calm = highest(strange, state), highest(usual, state)
    taught = detector.write(state, strange.unsqueeze(0))
    assert before > detector.threshold[0]
    assert highest(strange, taught) < 1e-2 * before
    forgot = detector.erase(taught, strange.unsqueeze(0))
    torch.testing.assert_close(highest(strange, forgot), before)
    torch.testing.assert_close(highest(usual, forgot), calm)  # nothing else is forgotten
    torch.testing.assert_close(highest(strange, state), before)  # nor has the first state changed


def test_all_that_is_near_can_be_forgotten_at_once():
    detector = ready(MAKERS["patches"]())
    state = detector.initial_state(0)
    fewer = detector.erase(state, sliding_windows(wave(80), 6)[10:11], radius=0.3)
    left, there = ((s.memory.presence > 0).sum() for s in (fewer, state))
    assert 0 < left < there - 1
    none = detector.erase(state, sliding_windows(wave(80), 6), radius=100.0)
    assert not none.memory.presence.any()
    assert detector(wave(10), 0, none)[0].isfinite().all()


def test_a_detector_without_patches_cannot_be_written_to():
    detector = ready(MemoryDetector(SIZES, autoencoder=NETWORK))
    with pytest.raises(ValueError, match="no memory of patches"):
        detector.write(detector.initial_state(), torch.zeros(1, 6, 3))
    with pytest.raises(ValueError, match="a memory of patches, an autoencoder, or both"):
        MemoryDetector(SIZES)
    with pytest.raises(ValueError, match="needs an autoencoder"):
        MemoryDetector(SIZES, BOTH)


def test_pca_and_random_scores_take_no_memory():
    for kind in (PcaDetector, RandomDetector):
        with pytest.raises(ValueError, match=f"{kind.__name__} takes no memory"):
            kind(SIZES, PATCHES)


def test_a_coreset_leaves_nothing_far_away():
    points = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    reach = torch.cdist(points, points[coreset(points, 20)]).amin(1).max()
    assert reach < torch.cdist(points, points[:20]).amin(1).max() / 2
    assert coreset(points[:5], 9).tolist() == [0, 1, 2, 3, 4]


# --- what the parts do ------------------------------------------------------------------------------------


def test_what_is_rebuilt_is_made_of_remembered_items():
    items = partial(ChannelPrototypes, prototypes=3, nearest=1)
    network = MemoryAutoencoder(SIZES, NETWORK, items)
    windows = sliding_windows(wave(40), 6)[:, :, :].unsqueeze(0)
    reconstruction, read = network(windows, 1)
    assert len(torch.unique(reconstruction.flatten(2)[0].round(decimals=4), dim=0)) <= 3
    assert read.weights.shape[-1] == 1
    plain = MemoryAutoencoder(SIZES, NETWORK)
    assert plain(windows, 1)[1] is None
    assert len(torch.unique(plain(windows, 1)[0].flatten(2)[0], dim=0)) > 20


def test_the_autoencoder_learns_each_channel_and_its_items():
    torch.manual_seed(0)
    items = partial(ChannelPrototypes, prototypes=16, nearest=4)
    network = MemoryAutoencoder(SIZES, AutoencoderConfig(16, 4), items)
    windows = torch.stack([sliding_windows(wave(60), 6), sliding_windows(-2 * wave(60, seed=1), 6)], 1)
    optimizer, losses = torch.optim.Adam(network.parameters(), lr=2e-2), []
    for _ in range(60):
        loss = network.loss(windows)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 * losses[0]
    assert network.memory.items.grad.abs().sum() > 0
    odd = torch.randn(20, 6, 3, generator=torch.Generator().manual_seed(3))
    assert network.score(odd, 0).mean() > 4 * network.score(windows[:, 0], 0).mean()


def test_one_channel_alone_is_that_channel_among_others():
    network = MemoryAutoencoder(SIZES, NETWORK, BOTH.prototypes)
    windows = torch.randn(2, 5, 6, 3)
    torch.testing.assert_close(network(windows)[0][1:], network(windows[1:], 1)[0])


def test_pca_is_the_formula_of_its_definition():
    detector, values = PcaDetector(SIZES._replace(channels=1), windows=False), wave(200)
    detector.fit([values], [values])
    scaled = (values - values.mean(0)) / values.std(0, correction=0)
    _, singular, directions = torch.linalg.svd(scaled.double(), full_matrices=False)
    directions *= directions.gather(1, directions.abs().argmax(1, keepdim=True)).sign()
    shares = singular.square() / singular.square().sum()
    expected = (torch.cdist(scaled.double(), directions) / shares).sum(-1)
    found = detector(values)[0]
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-3)


def test_pca_takes_as_many_directions_as_the_variance_asks_for():
    values = torch.randn(400, 3, generator=torch.Generator().manual_seed(0)) @ torch.diag(torch.ones(3))
    few, all_ = (
        PcaDetector(SIZES._replace(channels=1), windows=False, variance=share) for share in (0.5, 1.0)
    )
    for detector in (few, all_):
        detector.fit([values], [values])
    assert (few.weights_0 > 0).sum() == 2
    assert (all_.weights_0 > 0).sum() == 3


def test_a_period_longer_than_the_series_is_refused():
    detector = PcaDetector(SIZES._replace(periods=(99, 99)))
    with pytest.raises(ValueError, match="no more than its period of 99"):
        detector.fit([wave(50)] * 2, [wave(50)] * 2)


def test_random_scores_are_even_and_differ_by_channel_and_seed():
    values = torch.zeros(20_000, 3)
    scores = RandomDetector(SIZES)(values, 0)[0]
    assert abs(float(scores.mean()) - 0.5) < 0.01
    assert abs(float(torch.corrcoef(torch.stack([scores[1:], scores[:-1]]))[0, 1])) < 0.03
    assert (scores != RandomDetector(SIZES)(values, 1)[0]).any()
    assert (scores != RandomDetector(SIZES, seed=1)(values, 0)[0]).any()


@pytest.mark.parametrize("name", ["both", "pca", "sub-pca"])
def test_a_constant_series_gets_finite_scores(name):
    detector, flat = MAKERS[name](), torch.zeros(40, 3)
    detector.fit([flat[:30]] * 2, [flat] * 2)
    detector.calibrate([flat[:30]] * 2, [flat] * 2, 0.99)
    jump = torch.cat([flat, flat[:9] + 1])
    scores, _ = detector(jump)
    assert scores.isfinite().all()
    assert torch.isfinite(detector.threshold).all()


def test_the_threshold_is_that_of_held_out_normal_data():
    detector, normal = MemoryDetector(SIZES._replace(channels=1), PATCHES), wave(400)
    detector.fit([normal[:250]], [normal])
    detector.calibrate([normal[:250]], [normal], 0.9)
    calm, _ = detector(wave(400, seed=11))
    assert 0.02 < (calm > detector.threshold[0]).float().mean() < 0.25
