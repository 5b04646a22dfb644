"""Backbones make one feature of each image."""

import pytest
import torch

from recollect_vision.models.resnet import SmallResNet
from recollect_vision.models.torchvision_backbone import TorchvisionBackbone
from recollect_vision.types import ImageSizes


@pytest.mark.parametrize("sizes", [ImageSizes(1, 8, 8), ImageSizes(3, 33, 20)])
@pytest.mark.parametrize("blocks", [(1, 1), (0,), (1, 2, 1)])
def test_a_small_resnet_takes_any_size(sizes, blocks):
    network = SmallResNet(sizes, width=4, blocks=blocks)
    assert network(torch.randn(2, *sizes)).shape == (2, network.feature_size)


def test_a_small_resnet_of_the_published_shape_has_its_layers():
    network = SmallResNet(ImageSizes(3, 32, 32), width=64, blocks=(1, 0, 1))
    convolutions = [part for part in network.modules() if isinstance(part, torch.nn.Conv2d)]
    assert len(convolutions) == 8  # and a linear layer is the ninth
    assert network.feature_size == 512


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "mobilenet_v3_small"])
def test_networks_of_torchvision_give_what_their_last_layer_took(name):
    sizes = ImageSizes(1, 32, 32)
    if name == "squeezenet1_1":
        with pytest.raises(ValueError, match="does not end in a linear layer"):
            TorchvisionBackbone(sizes, name)
        return
    backbone = TorchvisionBackbone(sizes, name)
    assert backbone.training
    assert backbone.eval()(torch.randn(2, *sizes)).shape == (2, backbone.feature_size)


def test_what_torchvision_does_not_have_is_named():
    with pytest.raises(ValueError, match="no classification network called 'resnet19'"):
        TorchvisionBackbone(ImageSizes(3, 32, 32), "resnet19")


def test_images_that_are_too_small_are_refused():
    with pytest.raises(ValueError, match="alexnet cannot take images of 8 × 8"):
        TorchvisionBackbone(ImageSizes(3, 8, 8), "alexnet")


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="width must be at least 1"):
        SmallResNet(ImageSizes(1, 8, 8), width=0)
