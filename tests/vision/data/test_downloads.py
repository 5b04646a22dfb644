"""Official files are fetched from where they are, checked, and read by torchvision."""

import hashlib
import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest

from recollect.training.errors import DataError, DownloadError
from recollect_vision.data import cifar10, fashion_mnist
from recollect_vision.data.cifar10 import Cifar10Data
from recollect_vision.data.fashion_mnist import FashionMnistData


def archive_of_cifar(count: int = 20) -> bytes:
    """An archive of CIFAR-10's form, with ``count`` images in each of its six parts."""
    buffer = io.BytesIO()
    random = np.random.default_rng(0)
    names = [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]
    labels = [n % 10 for n in range(count)]
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        parts = {
            name: {"data": random.integers(0, 255, (count, 3072), dtype=np.uint8), "labels": labels}
            for name in names
        }
        parts["batches.meta"] = {"label_names": [f"class{n}" for n in range(10)]}
        for name, content in parts.items():
            data = pickle.dumps(content)
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture
def served(monkeypatch, tmp_path, serve) -> None:
    """An archive of CIFAR-10's form from a local server."""
    content = archive_of_cifar()
    monkeypatch.setenv("RECOLLECT_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(cifar10, "URL", serve({"cifar-10-python.tar.gz": content}) + "cifar-10-python.tar.gz")
    monkeypatch.setattr(cifar10, "SHA256", hashlib.sha256(content).hexdigest())
    # torchvision's own checksums are those of the real files.
    monkeypatch.setattr(cifar10.CIFAR10, "tgz_md5", hashlib.md5(content).hexdigest())
    monkeypatch.setattr(cifar10.CIFAR10, "_check_integrity", lambda self: unpacked(self.root))
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, md5: True)


def unpacked(root: str) -> bool:
    return (Path(root) / "cifar-10-batches-py" / "batches.meta").exists()


def test_cifar10_is_fetched_unpacked_and_read(served):
    data = Cifar10Data(batch_size=4)
    data.prepare_data()
    assert data.splits.classes == [f"class{n}" for n in range(10)]
    assert [len(data.part(split)) for split in ("train", "test")] == [100, 20]
    assert data.part("train").image(0).shape == (3, 32, 32)
    assert not data.notes


def test_a_download_that_is_another_file_is_refused(served, monkeypatch):
    monkeypatch.setattr(cifar10, "SHA256", "0" * 64)
    with pytest.raises(DownloadError, match=r"cifar-10-python\.tar\.gz could not be fetched"):
        Cifar10Data().prepare_data()


def test_a_copy_in_files_is_read_and_said_to_be_one(monkeypatch, tmp_path, write_images):
    monkeypatch.setenv("RECOLLECT_DATA", str(tmp_path))
    for split in ("train", "test"):
        write_images(f"cifar10/{split}")
    data = Cifar10Data(batch_size=4)
    data.prepare_data()
    assert len(data.part("train")) == 36
    assert any("JPEG" in note for note in data.notes)


def test_a_damaged_file_of_fashion_mnist_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("RECOLLECT_DATA", str(tmp_path))
    raw = tmp_path / "fashion-mnist" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte.gz").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz has sha256"):
        FashionMnistData().prepare_data()


def test_fashion_mnist_names_what_could_not_be_fetched(monkeypatch, tmp_path, serve):
    monkeypatch.setenv("RECOLLECT_DATA", str(tmp_path))
    monkeypatch.setattr(fashion_mnist, "URL", serve({}))
    with pytest.raises(DownloadError, match=r"train-images-idx3-ubyte\.gz.*\nTo put it there by hand"):
        FashionMnistData().prepare_data()
