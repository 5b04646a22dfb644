"""Figures of what a memory reads."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from recollect.training.figures import COLOURS, ReadHeatmap, draw, numbered, pixels, save

SENTENCES = ["mary went to the garden", "it costs $5 or $6", "john took the milk there"]
HEATMAP = ReadHeatmap(
    "where is the milk?", torch.tensor([[0.1, 0.0, 0.9], [0.8, 0.1, 0.1]]), ["hop 1", "hop 2"], SENTENCES, [2]
)


def test_what_ought_to_be_read_is_marked(tmp_path: Path):
    axes = draw(HEATMAP).axes[0]
    colours = [label.get_color() for label in axes.get_yticklabels()]
    assert colours == ["black", "black", COLOURS[1]]
    assert axes.images[0].get_array().shape == (3, 2)
    assert {text.get_text() for text in axes.texts} == {"0.10", "0.90", "0.80"}


def test_the_image_shows_the_weights(tmp_path: Path):
    save(draw(HEATMAP), tmp_path / "new" / "read.png")
    with Image.open(tmp_path / "new" / "read.png") as image:
        assert image.width > 200
    dark = pixels(draw(HEATMAP))
    light = pixels(draw(HEATMAP._replace(weights=torch.zeros(2, 3))))
    assert dark.shape[2] == 3
    assert dark.mean() < light.mean()


def test_many_entries_and_reads_are_drawn():
    heatmap = ReadHeatmap(
        "x" * 500, torch.rand(30, 200), [str(n) for n in range(30)], ["y" * 99] * 200, [0, 199]
    )
    assert pixels(draw(heatmap)).size > 0


def test_labels_must_fit():
    with pytest.raises(ValueError, match=r"where is the milk.*3 column labels"):
        draw(HEATMAP._replace(weights=torch.ones(2, 2)))


def test_a_read_has_a_title_and_labelled_axes_and_a_colour_bar():
    figure = draw(HEATMAP)
    axes, bar = figure.axes
    assert figure.get_suptitle() == "where is the milk?\norange: what ought to be read"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("read (hop, step)", "entries read")
    assert bar.get_ylabel() == "weight"
    assert draw(HEATMAP._replace(highlighted=())).get_suptitle() == "where is the milk?"


def test_long_labels_are_turned_so_that_they_do_not_overlap():
    for rows, turned in ((["hop 1", "hop 2"], 0), (["a label that is long", "hop 2"], 90)):
        labels = draw(HEATMAP._replace(rows=rows)).axes[0].get_xticklabels()
        assert {label.get_rotation() for label in labels} == {turned}


def test_a_long_title_is_broken_into_lines():
    figure = draw(HEATMAP._replace(title="what costs 5 $ " * 10, highlighted=()))
    assert figure.get_suptitle().count("\n") >= 1
    assert r"5 \$" in figure.get_suptitle()
    assert pixels(figure).shape[1] == round(100 * figure.get_figwidth())


def test_figures_are_numbered_where_several_have_a_name():
    figures = [HEATMAP, HEATMAP._replace(name="confusion"), HEATMAP]
    assert numbered(figures) == ["read-1", "confusion", "read-2"]
    assert numbered(figures[:2]) == ["read", "confusion"]
