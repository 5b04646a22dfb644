import re
from pathlib import Path

import pytest
import torch

import recollect

README = Path(__file__).parents[2] / "packages" / "core" / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_the_blocks_of_the_readme_run(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    exec(compile(block, str(README), "exec"), {})


def test_what_the_first_block_says_holds():
    names = {}
    exec(compile(BLOCKS[0], str(README), "exec"), names)
    assert names["answer"].shape == (1, 1, 16)
    (presence,) = (store.presence for store in names["state"].stores)
    assert (presence > 0).sum() == 3


def test_what_the_readme_calls_ours_is_ours():
    assert len(BLOCKS) == 3
    assert all(hasattr(recollect, name) for block in BLOCKS for name in imported(block))


def imported(block):
    lines = re.findall(r"from recollect import (.*)", block)
    return [name.strip() for line in lines for name in line.split(",")]
