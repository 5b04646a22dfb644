"""Episodes depend on seed and number alone, and mix nothing up."""

import pytest
import torch

from recollect_vision.data.affine import random_affine
from recollect_vision.data.episodes import Episodes, draw_episode, episode_generator


def classes(counts: list[int]) -> list[torch.Tensor]:
    """Class c has images whose first pixel is c and whose second is the image's number."""
    made = [torch.zeros(count, 1, 4, 4, dtype=torch.uint8) for count in counts]
    for c, images in enumerate(made):
        images[:, 0, 0, 0] = c
        images[:, 0, 0, 1] = torch.arange(len(images))
    return made


def test_an_episode_is_the_same_whenever_it_is_asked_for():
    one, two = (Episodes(classes([5] * 9), 4, 3, augmentation, 10, seed=3) for augmentation in (1.0, 1.0))
    for number in (0, 7, 1000):
        assert all(torch.equal(a, b) for a, b in zip(one[number], two[number], strict=True))
    assert not torch.equal(one[0].images, one[1].images)
    other_seed = Episodes(classes([5] * 9), 4, 3, 1.0, 10, seed=4)
    assert not torch.equal(one[0].images, other_seed[0].images)


def test_images_are_of_the_classes_named_and_none_comes_twice():
    episodes = Episodes(classes([5, 6, 7, 5, 6]), 4, 5, 0.0, 20, seed=0)
    for number in range(20):
        images, named, order = episodes[number]
        pixels = (images * 255).round().long()
        assert (pixels[..., 0, 0, 0] == named.unsqueeze(-1)).all()
        assert len(set(named.tolist())) == 4
        assert all(len(set(numbers.tolist())) == 5 for numbers in pixels[..., 0, 0, 1])
        assert order.sort().values.tolist() == list(range(20))


def test_every_image_has_the_same_chance():
    counts = torch.tensor([2, 4])
    seen = torch.zeros(2, 4)
    for number in range(2000):
        drawn = draw_episode(counts, 2, 2, episode_generator(0, number))
        for c, images in zip(drawn.classes, drawn.images, strict=True):
            seen[c, images] += 1
    assert seen[0].tolist() == [2000, 2000, 0, 0]
    assert (seen[1] - 1000).abs().max() < 100


def test_affine_maps_are_small_and_leave_paper_white():
    square = torch.zeros(64, 1, 28, 28)
    square[:, :, 10:18, 10:18] = 1
    moved = random_affine(square, 1.0, torch.Generator().manual_seed(0))
    ink = moved.sum((1, 2, 3)) / 64
    assert (ink - 1).abs().max() < 0.35
    assert moved.var(0).max() > 0
    assert moved[:, :, :3].max() == 0
    centre = (moved * torch.arange(28.0)).sum((1, 2, 3)) / moved.sum((1, 2, 3))
    assert (centre - 13.5).abs().max() <= 3
    assert random_affine(square, 0.0, torch.Generator()) is square


@pytest.mark.parametrize("ways", [2, 5])
def test_an_epoch_has_as_many_as_asked_for(ways: int):
    assert len(Episodes(classes([3] * 5), ways, 2, 0.0, 17, seed=0)) == 17
