"""The code in the package's README runs and does what the text says."""

import re
from pathlib import Path

import torch

README = Path(__file__).parents[2] / "packages" / "vision" / "README.md"


def test_a_new_class_is_shown_and_forgotten_as_the_readme_says():
    block = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)[0]
    names: dict = {}
    torch.manual_seed(0)
    exec(compile(block, str(README), "exec"), names)
    assert names["found"].probability.argmax(1).tolist() == [10, 10, 10]
    model = names["model"]
    assert model.classify(model.features(names["new"])).probability[:, 10].eq(0).all()
