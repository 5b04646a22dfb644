"""The table of cluster sizes is the one that its constants give."""

import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "sizing.py"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


def test_the_table_in_the_page_is_that_of_the_script(script):
    (block,) = script["BLOCK"].findall(script["PAGE"].read_text())
    assert block == script["sizing"](), "run: uv run python docs/sizing.py"


def test_a_billion_rows_of_width_128(script):
    assert script["row"](10**9, 128) == ["10⁹", "128", "540 GiB", "660 GiB", "12", "10", "230", "5"]
