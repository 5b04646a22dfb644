"""Image classification and few-shot learning with a memory of examples."""

from typing import TYPE_CHECKING

from recollect_cli.lazy import lazy_imports

if TYPE_CHECKING:
    from recollect_vision.data.character_folder import CharacterFolderData
    from recollect_vision.data.cifar10 import Cifar10Data
    from recollect_vision.data.classification import ImageData
    from recollect_vision.data.digits import DigitsData
    from recollect_vision.data.fashion_mnist import FashionMnistData
    from recollect_vision.data.few_shot import FewShotData
    from recollect_vision.data.folder import FolderData
    from recollect_vision.data.omniglot import OmniglotData
    from recollect_vision.models.backbone import Backbone
    from recollect_vision.models.convolutional import ConvolutionalBackbone
    from recollect_vision.models.pixels import Pixels
    from recollect_vision.models.resnet import SmallResNet
    from recollect_vision.models.torchvision_backbone import TorchvisionBackbone
    from recollect_vision.models.whitened_network import WhitenedNetwork
    from recollect_vision.tasks.classification import Classification
    from recollect_vision.tasks.few_shot import FewShot
    from recollect_vision.tasks.online_few_shot import OnlineFewShot
    from recollect_vision.tasks.optimization import FastBiasSGD, TriangularLR
    from recollect_vision.tasks.progressive_resizing import ProgressiveResizing
else:
    __getattr__, __dir__ = lazy_imports(__name__)

__all__ = [
    "Backbone",
    "CharacterFolderData",
    "Cifar10Data",
    "Classification",
    "ConvolutionalBackbone",
    "DigitsData",
    "FashionMnistData",
    "FastBiasSGD",
    "FewShot",
    "FewShotData",
    "FolderData",
    "ImageData",
    "OmniglotData",
    "OnlineFewShot",
    "Pixels",
    "ProgressiveResizing",
    "SmallResNet",
    "TorchvisionBackbone",
    "TriangularLR",
    "WhitenedNetwork",
]
