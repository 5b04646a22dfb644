"""Features that vary alike in all directions within classes."""

import pytest
import torch

from recollect_vision.models.class_whitening import ClassWhitening


def two_classes(count: int = 500) -> tuple[torch.Tensor, torch.Tensor]:
    """Far apart, and within each class one direction varies a hundred times as much as another."""
    torch.manual_seed(0)
    label = torch.arange(count) % 2
    turn = torch.linalg.qr(torch.randn(3, 3))[0]
    features = torch.randn(count, 3) * torch.tensor([10.0, 1.0, 0.1])
    return features @ turn + 50 * torch.nn.functional.one_hot(label, 3), label


def test_covariance_within_classes_becomes_the_identity_and_their_mean_zero():
    features, label = two_classes()
    whitening = ClassWhitening(3, shrinkage=1e-9)
    whitening.fit(features, label)
    z = whitening(features)
    means = torch.stack([z[label == c].mean(0) for c in (0, 1)])
    torch.testing.assert_close(means.mean(0), torch.zeros(3), atol=1e-2, rtol=0)
    apart = z - means[label]
    torch.testing.assert_close(apart.T @ apart / len(z), torch.eye(3), atol=1e-2, rtol=0)
    assert (means[0] - means[1]).norm() > 10


def test_more_shrinkage_moves_less():
    features, label = two_classes()
    spread = []
    for shrinkage in (1e-6, 0.1, 1e6):
        whitening = ClassWhitening(3, shrinkage)
        whitening.fit(features, label)
        deviations = torch.linalg.eigvalsh(whitening.transform)
        spread.append(float(deviations.max() / deviations.min()))
    assert spread[0] > spread[1] > spread[2] == pytest.approx(1, abs=1e-3)


def test_it_travels_in_the_checkpoint_and_begins_as_the_identity():
    features, label = two_classes()
    whitening = ClassWhitening(3)
    assert torch.equal(whitening(features), features)
    whitening.fit(features, label)
    again = ClassWhitening(3)
    again.load_state_dict(whitening.state_dict())
    assert torch.equal(again(features), whitening(features))


def test_one_example_of_each_class_is_only_centred():
    whitening = ClassWhitening(3)
    features = torch.eye(3)
    whitening.fit(features, torch.arange(3))
    torch.testing.assert_close(whitening(features), features - features.mean(0))


def test_shrinkage_must_be_positive():
    with pytest.raises(ValueError, match="shrinkage"):
        ClassWhitening(3, 0.0)
