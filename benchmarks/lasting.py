"""Digits learned on five classes; five more added by writing a few examples, and forgotten again.

    uv run --group bench python benchmarks/lasting.py [--quick] [--remote URL] [--json FILE]

The digits of scikit-learn (1,797 images of 8 × 8), split 60/20/20 for each seed. A network with ten outputs
is trained on five classes, drawn by the seed. Its lasting memory holds the training images of these classes.
Then 1, 5 or 20 training images of each other class are written; no weight changes. Keys are the features of
the last hidden layer (64 wide) or of the first (128 wide). Gates are fitted on the validation images of all
classes. The first table has the accuracy on test images of old and new classes, a mean over seeds and its
standard error. The second has wall times in milliseconds, by where the rows are: of one query with and
without the memory, the median of 100, of one write of 100 rows, and of forgetting them with a purge.
``--remote`` adds a Milvus server.
"""

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from torch import Tensor, nn

from recollect import (
    DiskStorage,
    HashStorage,
    Interpolation,
    NeighborMemory,
    RemoteStorage,
    Storage,
    VectorStorage,
    augment,
    fit_gate,
    forget,
    remember,
    without_memory,
)

CLASSES, EXAMPLES, STEPS, QUERIES = 10, (1, 5, 20), 300, 100
KEYS = {"last hidden": (64, None), "first hidden": (128, "2")}
"""Width of the keys, and the part whose input they are; the output layer by default."""
GATES = {"λ = 0.5": 0.5, "fitted": "fitted", "adaptive": "adaptive"}


class Split(NamedTuple):
    """Images ``(n, 64)`` and labels ``(n,)``."""

    x: Tensor
    y: Tensor

    def of(self, classes: Tensor) -> "Split":
        """The images of some classes."""
        kept = torch.isin(self.y, classes)
        return Split(self.x[kept], self.y[kept])


class Digits(NamedTuple):
    """The data of a seed, and its five old and new classes."""

    train: Split
    validation: Split
    test: Split
    old: Tensor
    new: Tensor


def digits(seed: int) -> Digits:
    """Split the data and the classes."""
    data = load_digits()
    x, y = torch.tensor(data.data, dtype=torch.float32) / 16, torch.tensor(data.target)
    generator = torch.Generator().manual_seed(seed)
    order, classes = torch.randperm(len(x), generator=generator), torch.randperm(CLASSES, generator=generator)
    parts = [Split(x[part], y[part]) for part in order.split([1078, 359, 360])]
    return Digits(*parts, classes[:5], classes[5:])


def network(data: Digits, seed: int) -> nn.Sequential:
    """Train on the old classes."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, CLASSES)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    train = data.train.of(data.old)
    for _ in range(STEPS):
        optimizer.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(model(train.x), train.y))
        optimizer.step()
    return model.eval()


def with_memory(data: Digits, seed: int, keys: str, make: Callable[[int], Storage], gate: Any) -> nn.Module:
    """A trained network with a lasting memory of the old classes."""
    width, query_at = KEYS[keys]
    memory = NeighborMemory(width, make(width), classes=CLASSES)
    joined = partial(Interpolation, gate=gate, query_at=query_at)
    model = augment(network(data, seed), at="4", memory=memory, integration=joined)
    forget(model, where=lambda origin: True)  # of an earlier run
    home = data.train.of(data.old)
    remember(model, home.x, home.y, "old")
    return model


def few(data: Digits, count: int) -> Split:
    """The first training images of each new class."""
    parts = [data.train.of(label.reshape(1)) for label in data.new]
    return Split(torch.cat([part.x[:count] for part in parts]), torch.cat([part.y[:count] for part in parts]))


def accuracy(model: nn.Module, split: Split) -> float:
    """Share of images whose class is the most probable."""
    with torch.no_grad():
        return float((model(split.x).argmax(-1) == split.y).float().mean())


def learned(seed: int) -> dict[tuple[str, str, int], tuple[float, float]]:
    """Accuracy on old and new classes, by keys, gate and number of examples."""
    data = digits(seed)
    old, new = data.test.of(data.old), data.test.of(data.new)
    alone = network(data, seed)
    found = {("–", "without memory", 0): (accuracy(alone, old), accuracy(alone, new))}
    for keys in KEYS:
        for name, gate in GATES.items():
            model = with_memory(data, seed, keys, lambda width: VectorStorage(width, 1, slots=1000), gate)
            for count in EXAMPLES:
                before, examples = model(data.test.x), few(data, count)
                remember(model, examples.x, examples.y, "new")
                assert not torch.equal(model(data.test.x), before) or gate != 0.5, "nothing was read"
                forget(model, source="new")
                assert torch.equal(model(data.test.x), before), "what was forgotten still shows"
                remember(model, examples.x, examples.y, "new")
                if gate in ("fitted", "adaptive"):
                    fit_gate(model, [(data.validation.x, data.validation.y)])
                found[keys, name, count] = accuracy(model, old), accuracy(model, new)
                forget(model, source="new")
    return found


def learning_table(seeds: int) -> list[dict[str, Any]]:
    """Means and standard errors over seeds."""
    found = [learned(seed) for seed in range(seeds)]
    rows = []
    for case in found[0]:
        row: dict[str, Any] = dict(zip(("keys", "gate", "examples"), case, strict=True))
        for place, column in enumerate(("old", "new")):
            values = [one[case][place] for one in found]
            error = statistics.stdev(values) / math.sqrt(seeds) if seeds > 1 else math.nan
            row[column] = f"{statistics.mean(values):.3f} ± {error:.3f}"
        rows.append(row)
    return rows


@torch.no_grad()
def median_ms(call: Callable[[int], Any], count: int) -> float:
    """Median wall time of calls in milliseconds."""
    times = []
    for number in range(count):
        start = time.perf_counter()
        call(number)
        times.append(time.perf_counter() - start)
    return round(1000 * statistics.median(times), 2)


def storage_table(remote: str | None, queries: int) -> list[dict[str, Any]]:
    """Times by where the rows are: keys of the first hidden layer, 20 examples of each new class."""
    data, rows = digits(0), []
    examples, new = few(data, 20), data.test.of(data.new)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "memory.lance"
        storages: dict[str, Callable[[int], Storage]] = {
            "VectorStorage": lambda width: VectorStorage(width, 1, slots=1000),
            "HashStorage": lambda width: HashStorage(
                width, 1, buckets=16, capacity=256, tables=8, entries=1000
            ),
            "DiskStorage": lambda width: DiskStorage(path, width, 1, metric="l2"),
        }
        if remote is not None:
            storages["RemoteStorage"] = lambda width: RemoteStorage(
                remote, width, 1, metric="l2", collection="recollect_benchmark"
            )
        for name, make in storages.items():
            rows.append(
                {"storage": name}
                | timed(with_memory(data, 0, "first hidden", make, 0.8), examples, new, queries)
            )
    return rows


def timed(model: nn.Module, examples: Split, new: Split, queries: int) -> dict[str, float]:
    """Milliseconds of the calls of one model, and its accuracy on new classes."""

    def one(number: int) -> Tensor:
        logits: Tensor = model(new.x[number : number + 1])
        return logits

    with without_memory(model):
        alone = median_ms(one, queries)
    write = median_ms(lambda _: remember(model, examples.x, examples.y, "new"), 1)
    query, found = median_ms(one, queries), round(accuracy(model, new), 3)
    erase = median_ms(lambda _: forget(model, source="new"), 1)
    return {"new": found, "query": query, "without memory": alone, "write 100": write, "forget 100": erase}


def table(title: str, rows: list[dict[str, Any]]) -> Table:
    """Rows as a table."""
    shown = Table(title=title)
    for name in rows[0]:
        shown.add_column(name)
    for row in rows:
        shown.add_row(*(str(cell) for cell in row.values()))
    return shown


def main() -> None:
    """Measure, show and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one seed and ten queries")
    parser.add_argument("--remote", metavar="URL", help="a Milvus server, such as http://127.0.0.1:19530")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to a file")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    learning = learning_table(1 if chosen.quick else 3)
    storages = storage_table(chosen.remote, 10 if chosen.quick else QUERIES)
    console = Console(width=140)
    console.print(table("accuracy on old and new classes", learning))
    console.print(table("milliseconds, by where the rows are", storages))
    if chosen.json is not None:
        saved = {"learning": learning, "storages": storages}
        chosen.json.write_text(json.dumps(saved, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
