"""Processes that write to a store until they are killed. Run as a script; not a test."""

import os
import random
import sys
import warnings
from pathlib import Path

import torch

from recollect.storages.disk_engine import LanceEngine

K, V = 8, 1


def write(path: Path, seed: int, batches: int, largest: int) -> None:
    """Add batches of rows, and name each batch on standard output once it is acknowledged.

    The values of a batch are its number, and its source is ``seed-number-size``. Now and then the rows of
    an earlier batch are erased again.
    """
    engine, draw = LanceEngine(path, K, V), random.Random(seed)
    written: list[tuple[str, torch.Tensor]] = []
    for number in range(batches):
        size = draw.randint(1, largest)
        keys = torch.randn(size, K, generator=torch.Generator().manual_seed(seed * 1000 + number))
        name = f"{seed}-{number}-{size}"
        say(f"begin {name}")
        rows = engine.add(keys, torch.full((size, V), float(number)), sources=name)
        say(f"added {name} {int(rows[0])} {int(rows[-1])}")
        written.append((name, rows))
        if largest > 1 and draw.random() < 0.2:
            name, rows = written.pop(draw.randrange(len(written)))
            say(f"forget {name}")
            engine.erase(rows)
            say(f"erased {name}")


def say(line: str) -> None:
    """Write a line at once."""
    os.write(1, f"{line}\n".encode())


def fork_writers() -> None:
    """For each line ``path seed batches largest writers`` on standard input, fork writers, and wait for them.

    LanceDB starts its threads when it is first used, so a fork before that does no harm.
    """
    for line in sys.stdin:
        path, *numbers = line.split()
        seed, batches, largest, writers = map(int, numbers)
        children = [os.fork() or _child(Path(path), seed + n, batches, largest) for n in range(writers)]
        say("pids " + " ".join(map(str, children)))
        for child in children:
            os.waitpid(child, 0)
        say("ended")


def _child(path: Path, seed: int, batches: int, largest: int) -> int:
    try:
        write(path, seed, batches, largest)
    except BaseException as error:
        say(f"failed {error!r}")
    os._exit(0)


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="lancedb fork support")
    fork_writers()
