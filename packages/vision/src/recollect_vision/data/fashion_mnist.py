"""Fashion-MNIST: grey images of ten kinds of clothing."""

from typing import final

from torchvision.datasets import FashionMNIST

from recollect.training import data_folder, fetch
from recollect_vision.data.classification import ImageData
from recollect_vision.data.image_set import StoredImages
from recollect_vision.data.splits import Splits

URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
SHA256 = {
    "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}


@final
class FashionMnistData(ImageData):
    """60,000 training and 10,000 test images of 28 × 28 pixels (Xiao et al. 2017, arXiv:1708.07747).

    Args: as in ``ImageData``.
    """

    def prepare_data(self) -> None:
        """Download what is missing, and unpack it."""
        root = data_folder("fashion-mnist")
        for name, sha256 in SHA256.items():
            fetch(URL + name, sha256, root / "FashionMNIST" / "raw")
        FashionMNIST(root, download=True)  # finds the archives and unpacks them

    def read(self) -> Splits:
        """See ``ImageData``."""
        train, test = (FashionMNIST(data_folder("fashion-mnist"), train=train) for train in (True, False))
        return Splits(
            list(train.classes),
            StoredImages(train.data.unsqueeze(1), train.targets, "train"),
            None,
            StoredImages(test.data.unsqueeze(1), test.targets, "test"),
        )
