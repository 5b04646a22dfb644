"""Figures of classifications: titles, axes, and what is written in the cells."""

import torch

from recollect_vision.figures.classification import CaptionedImage, ConfusionFigure, NeighbourFigure


def test_a_confusion_matrix_has_true_classes_down_and_predicted_ones_across() -> None:
    picture = ConfusionFigure(torch.tensor([[5, 1], [0, 9]]), ["cat", "5 $"])
    figure = picture.draw()
    axes, bar = figure.axes
    assert picture.name == "confusion"
    assert figure.get_suptitle() == "confusion matrix of 15 images"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    assert bar.get_ylabel() == "share of the true class"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", r"5 \$"]
    assert {text.get_text(): text.get_position() for text in axes.texts} == {
        "5": (0, 0),
        "1": (1, 0),
        "9": (1, 1),
    }


def test_neighbours_stand_beside_the_image_that_was_compared_with_them() -> None:
    image = torch.rand(1, 8, 8)
    rows = [
        [CaptionedImage(image, "true: a\npredicted: b"), CaptionedImage(image, "b\nweight 0.90")],
        [CaptionedImage(image, "true: c")],
    ]
    picture = NeighbourFigure(rows)
    figure = picture.draw()
    assert picture.name == "neighbours"
    assert "least certain images" in figure.get_suptitle()
    assert [axes.get_title() for axes in figure.axes] == [shown.title for row in rows for shown in row]
