"""Any network of torchvision's as a backbone."""

from typing import final

import torch
from torch import Tensor, nn
from torchvision import models

from recollect_vision.models.backbone import Backbone
from recollect_vision.types import ImageSizes


@final
class TorchvisionBackbone(Backbone):
    """A classification network of torchvision's, without its last layer.

    Args:
        sizes: What it is made for; grey images are given to all three colours.
        name: Its name in torchvision, ``"resnet18"`` for instance.
        weights: Name of the weights that it begins with, ``"DEFAULT"`` for instance, which torchvision
            downloads; random by default.
        memory_at: Name of the part of it that takes a memory; the one that makes the features by default.

    Raises:
        ValueError: If there is no such network, or it has no last linear layer or takes no images this small.
    """

    def __init__(
        self, sizes: ImageSizes, name: str, weights: str | None = None, memory_at: str | None = None
    ) -> None:
        if name not in models.list_models(module=models):
            raise ValueError(
                f"torchvision has no classification network called {name!r}; it has "
                f"{', '.join(models.list_models(module=models))}"
            )
        network = models.get_model(name, weights=weights)
        last, width = take_last_linear(network, name)
        super().__init__(sizes, width)
        self.network = network
        self.memory_at = f"network.{memory_at or last}"
        self.eval()
        try:
            with torch.no_grad():
                self(torch.zeros(1, *sizes))
        except (RuntimeError, AssertionError, ValueError) as error:
            raise ValueError(
                f"{name} cannot take images of {sizes.height} × {sizes.width}: {error}"
            ) from error
        self.train()

    def forward(self, images: Tensor) -> Tensor:
        """See ``Backbone``."""
        output = self.network(images.expand(-1, 3, -1, -1))
        features: Tensor = output if isinstance(output, Tensor) else output[0]  # others help in training only
        return features


def take_last_linear(network: nn.Module, name: str) -> tuple[str, int]:
    """Put an identity in place of the last linear layer: where that stood, how many features it took.

    Raises:
        ValueError: If there is none.
    """
    linear = [(path, part) for path, part in network.named_modules() if isinstance(part, nn.Linear)]
    if not linear:
        raise ValueError(f"{name} does not end in a linear layer")
    path, part = linear[-1]
    above, _, attribute = path.rpartition(".")
    setattr(network.get_submodule(above), attribute, nn.Identity())
    return path, part.in_features
