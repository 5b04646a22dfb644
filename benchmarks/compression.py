"""Quality of a lasting memory against the bytes of its keys.

    uv run --group bench python benchmarks/compression.py [--quick] [--json FILE]

Digits of scikit-learn by the network of ``benchmarks/lasting.py``, which knows five classes. The memory holds
all training images of ten classes (1,078 rows), as features of its first hidden layer, 128 wide, and answers
alone: τ and k are chosen on validation. Accuracy on test images of all classes, a mean over seeds and its
standard error; bytes are those of the keys of one seed.
"""

import argparse
import json
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lasting import CLASSES, Digits, Split, accuracy, digits, network, table
from rich.console import Console
from torch import nn

from recollect import (
    Interpolation,
    NeighborMemory,
    VectorStorage,
    augment,
    compress,
    fit_gate,
    prune,
    remember,
)
from recollect.storages.codecs import PCA, Codec, Int8, ProductQuantizer

WIDTH = 128
CODECS: dict[str, Callable[[], Codec | None]] = {
    "float32": lambda: None,
    "Int8": lambda: Int8(WIDTH),
    "PCA, 32 components": lambda: PCA(WIDTH, 32),
    "PCA, 16 components": lambda: PCA(WIDTH, 16),
    "PCA, 8 components": lambda: PCA(WIDTH, 8),
    "ProductQuantizer, 32 parts": lambda: ProductQuantizer(WIDTH, 32),
    "ProductQuantizer, 16 parts": lambda: ProductQuantizer(WIDTH, 16),
    "ProductQuantizer, 8 parts": lambda: ProductQuantizer(WIDTH, 8),
}


class Only(nn.Module):
    """The first hidden layer of a network, and an output layer that predicts nothing."""

    def __init__(self, trained: nn.Sequential) -> None:
        super().__init__()
        self.body, self.head = trained[:2], nn.Linear(WIDTH, CLASSES)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, 10)``, all equal without a memory."""
        logits: torch.Tensor = self.head(self.body(x))
        return logits


def remembered(data: Digits, seed: int) -> nn.Module:
    """A model whose memory holds all training images."""
    memory = NeighborMemory(WIDTH, VectorStorage(WIDTH, 1, slots=len(data.train.x)), classes=CLASSES)
    model = augment(Only(network(data, seed)), at="head", memory=memory, integration=Interpolation)
    remember(model, data.train.x, data.train.y)
    return model


def measured(data: Digits, seed: int, codec: Codec | None, near: int) -> tuple[float, int, int]:
    """Accuracy, rows and bytes of the keys, with rows pruned by ``near`` neighbours first."""
    model = remembered(data, seed)
    if near:
        prune(model, near)
    rows = len(model.head.memory.memory.rows)
    size = rows * 4 * WIDTH if codec is None else compress(model, codec).after
    fit_gate(model, [(data.validation.x, data.validation.y)])
    return accuracy(model, Split(data.test.x, data.test.y)), rows, size


def rows_of(seeds: int) -> list[dict[str, Any]]:
    """One row for each codec, and for each amount of pruning."""
    cases = [(name, make, 0) for name, make in CODECS.items()]
    cases += [(f"float32, pruned by {near}", CODECS["float32"], near) for near in (2, 4, 8, 16)]
    cases += [("PCA, 16 components, pruned by 2", CODECS["PCA, 16 components"], 2)]
    rows = []
    for name, make, near in cases:
        found = [measured(digits(seed), seed, make(), near) for seed in range(seeds)]
        values = [one[0] for one in found]
        error = statistics.stdev(values) / math.sqrt(seeds) if seeds > 1 else math.nan
        accuracy = f"{statistics.mean(values):.3f} ± {error:.3f}"
        rows.append({"keys": name, "rows": found[0][1], "bytes": found[0][2], "accuracy": accuracy})
    return rows


def main() -> None:
    """Measure, show and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to a file")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rows = rows_of(1 if chosen.quick else 3)
    Console(width=140).print(table("accuracy by bytes of the keys", rows))
    if chosen.json is not None:
        chosen.json.write_text(json.dumps({"compression": rows}, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
