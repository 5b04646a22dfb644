"""The gate that fit_gate chooses: helpful where the memory is, shut where it is not."""

from functools import cache

import pytest
import torch
from torch import nn

from recollect import (
    Interpolation,
    NeighborMemory,
    VectorStorage,
    augment,
    fit_gate,
    remember,
    without_memory,
)

D, CLASSES = 8, 5


def clusters(seed, classes, count=60, spread=0.3):
    """Points around one centre for each class."""
    centres = 2 * torch.randn(CLASSES, 3, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(seed)
    y = torch.tensor(classes)[torch.randint(len(classes), (count,), generator=generator)]
    return centres[y] + spread * torch.randn(count, 3, generator=generator), y


@cache
def weights():
    """Weights of a network that was trained on three of the five classes."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, D), nn.Tanh(), nn.Linear(D, CLASSES))
    x, y = clusters(1, (0, 1, 2), 200)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model.state_dict()


def trained(make_model, gate):
    """A model trained on three of the five classes, with an empty memory."""
    model = make_model(VectorStorage(D, 1, slots=512), gate=gate)
    model.load_state_dict(weights(), strict=False)
    return model


def loss(model, data):
    """Mean cross-entropy."""
    with torch.no_grad():
        return nn.functional.cross_entropy(model(data[0]), data[1])


@pytest.mark.parametrize("gate", ["fitted", "adaptive"])
def test_the_gate_opens_for_new_classes(make_model, gate):
    model, everything = trained(make_model, gate), range(CLASSES)
    remember(model, *clusters(2, everything, 100))
    with without_memory(model):
        alone = loss(model, clusters(3, everything))
        before = loss(model, clusters(4, everything))
    report = fit_gate(model, [clusters(3, everything)])
    assert report.helps
    assert "helps" in str(report)
    assert report.loss_with < report.loss_without == pytest.approx(float(alone), rel=1e-4)
    assert loss(model, clusters(4, everything)) < 0.5 * before


@pytest.mark.parametrize("gate", ["fitted", "adaptive"])
def test_a_memory_of_nonsense_is_switched_off(make_model, gate):
    """Never worse at home than the model alone: the weight is zero, and the logits are the model's own."""
    model, known = trained(make_model, gate), (0, 1, 2)
    x, y = clusters(2, known, 100)
    with torch.no_grad():
        before = model(x)
    remember(model, x, (y + 1) % 3)
    report = fit_gate(model, [clusters(3, known)])
    assert not report.helps
    assert "adds nothing" in str(report)
    assert report.weight == 0
    with torch.no_grad():
        assert torch.equal(model(x), before)


def test_an_adaptive_gate_tells_home_from_abroad(make_model):
    """It opens where the memory is near, and stays shut at home."""
    model = trained(make_model, "adaptive")
    remember(model, *clusters(2, (3, 4), 100))
    x, y = clusters(3, range(CLASSES), 300)
    fit_gate(model, [(x, y)])
    model(x)
    weight = model[2].memory.last.weight
    assert weight[y >= 3].mean() > 0.8
    assert weight[y < 3].mean() < 0.1


@pytest.mark.thorough
def test_fitted_twice_gives_the_same(make_model):
    model = trained(make_model, "adaptive")
    remember(model, *clusters(2, range(CLASSES), 100))
    validation = [clusters(3, range(CLASSES))]
    assert fit_gate(model, validation) == fit_gate(model, validation)


def test_a_checkpoint_keeps_the_choice(make_model):
    model = trained(make_model, "fitted")
    remember(model, *clusters(2, range(CLASSES), 100))
    fit_gate(model, [clusters(3, range(CLASSES))], ks=(2,))
    other = make_model(VectorStorage(D, 1, slots=512), gate="fitted")
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(clusters(4, range(CLASSES))[0]), model(clusters(4, range(CLASSES))[0]))


def test_sequences_and_ignored_targets_count_by_item():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, D), nn.Linear(D, CLASSES))
    memory = NeighborMemory(D, VectorStorage(D, 1, slots=512), classes=CLASSES)
    augment(model, at="1", memory=memory, integration=Interpolation)
    x, y = clusters(2, range(CLASSES), 120)
    remember(model, x, y)
    x, y = (rows.reshape(10, 12, *rows.shape[1:]) for rows in clusters(3, range(CLASSES), 120))
    y = y.clone()
    y[:, 0] = -100
    report = fit_gate(model, [(x[:5], y[:5]), (x[5:], y[5:])])
    assert report.items == 10
    assert report.helps


def test_vectors():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, D), nn.Linear(D, 2))
    memory = NeighborMemory(D, VectorStorage(D, 2, slots=512))
    augment(model, at="1", memory=memory, integration=Interpolation)
    x, y = clusters(2, range(CLASSES), 120)
    target = torch.stack([y, y**2], -1).float()
    remember(model, x[:60], target[:60])
    report = fit_gate(model, [(x[60:], target[60:])])
    assert report.helps
    assert report.loss_with < 0.2 * report.loss_without


def test_an_empty_memory_is_no_help(make_model):
    model = trained(make_model, "fitted")
    report = fit_gate(model, [clusters(3, (0, 1, 2))])
    assert not report.helps
    assert report.loss_with == report.loss_without


def test_bad_input(make_model):
    model = trained(make_model, "fitted")
    x, y = clusters(3, (0, 1, 2))
    with pytest.raises(ValueError, match="at least 4 validation items, got 3"):
        fit_gate(model, [(x[:3], y[:3])])
    with pytest.raises(ValueError, match="no validation data"):
        fit_gate(model, [])
    with pytest.raises(ValueError, match=r"targets \(59,\)"):
        fit_gate(model, [(x, y[1:])])
    with pytest.raises(ValueError, match="ks must name"):
        fit_gate(model, [(x, y)], ks=())
