"""Images in idx files: MNIST's format, read as a folder of images is."""

import gzip
from pathlib import Path

import pytest
import torch

from recollect.training import DataError
from recollect_vision.data.folder import FolderData
from recollect_vision.data.idx import idx_splits, read_idx


def write(path: Path, values: torch.Tensor, cut: int = 0) -> None:
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    content = bytes((0, 0, 8, values.dim())) + sizes + values.to(torch.uint8).numpy().tobytes()
    content = content[: len(content) - cut]
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def make(folder: Path, prefix: str = "", suffix: str = "", tests: str = "t10k") -> torch.Tensor:
    images = torch.arange(40 * 6 * 5).reshape(40, 6, 5) % 256
    for split in ("train", tests):
        write(folder / f"{prefix}{split}-images-idx3-ubyte{suffix}", images)
        write(folder / f"{prefix}{split}-labels-idx1-ubyte{suffix}", torch.arange(40) % 2 * 7 + 1)
    return images


@pytest.mark.parametrize(
    ("prefix", "suffix", "tests"), [("", "", "t10k"), ("emnist-letters-", ".gz", "test")]
)
def test_a_folder_of_idx_files_is_a_folder_of_images(
    tmp_path: Path, prefix: str, suffix: str, tests: str
) -> None:
    images = make(tmp_path, prefix, suffix, tests)
    splits = FolderData(path=tmp_path, size=6, channels=3).splits
    assert splits.classes == ["1", "8"]
    assert splits.test is not None
    assert splits.train.labels.tolist() == [0, 1] * 20
    assert splits.train.image(3).shape == (3, 6, 6)
    torch.testing.assert_close(read_idx(idx_splits(tmp_path)["train"], 3).long(), images)


def test_what_is_no_such_file_is_named(tmp_path: Path) -> None:
    make(tmp_path)
    write(tmp_path / "train-labels-idx1-ubyte", torch.arange(39) % 2)
    with pytest.raises(DataError, match=r"has 40 images, but .*train-labels-idx1-ubyte 39 labels"):
        _ = FolderData(path=tmp_path, size=6).splits
    write(tmp_path / "train-images-idx3-ubyte", torch.zeros(40, 6, 5), cut=7)
    with pytest.raises(DataError, match="has 1193 bytes where 40 × 6 × 5 are announced"):
        _ = FolderData(path=tmp_path, size=6).splits
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"\0\0\x0d\x03")
    with pytest.raises(DataError, match="is not an idx file of bytes with 3 dimensions"):
        _ = FolderData(path=tmp_path, size=6).splits
    (tmp_path / "train-images-idx3-ubyte").unlink()
    with pytest.raises(DataError, match="no file of images to train on"):
        _ = FolderData(path=tmp_path, size=6).splits


def test_several_sets_in_a_folder_are_refused(tmp_path: Path) -> None:
    make(tmp_path)
    make(tmp_path, "emnist-")
    with pytest.raises(DataError, match="has several files of images for"):
        idx_splits(tmp_path)
