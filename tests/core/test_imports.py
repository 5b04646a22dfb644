"""Arrows point one way: who may import whom, and what ``import recollect`` costs."""

import ast
import compileall
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = Path(__file__).parents[2] / "packages"
CORE = PACKAGES / "core" / "src" / "recollect"
DOMAINS = sorted(path.name for path in PACKAGES.glob("*/src/recollect_*") if path.name != "recollect_cli")

TRAINING_ONLY = {
    "lightning",
    "pytorch_lightning",
    "torchmetrics",
    "wandb",
    "matplotlib",
    "jsonargparse",
    "pooch",
}
DISK_ONLY = {
    "lancedb": "lance_table.py",
    "pyarrow": "lance_table.py",
    "filelock": "disk_folder.py",
    "faiss": "disk_index.py",
}
"""Packages of the extra ``disk``, and the one module that imports each; that module is imported lazily."""

SERVING_ONLY = {"fastapi", "starlette", "pydantic", "uvicorn"}

LAYERS = (
    "state",
    "ops",
    "validation",
    "storages",
    "memories",
    "tracing",
    "integrations",
    "session",
    "augment",
    "serving",
    "training",
)
"""The parts of the core from the bottom up: each imports those below it only."""

FORBIDDEN_WITHIN = {
    **{part: (*LAYERS[place + 1 :], "testing") for place, part in enumerate(LAYERS)},
    "tracing": ("integrations", "session", "augment", "training", "testing"),
    "testing": LAYERS[LAYERS.index("memories") :],
}


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, anywhere in it, by its full name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written in full"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def breaches(path: Path, where: tuple[str, ...]) -> Iterator[str]:
    """What a file of the package ``where[0]``, in its part ``where[1:]``, must not import but does."""
    package, *part = where
    part_name = part[0].removesuffix(".py") if part else ""
    for module in imports(path):
        first, *rest = module.split(".")
        if first.startswith("recollect_") and first not in (package, "recollect_cli"):
            yield f"{path} imports {module}: the core and the domains do not know another domain"
        if (part_name, *rest[:1]) in (("data", "models"), ("models", "data")) and first == package:
            yield f"{path} imports {module}: data and models do not know each other"
        if package == "recollect":
            if part_name != "training" and first in TRAINING_ONLY:
                yield f"{path} imports {module}, which only recollect.training may"
            if part_name != "serving" and first in SERVING_ONLY:
                yield f"{path} imports {module}, which only recollect.serving may: the extra may be absent"
            if first == "torch_geometric" and path.name != "message_passing.py":
                yield f"{path} imports {module}, which only GraphMemory's message passing may"
            if (home := DISK_ONLY.get(first)) is not None and path.name != home:
                yield f"{path} imports {module}, which only {home} may: the extra disk may be absent"
            if first == "recollect" and rest and rest[0] in FORBIDDEN_WITHIN.get(part_name, ()):
                yield f"{path} imports {module}: an arrow against the picture"
            if part_name != "training" and first == "recollect" and rest and rest[0] == "training":
                yield f"{path} imports {module}: nothing in the core needs training"


def files() -> list[Path]:
    return sorted(path for path in PACKAGES.glob("*/src/**/*.py"))


def test_there_is_something_to_walk():
    assert CORE / "storages" / "base.py" in files()
    assert "recollect_nlp" in DOMAINS


def test_every_arrow_points_the_right_way():
    found = [
        breach
        for path in files()
        for breach in breaches(path, path.relative_to(path.parents[path.parts[::-1].index("src") - 1]).parts)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("where", "line"),
    [
        (("recollect", "ops", "new.py"), "from recollect.storages import Storage"),
        (("recollect", "storages", "new.py"), "from recollect.memories import Memory"),
        (("recollect", "tracing.py"), "from recollect.augment import augment"),
        (("recollect", "memories", "new.py"), "import recollect.integrations.fusion"),
        (("recollect", "memories", "new.py"), "def f():\n    import lightning"),
        (("recollect", "augment.py"), "from torchmetrics import Metric"),
        (("recollect", "memories", "new.py"), "from recollect import training"),
        (("recollect_nlp", "new.py"), "import recollect_vision.models"),
        (("recollect_nlp", "data", "new.py"), "from recollect_nlp.models import beam_search"),
        (("recollect_nlp", "models", "new.py"), "import recollect_nlp.data.vocabulary"),
        (("recollect", "training", "new.py"), "import recollect_nlp"),
        (("recollect", "memories", "graph.py"), "import torch_geometric"),
        (("recollect", "storages", "disk.py"), "import lancedb"),
        (("recollect", "lasting.py"), "import fastapi"),
        (("recollect", "memories", "new.py"), "import recollect.serving"),
        (("recollect", "serving", "new.py"), "from recollect.training import load"),
    ],
)
def test_a_wrong_arrow_is_seen(tmp_path: Path, where: tuple[str, ...], line: str):
    path = tmp_path / "new.py"
    path.write_text(line)
    assert list(breaches(path, where))


SCRIPT = """
import sys, time
import torch
before, start = set(sys.modules), time.process_time()
import recollect
spent = time.process_time() - start
print(recollect.__file__)
print(spent)
print(*sorted({name.split(".")[0] for name in set(sys.modules) - before}))
"""


def test_importing_recollect_is_cheap_and_pulls_in_nothing_else(tmp_path: Path):
    # A copy with bytecode, as an installed package has it.
    shutil.copytree(CORE, tmp_path / "recollect")
    assert compileall.compile_dir(tmp_path, quiet=1)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    where, seconds, modules = done.stdout.splitlines()
    unwanted = (
        TRAINING_ONLY
        | SERVING_ONLY
        | {
            "torch_geometric",
            "tensorboard",
            "rich",
            "pandas",
            "faiss",
            "lancedb",
            "pymilvus",
        }
    )
    assert Path(where).is_relative_to(tmp_path)
    assert not (unwanted | set(DOMAINS)) & set(modules.split())
    assert float(seconds) < 0.2
