"""Small images first, whole ones at last."""

import pytest
import torch

from recollect_vision.tasks.progressive_resizing import ProgressiveResizing


def test_images_are_small_then_grow_evenly_then_are_whole():
    resizing = ProgressiveResizing(start=0.5, delay=0.4, whole=0.2, step=1)
    assert [resizing.scale(done) for done in (0.0, 0.2, 0.4)] == [0.5] * 3
    assert resizing.scale(0.6) == pytest.approx(0.75)
    assert [resizing.scale(done) for done in (0.8, 1.0)] == [1.0] * 2
    sizes = [resizing(torch.zeros(1, 1, 32, 24), done / 100).shape[-2:] for done in range(101)]
    assert sizes == sorted(sizes)
    assert sizes[0] == (16, 12)
    assert len(set(sizes)) > 12


def test_whole_images_are_given_as_they_are():
    images = torch.rand(2, 3, 8, 8)
    assert ProgressiveResizing()(images, 0.9) is images
    assert ProgressiveResizing(start=1.0)(images, 0.0) is images


def test_what_is_smaller_than_a_step_stays_as_it_is():
    images = torch.rand(2, 3, 6, 6)
    assert ProgressiveResizing(step=8)(images, 0.0) is images
    assert ProgressiveResizing(start=0.1, step=4)(images, 0.0).shape == (2, 3, 4, 4)


def test_without_a_time_to_grow_in_they_are_small_or_whole():
    resizing = ProgressiveResizing(start=0.5, delay=0.5, whole=0.5)
    assert [resizing.scale(done) for done in (0.0, 0.49, 0.5, 1.0)] == [0.5, 0.5, 1.0, 1.0]


def test_evenly_coloured_images_keep_their_colour():
    images = torch.rand(2, 3, 1, 1).expand(2, 3, 32, 32)
    assert torch.allclose(ProgressiveResizing()(images, 0.0), images[..., :16, :16], atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"start": 0.0}, "start"),
        ({"start": 1.5}, "start"),
        ({"delay": 0.8, "whole": 0.3}, "delay"),
        ({"delay": -0.1}, "delay"),
        ({"step": 0}, "step"),
    ],
)
def test_arguments_out_of_range_are_named(arguments, named):
    with pytest.raises(ValueError, match=named):
        ProgressiveResizing(**arguments)
