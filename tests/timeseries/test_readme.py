"""The code in the package's README runs and does what the text says."""

import re
from pathlib import Path

import torch

README = Path(__file__).parents[2] / "packages" / "timeseries" / "README.md"


def test_a_stream_learns_and_forgets_as_the_readme_says():
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    names: dict = {}
    torch.manual_seed(0)
    exec(compile(block, str(README), "exec"), names)
    detector, threshold = names["detector"], names["detector"].threshold[0]
    whole = torch.cat([names["normal"][:60], torch.full((20, 1), 0.8)])
    torch.testing.assert_close(torch.cat(names["scores"]), detector(whole)[0], rtol=1e-3, atol=1e-3)
    assert (torch.cat(names["scores"])[15:60] <= threshold).float().mean() > 0.9
    assert (torch.cat(names["scores"])[-10:] > threshold).all()
    assert names["alarm"].shape == (15, 1)
    assert (names["calm"] <= threshold).all()
    assert (names["loud"] > threshold).all()
