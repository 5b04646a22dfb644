"""Examples by folder, and images to be classified by them."""

from pathlib import Path

import pytest

from recollect.training import DataError
from recollect_vision.data.support_set import QueryImages, read_support_set


def test_examples_are_labelled_by_their_folders(write_drawings):
    examples = read_support_set(write_drawings() / "alphabet0", 28)
    assert examples.names == [f"character{c:02d}" for c in range(4)]
    assert examples.labels.tolist() == [c for c in range(4) for _ in range(4)]
    assert examples.images.shape == (16, 1, 28, 28)
    assert all(name in file for name, file in zip(examples.names, examples.files[::4], strict=True))


def test_a_class_without_an_image_is_named(write_drawings, tmp_path: Path):
    folder = write_drawings() / "alphabet0"
    (folder / "nothing").mkdir()
    with pytest.raises(DataError, match="nothing"):
        read_support_set(folder, 28)
    single = write_drawings("single", alphabets=1, characters=1) / "alphabet0"
    with pytest.raises(DataError, match="examples of character00 only"):
        read_support_set(single, 28)
    with pytest.raises(DataError, match="is not a folder"):
        read_support_set(tmp_path / "gone", 28)


def test_questions_are_read_in_order_and_damage_is_named(write_drawings, tmp_path: Path):
    folder = write_drawings()
    questions = QueryImages(folder, 28)
    assert len(questions) == 48
    assert questions.files == sorted(questions.files)
    assert len(QueryImages(questions.files[0], 28)) == 1
    questions.files[5].write_bytes(b"broken")
    with pytest.raises(DataError, match=questions.files[5].name):
        questions[5]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no images"):
        QueryImages(tmp_path / "empty", 28)
