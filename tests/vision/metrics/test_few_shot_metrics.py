"""Episodes drawn from features are those that would be drawn from images, and are scored by class."""

import pytest
import torch

from recollect.training.errors import ArgumentError
from recollect_vision.figures.few_shot import EpisodeFigure
from recollect_vision.metrics.few_shot import (
    FeatureCollector,
    Setting,
    draw_episodes,
    episode_accuracies,
    group_by_class,
    mean_with_interval,
)


def table(classes: int = 6, each: int = 8):
    """Class c has the features (c, number of the image)."""
    labels = torch.arange(classes).repeat_interleave(each)
    return group_by_class(torch.stack([labels, torch.arange(len(labels)) % each], -1).float(), labels)


def test_images_keep_their_class_and_order_however_batches_came():
    features, labels = torch.tensor([[1.0], [5.0], [2.0], [6.0]]), torch.tensor([3, 9, 3, 9])
    found = group_by_class(features, labels)
    assert found.features.squeeze(-1).tolist() == [[1.0, 2.0], [5.0, 6.0]]
    assert found.counts.tolist() == [2, 2]
    uneven = group_by_class(features[:3], labels[:3])
    assert uneven.counts.tolist() == [2, 1]


def test_the_same_episodes_come_each_time():
    first, second = (list(draw_episodes(table(), 3, 4, 120, seed=1)) for _ in range(2))
    assert [len(features) for features, _ in first] == [50, 50, 20]
    assert all(
        torch.equal(a, b)
        for one, two in zip(first, second, strict=True)
        for a, b in zip(one, two, strict=True)
    )
    features = torch.cat([features for features, _ in first])
    assert (features[..., 0] == features[..., :1, 0]).all()
    assert all(len(set(images.tolist())) == 4 for images in features[..., 1].flatten(0, 1))


def test_accuracy_is_one_for_who_knows_and_chance_for_who_does_not():
    def knows(examples, labels, queries, classes):
        same = (queries[..., None, 0] == examples[..., None, :, 0]).float()
        return same @ torch.nn.functional.one_hot(labels, classes).float()

    def guesses(examples, labels, queries, classes):
        return torch.rand(*queries.shape[:2], classes, generator=generator)

    generator = torch.Generator().manual_seed(0)
    assert episode_accuracies(knows, draw_episodes(table(), 5, 4, 60, seed=0), shots=1).tolist() == [1.0] * 60
    guessed = episode_accuracies(guesses, draw_episodes(table(), 5, 4, 400, seed=0), shots=1)
    assert guessed.shape == (400,)
    assert abs(guessed.mean() - 0.2) < 0.03


def test_what_cannot_be_drawn_is_an_error():
    with pytest.raises(ArgumentError, match="7-way episodes: there are only 6"):
        next(draw_episodes(table(), 7, 2, 1, seed=0))
    with pytest.raises(ArgumentError, match="takes 9 images of each class, but one has 8"):
        next(draw_episodes(table(), 2, 9, 1, seed=0))


def test_the_interval_is_that_of_the_mean():
    values = torch.randn(10_000, generator=torch.Generator().manual_seed(0))
    found = mean_with_interval("x", values)
    assert abs(found["x_ci95"] - 0.0196) < 0.0005
    assert Setting(20, 1).name == "20way_1shot"


def test_features_of_all_batches_are_kept():
    metric = FeatureCollector()
    metric.update(torch.ones(2, 3), torch.tensor([0, 1]))
    metric.update(torch.zeros(1, 3), torch.tensor([2]))
    assert metric.compute()["features"].sum(-1).tolist() == [3, 3, 0]
    assert metric.compute()["labels"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("weights", [torch.eye(3), None])
def test_an_episode_can_be_drawn(weights):
    images = torch.rand(3, 1, 8, 8)
    figure = EpisodeFigure("title", images, images, weights, [0, 1, 1], range(3), range(3)).draw()
    assert len(figure.axes) == 3 * 4
    assert figure.axes[0].spines["top"].get_edgecolor() != figure.axes[8].spines["top"].get_edgecolor()
    assert figure.axes[1].get_xlabel() == ("1.00" if weights is not None else "")
