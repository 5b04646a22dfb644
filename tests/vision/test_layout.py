"""Data and models do not import each other; what both know is in ``types.py``."""

import ast
from importlib.util import find_spec
from pathlib import Path

import pytest


def imported(path: Path) -> set[str]:
    """Modules that a file imports."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return names | {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}


@pytest.mark.parametrize(("room", "other"), [("data", "models"), ("models", "data")])
def test_data_and_models_do_not_import_each_other(room: str, other: str):
    package = Path(find_spec("recollect_vision").origin).parent
    files = sorted((package / room).glob("*.py"))
    assert len(files) > 10
    for path in files:
        assert not {name for name in imported(path) if name.startswith(f"recollect_vision.{other}")}, path
