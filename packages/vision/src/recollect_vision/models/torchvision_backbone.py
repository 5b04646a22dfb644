"""Any torchvision classification network as a backbone."""

from typing import final

import torch
from torch import Tensor, nn
from torchvision import models

from recollect_vision.models.backbone import Backbone
from recollect_vision.types import ImageSizes


@final
class TorchvisionBackbone(Backbone):
    """A torchvision classification network without its last linear layer.

    Args:
        sizes: Size of the images; grey images are repeated in all three channels.
        name: Name of the network in torchvision, for example ``"resnet18"``.
        weights: Name of the pretrained weights, for example ``"DEFAULT"``, which torchvision downloads;
            random initialisation by default.
        memory_at: Name of the module that a memory augments; the last linear layer's place by default.

    Raises:
        ValueError: If torchvision has no such network, or it lacks a last linear layer or cannot take images
            this small.
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
        features: Tensor = output if isinstance(output, Tensor) else output[0]  # the others are auxiliary
        return features


def take_last_linear(network: nn.Module, name: str) -> tuple[str, int]:
    """Replace the last linear layer by an identity and return its name and number of input features.

    Raises:
        ValueError: If the network has no linear layer.
    """
    linear = [(path, part) for path, part in network.named_modules() if isinstance(part, nn.Linear)]
    if not linear:
        raise ValueError(f"{name} does not end in a linear layer")
    path, part = linear[-1]
    above, _, attribute = path.rpartition(".")
    setattr(network.get_submodule(above), attribute, nn.Identity())
    return path, part.in_features
