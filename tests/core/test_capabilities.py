"""The README's tables of capabilities are those of the classes."""

import runpy
from pathlib import Path

import pytest

from recollect import HashStorage, SlotStorage, VectorStorage
from recollect.storages import OrderedStorage

SCRIPT = Path(__file__).parents[2] / "docs" / "capabilities.py"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


def test_the_table_in_the_readme_is_that_of_the_classes(script):
    (block,) = script["BLOCK"].findall(script["README"].read_text())
    assert block == script["capabilities"](), "run: uv run python docs/capabilities.py"


def test_a_row_says_what_the_class_is(script):
    head = ["name", SlotStorage, OrderedStorage]
    for storage in script["classes"](SlotStorage):
        row = script["storage_row"](storage)
        assert [bool(cell) for cell in row[1:3]] == [issubclass(storage, base) for base in head[1:]]
    assert script["storage_row"](HashStorage)[3] == "✓"
    assert script["storage_row"](VectorStorage)[4:] == ["✓", "✓", "✓"]
