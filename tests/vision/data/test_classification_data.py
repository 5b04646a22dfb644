"""Splits, statistics, classes that are left out, and what goes wrong in folders of images."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import RandomErasing

from recollect.training import DataError
from recollect.training.errors import ArgumentError
from recollect_vision.data import image_set
from recollect_vision.data.digits import DigitsData
from recollect_vision.data.folder import FolderData
from recollect_vision.data.image_set import ImageFiles, decode
from recollect_vision.types import ImageSizes


def folder(path, **settings) -> FolderData:
    return FolderData(batch_size=4, path=path, size=8, **settings)


def test_splits_share_no_image_and_have_every_class(write_images):
    data = folder(write_images())
    images = {
        split: [data.part(split).name(n) for n in data.numbers[split]] for split in ("train", "val", "test")
    }
    names = [name for split in images.values() for name in split]
    assert len(names) == len(set(names)) == 36
    for split in images.values():
        assert {name.split("/")[-2] for name in split} == {"red", "green", "blue"}


def test_the_test_split_is_the_same_for_every_seed(write_images):
    path = write_images()
    first, second = (folder(path, seed=seed) for seed in (0, 1))
    assert [first.part("test").name(n) for n in first.numbers["test"]] == [
        second.part("test").name(n) for n in second.numbers["test"]
    ]
    assert first.numbers["val"] != second.numbers["val"]


def test_official_splits_are_kept(write_images):
    write_images("own/train")
    write_images("own/valid", count=3)
    data = folder(write_images("own/test", count=5).parent)
    assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [36, 9, 15]


def test_batches_are_normalised_by_the_training_split(write_images):
    data = folder(write_images())
    data.fitted  # noqa: B018
    pixels = torch.cat([batch.images for batch in data.train_dataloader()])
    torch.testing.assert_close(pixels.mean((0, 2, 3)), torch.zeros(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(pixels.pow(2).mean((0, 2, 3)).sqrt(), torch.ones(3), atol=1e-3, rtol=0)
    original = data.part("train").image(0).float() / 255
    normalized = data.normalized(data.part("train").image(0).unsqueeze(0))
    torch.testing.assert_close(data.denormalized(normalized)[0], original)


def test_statistics_come_from_the_training_split_alone(write_images):
    path = write_images("own/train").parent
    write_images("own/test", count=2)
    before = folder(path).fitted
    for file in (path / "test").rglob("*.png"):
        Image.new("RGB", (12, 12), (255, 255, 255)).save(file)
    assert folder(path).fitted == before


def test_classes_that_are_left_out_come_last_and_in_no_split(write_images):
    data = folder(write_images(), leave_out=["green"])
    assert data.splits.classes == ["blue", "red", "green"]
    assert data.classes == ["blue", "red"]
    for split in ("train", "val", "test"):
        labels = {label for _, label, _ in data.dataset(split)}
        assert labels == {0, 1}
    assert data.part("train").name(0).split("/")[-2] == "blue"
    assert int(data.part("train").labels[data.part("train").labels == 2].numel()) > 0


@pytest.mark.parametrize(
    ("leave_out", "message"),
    [(["pink"], "names pink, but the classes are"), (["red", "green"], "fewer than two classes")],
)
def test_what_cannot_be_left_out_is_named(write_images, leave_out, message):
    with pytest.raises(ArgumentError, match=message):
        folder(write_images(), leave_out=leave_out).splits  # noqa: B018


def test_examples_are_training_images_and_as_many_of_each_class(write_images):
    data = folder(write_images())
    chosen = data.example_numbers(3)
    assert data.part("train").labels[chosen].bincount().tolist() == [3, 3, 3]
    assert set(chosen) <= set(data.numbers["train"])
    assert chosen == data.example_numbers(3)


def test_augmentation_is_of_training_images_only(write_images):
    data = folder(write_images(), augmentation=[RandomErasing(p=1.0, scale=(0.5, 0.5), ratio=(1.0, 1.0))])
    assert data.dataset("train")[0][0].eq(0).any()
    assert torch.equal(data.dataset("val")[0][0], data.dataset("val")[0][0])
    assert not data.dataset("val").augmentation


def test_images_of_any_size_are_cut_to_their_middle(tmp_path):
    pixels = np.zeros((10, 30, 3), dtype=np.uint8)
    pixels[:, 10:20] = 255
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    assert decode(tmp_path / "wide.png", ImageSizes(3, 10, 10)).eq(255).all()
    assert decode(tmp_path / "wide.png", ImageSizes(1, 4, 4)).shape == (1, 4, 4)


def test_grey_images_among_coloured_ones_get_three_channels(write_images):
    path = write_images()
    Image.open(path / "red" / "000.png").convert("L").save(path / "red" / "000.png")
    data = folder(path)
    assert all(image.shape == (3, 8, 8) for image, _, _ in data.dataset("train"))
    assert folder(path, channels=1).dataset("train")[0][0].shape == (1, 8, 8)


@pytest.mark.parametrize("damage", ["empty", "text", "cut"])
def test_a_damaged_image_is_named(write_images, damage):
    path = write_images()
    file = path / "green" / "003.png"
    content = file.read_bytes()
    file.write_bytes({"empty": b"", "text": b"no image", "cut": content[: len(content) // 2]}[damage])
    with pytest.raises(DataError, match=r"green/003\.png is not an image that can be read"):
        folder(path).splits  # noqa: B018


def test_images_that_are_not_kept_are_decoded_again(write_images, monkeypatch):
    path = write_images() / "red"
    paths, labels = sorted(path.glob("*.png")), torch.zeros(12, dtype=torch.int64)
    kept = ImageFiles(ImageSizes(3, 8, 8), paths, labels)
    monkeypatch.setattr(image_set, "CACHE_BYTES", 0)
    lazy = ImageFiles(ImageSizes(3, 8, 8), paths, labels)
    assert all(torch.equal(kept.image(n), lazy.image(n)) for n in range(12))


def test_a_folder_of_one_class_is_refused(write_images):
    with pytest.raises(DataError, match=r"own has only one class, red"):
        folder(write_images(classes=["red"])).splits  # noqa: B018


def test_an_empty_class_is_named(write_images):
    path = write_images()
    (path / "black").mkdir()
    with pytest.raises(DataError, match=r"own has no images of black"):
        folder(path).splits  # noqa: B018


def test_a_class_that_is_missing_in_validation_is_named(write_images):
    write_images("own/train")
    path = write_images("own/val", classes=("red", "green"), count=3).parent
    with pytest.raises(DataError, match=r"val lacks a class of .*train: blue"):
        folder(path).splits  # noqa: B018


def test_a_class_that_training_does_not_have_is_named(write_images):
    write_images("own/train", classes=("red", "green"))
    path = write_images("own/test", count=3).parent
    with pytest.raises(DataError, match=r"test has a class that is not in .*train: blue"):
        folder(path).splits  # noqa: B018


def test_a_class_of_one_image_is_named(write_images):
    path = write_images()
    write_images(classes=["grey"], count=1)
    with pytest.raises(DataError, match="class grey has one image only"):
        folder(path).numbers  # noqa: B018


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match="nothing is not a folder"):
        folder(tmp_path / "nothing").splits  # noqa: B018
    with pytest.raises(ArgumentError, match=r"--data\.path is missing"):
        folder(None).splits  # noqa: B018


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"held_out": 1.0}, "held_out must be between 0 and 1"),
        ({"channels": 2}, "channels must be 1 or 3"),
    ],
)
def test_bad_arguments_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        folder(None, **settings)


def test_the_digits_are_those_of_scikit_learn():
    data = DigitsData(batch_size=64)
    assert data.sizes == ImageSizes(1, 8, 8)
    assert [len(data.numbers[split]) for split in ("train", "val", "test")] == [1213, 135, 449]
    assert data.splits.train.images.max() == 255


def test_without_training_data_a_checkpoint_is_enough_to_predict(write_images, tmp_path):
    data = folder(write_images())
    kept = data.state_dict()
    other = folder(tmp_path / "gone", images=tmp_path / "own" / "red")
    other.load_state_dict(kept)
    (batch, *_) = other.predict_dataloader()
    assert batch.label.eq(-1).all()
    assert other.predicted.name(0).endswith("red/000.png")
