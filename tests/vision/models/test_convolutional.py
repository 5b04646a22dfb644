"""Sizes as promised; in evaluation no image has a part in another's feature."""

import pytest
import torch

from recollect_vision.models.convolutional import ConvolutionalBackbone
from recollect_vision.models.pixels import Pixels
from recollect_vision.types import ImageSizes


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, 64),
        ({"keep_edges": True}, 256),
        ({"channels": [4, 8], "residual": [0, 1]}, 8 * 49),
        ({"channels": [4, 8, 6], "keep_edges": True}, 6 * 16),
    ],
)
def test_the_feature_is_as_wide_as_it_says(options, size):
    backbone = ConvolutionalBackbone(ImageSizes(1, 28, 28), **options)
    assert backbone.feature_size == size
    assert backbone(torch.rand(3, 1, 28, 28)).shape == (3, size)
    assert backbone.get_submodule(backbone.memory_at) is backbone.blocks[-1]


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_feature_does_not_depend_on_the_batch_in_evaluation(precision):
    torch.manual_seed(0)
    backbone = ConvolutionalBackbone(ImageSizes(1, 28, 28), [8, 8, 8], residual=[1])
    for _ in range(3):
        backbone(torch.rand(16, 1, 28, 28))
    backbone.eval()
    images = torch.rand(8, 1, 28, 28)
    with torch.no_grad(), torch.autocast("cpu", precision, enabled=precision is torch.bfloat16):
        together = backbone(images)
        alone = torch.cat([backbone(image.unsqueeze(0)) for image in images])
    assert torch.allclose(together, alone, atol=1e-5 if precision is torch.float32 else 5e-2)


def test_a_residual_convolution_begins_without_effect():
    torch.manual_seed(0)
    plain = ConvolutionalBackbone(ImageSizes(1, 12, 12), [4, 4])
    residual = ConvolutionalBackbone(ImageSizes(1, 12, 12), [4, 4], residual=[0])
    residual.load_state_dict(plain.state_dict(), strict=False)
    images = torch.rand(5, 1, 12, 12)
    assert torch.equal(plain(images), residual(images))


def test_too_many_blocks_are_refused():
    with pytest.raises(ValueError, match="28 × 28 pixels to nothing"):
        ConvolutionalBackbone(ImageSizes(1, 28, 28), [4] * 5)
    ConvolutionalBackbone(ImageSizes(1, 28, 28), [4] * 5, keep_edges=True)
    with pytest.raises(ValueError, match="channels"):
        ConvolutionalBackbone(ImageSizes(1, 28, 28), [])
    with pytest.raises(ValueError, match="residual"):
        ConvolutionalBackbone(ImageSizes(1, 28, 28), residual=[4])


def test_pixels_are_the_image():
    images = torch.rand(2, 1, 3, 5)
    assert torch.equal(Pixels(ImageSizes(1, 3, 5))(images), images.flatten(1))
