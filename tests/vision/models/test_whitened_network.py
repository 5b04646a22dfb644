"""The network whose first layer is known from the start."""

import pytest
import torch

from recollect_vision.models.whitened_network import WhitenedNetwork, whitening_filters
from recollect_vision.types import ImageSizes


def patterned(count: int = 200) -> torch.Tensor:
    """Coloured images whose neighbouring pixels resemble each other."""
    torch.manual_seed(0)
    coarse = torch.randn(count, 3, 5, 5)
    return torch.nn.functional.interpolate(coarse, (16, 16), mode="bilinear") + 0.3 * torch.randn(
        count, 3, 16, 16
    )


def test_whitened_patches_are_uncorrelated():
    images = patterned()
    whitened = torch.nn.functional.conv2d(images, whitening_filters(images, least=0.0))
    covariance = torch.cov(whitened.transpose(0, 1).flatten(1))
    torch.testing.assert_close(covariance, torch.eye(12), atol=1e-3, rtol=0)


def test_directions_of_no_variance_stay_finite():
    assert whitening_filters(torch.zeros(4, 1, 8, 8)).isfinite().all()


def test_the_first_layer_is_prepared_and_then_stays():
    network = WhitenedNetwork(ImageSizes(3, 16, 16), widths=(8, 8))
    network.prepare(patterned())
    first = network.whiten.weight.clone()
    torch.testing.assert_close(first[:12], -first[12:])
    optimizer = torch.optim.SGD((p for p in network.parameters() if p.requires_grad), lr=0.1)
    network(patterned(8)).square().mean().backward()
    optimizer.step()
    assert torch.equal(network.whiten.weight, first)
    assert network.whiten.bias.grad.abs().sum() > 0


def test_convolutions_begin_as_the_identity():
    network = WhitenedNetwork(ImageSizes(3, 16, 16), widths=(24,))
    x = torch.randn(2, 24, 6, 6)
    torch.testing.assert_close(network.stages[1](x), x)
    torch.testing.assert_close(network.stages[5](x), x)


@pytest.mark.parametrize(("size", "widths"), [(28, (4, 4, 4)), (9, (4, 6, 8)), (3, (5,))])
def test_features_have_the_last_width(size, widths):
    network = WhitenedNetwork(ImageSizes(1, size, size), widths=widths)
    assert network(torch.randn(2, 1, size, size)).shape == (2, widths[-1])


def test_a_residual_stage_has_a_third_convolution_and_adds_what_the_first_gave():
    plain, residual = (
        WhitenedNetwork(ImageSizes(1, 8, 8), widths=(8, 6), residual=wanted).eval()
        for wanted in (False, True)
    )
    third = sum(9 * width**2 + 2 * width for width in (8, 6))  # weights, scales and biases
    assert count(residual) - count(plain) == third
    first, stage = residual.stages[:5], residual.stages[5]
    torch.nn.init.zeros_(stage.convolutions[-2].weight)
    x = torch.randn(2, 8, 7, 7)
    torch.testing.assert_close(stage(first(x)), torch.nn.functional.gelu(first(x)))


def test_a_residual_network_learns_in_all_its_parts():
    network = WhitenedNetwork(ImageSizes(1, 8, 8), widths=(8, 6), residual=True)
    network(torch.randn(4, 1, 8, 8)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert not parameter.requires_grad or parameter.grad.abs().sum() > 0, name


def count(network: WhitenedNetwork) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"3 stages, each of which halves .* too many for images of 8 × 8"):
        WhitenedNetwork(ImageSizes(1, 8, 8))
    with pytest.raises(ValueError, match="widths must be"):
        WhitenedNetwork(ImageSizes(1, 8, 8), widths=())
