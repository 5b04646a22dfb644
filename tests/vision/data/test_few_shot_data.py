"""Training episodes go on from epoch to epoch; everything else comes once, in order."""

import pytest
import torch

from recollect.training import DataError
from recollect.training.errors import ArgumentError
from recollect_vision.data.character_folder import CharacterFolderData


@pytest.fixture
def data(write_drawings) -> CharacterFolderData:
    return CharacterFolderData(
        path=write_drawings(), ways=3, shots=1, queries=2, episodes=5, batch_size=2, classes_at_once=2
    )


def test_batches_of_training_are_episodes(data):
    batches = list(data.loader("train"))
    assert [len(batch.images) for batch in batches] == [2, 2, 1]
    assert batches[0].images.shape == (2, 3, 3, 1, 28, 28)
    assert batches[0].images.max() <= 1
    assert batches[0].order.shape == (2, 9)


def test_no_epoch_repeats_another(data):
    dataset = data.dataset("train")
    numbers = [
        number for epoch in range(3) for batch in data.batches("train", dataset, epoch) for number in batch
    ]
    assert numbers == list(range(15))


def test_every_image_of_validation_and_test_comes_once(data):
    for split in ("val", "test"):
        batches = list(data.loader(split))
        labels = torch.cat([batch.labels for batch in batches])
        assert labels.bincount().tolist() == [4] * len(data.classes(split))
        assert torch.cat([batch.images for batch in batches]).shape == (len(labels), 1, 28, 28)


def test_statistics_of_other_splits_are_not_learned(data):
    assert data.training_classes == len(data.classes("train"))
    restored = CharacterFolderData(path=data.path / "gone")
    restored.load_state_dict(data.state_dict())
    assert restored.training_classes == data.training_classes  # a checkpoint needs no training data


def test_what_does_not_suffice_is_said(write_drawings, data):
    with pytest.raises(DataError, match=r"has 4 drawings; an episode takes 5"):
        _ = CharacterFolderData(path=write_drawings(), shots=2, queries=3).splits
    with pytest.raises(ArgumentError, match=r"--data.ways 9: there are 8 classes"):
        CharacterFolderData(path=write_drawings(), ways=9).dataset("train")
    with pytest.raises(ArgumentError, match="leave none to learn from"):
        _ = CharacterFolderData(path=write_drawings("few", alphabets=1, characters=2)).splits
    with pytest.raises(ArgumentError, match="is no folder"):
        _ = CharacterFolderData(path=data.path / "gone").splits
    for wrong in ({"ways": 1}, {"shots": 0}, {"augmentation": -1.0}, {"held_out": 0.7}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            CharacterFolderData(path=data.path, **wrong)


def test_prediction_needs_examples_and_images(data):
    with pytest.raises(ArgumentError, match=r"--data.examples"):
        _ = data.examples
    with pytest.raises(ArgumentError, match=r"--data.images"):
        data.dataset("predict")
