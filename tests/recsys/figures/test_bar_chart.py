"""Figures: bars stand for what they are said to stand for, and labels can be told apart."""

import pytest
import torch

from recollect_recsys.figures.bar_chart import by_history_length, by_popularity, items_read, memory_use


def heights(picture) -> list[float]:
    (axes,) = picture.draw().axes
    return [bar.get_height() for bar in axes.patches]


def test_means_stand_over_the_lengths_that_there_are() -> None:
    counted = torch.zeros(2, 12)
    counted[:, 1], counted[:, 4] = torch.tensor([2.0, 1.0]), torch.tensor([4.0, 1.0])
    picture = by_history_length(counted)
    assert heights(picture) == [0.5, 0.25]
    assert list(picture.labels) == ["1\n(2 users)", "8–15\n(4 users)"]


def test_popularity_compares_shares_of_the_same_items() -> None:
    consumed = torch.arange(20)
    picture = by_popularity(torch.where(consumed == 19, 1, 0), consumed)
    assert picture.series["recommended"].tolist() == [1.0, *[0.0] * 9]
    assert picture.series["consumed"][0] == (19 + 18) / 190
    assert sum(heights(picture)) == pytest.approx(2)


def test_every_user_is_in_one_class_of_what_is_remembered() -> None:
    assert sum(heights(memory_use(torch.tensor([0, 1, 7, 30, 30]), 30))) == 5


def test_names_of_items_stand_below_one_another() -> None:
    weights, names = torch.tensor([0.75, 0.25]), ["A long name (1999)", "another for 5 $"]
    figure = items_read("u3", weights, names).draw()
    (axes,) = figure.axes
    assert figure.get_suptitle() == "items of user u3 that were read for the next recommendation"
    assert [label.get_text() for label in axes.get_yticklabels()] == [names[0], r"another for 5 \$"]
    assert [bar.get_width() for bar in axes.patches] == [0.75, 0.25]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("weight", "items, the latest at the bottom")


def test_every_picture_has_a_name_a_title_and_labelled_axes() -> None:
    figures = [
        by_history_length(torch.ones(2, 12)),
        by_popularity(torch.arange(20), torch.arange(20)),
        memory_use(torch.tensor([0, 1, 7]), 30),
    ]
    assert [picture.name for picture in figures] == ["history-length", "popularity", "memory-use"]
    for picture in figures:
        figure = picture.draw()
        (axes,) = figure.axes
        assert figure.get_suptitle() == picture.title
        assert (axes.get_xlabel(), axes.get_ylabel()) == (picture.across, picture.upward)
