"""An engine used by several threads, and in random sequences of operations beside a reference."""

import random
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import torch

from recollect.ops.distance import Metric
from recollect.storages.engine import Engine
from recollect.testing.engine_trial import EngineMaker, new_rows, scan
from recollect.testing.list_engine import ListEngine

Operation: TypeAlias = tuple[str, int]
"""``("add" | "erase" | "search" | "compact", seed)``"""


def check_threads(make: EngineMaker) -> None:
    """Several threads write, search and erase at once; nothing is lost, no number is used twice."""
    engine = make("l2")
    threads, writes, width = 4, 6, 5

    def work(thread: int) -> tuple[list[int], list[int]]:
        kept, gone = [], []
        for n in range(writes):
            keys, values = new_rows(engine, width, seed=100 * thread + n)
            numbers = engine.add(keys, values, sources=f"thread {thread}")
            nearest = engine.search(keys, 1).rows.squeeze(-1)
            assert torch.equal(nearest, numbers), "a thread does not see what it wrote"
            assert engine.erase(numbers[:1]) == 1, "a thread's erase"
            gone += numbers[:1].tolist()
            kept += numbers[1:].tolist()
        return kept, gone

    with ThreadPoolExecutor(threads) as pool:
        results = list(pool.map(work, range(threads)))
    kept = [number for mine, _ in results for number in mine]
    everything = kept + [number for _, mine in results for number in mine]
    assert len(set(everything)) == threads * writes * width, "a number was used twice"
    assert scan(engine)[0].tolist() == sorted(kept), "a row was lost or is still there"
    assert engine.sources() == {f"thread {n}": writes * (width - 1) for n in range(threads)}


def check_sequences(make: EngineMaker, seeds: Sequence[int] = (0, 1)) -> None:
    """Random sequences of operations give what a ``ListEngine`` gives."""
    for seed in seeds:
        draw = random.Random(seed)
        names = draw.choices(("add", "erase", "search", "compact"), (4, 3, 3, 0.3), k=25)
        check_operations(make, [(name, draw.randrange(10**6)) for name in names])


def check_operations(make: EngineMaker, operations: Sequence[Operation], metric: Metric = "l2") -> None:
    """Check that operations give what a ``ListEngine`` gives."""
    engine = make(metric)
    reference = ListEngine(engine.key_size, engine.value_size, metric)
    number: dict[int, int] = {-1: -1}  # of the reference's rows → of the engine's
    for name, seed in operations:
        draw = random.Random(seed)
        space, source = draw.choice((0, 0, 5)), draw.choice("abc")
        if name == "add":
            rows = new_rows(engine, draw.randint(0, 6), seed)
            added = [one.add(*rows, sources=source, space=space).tolist() for one in (reference, engine)]
            number |= dict(zip(*added, strict=True))
        elif name == "erase":
            held = torch.tensor(draw.sample(sorted(number), min(3, len(number))))
            same = torch.tensor([number[row] for row in held.tolist()])
            assert engine.erase(same) == reference.erase(held), "number of rows erased"
        elif name == "search":
            _compare_searches(engine, reference, number, seed, space)
        else:
            engine.compact()
        assert engine.count(None) == reference.count(None), f"count after {name}"
    for part in (None, 0, 5):
        ours, *content = scan(engine, space=part)
        theirs, *expected = scan(reference, space=part)
        assert ours.tolist() == [number[row] for row in theirs.tolist()], "rows after all operations"
        assert torch.equal(content[0], expected[0]), "keys after all operations"
        assert torch.equal(content[1], expected[1]), "values after all operations"
        assert engine.sources(part) == reference.sources(part), "sources after all operations"


def _compare_searches(
    engine: Engine, reference: Engine, number: Mapping[int, int], seed: int, space: int
) -> None:
    queries, _ = new_rows(engine, 3, seed + 1)
    found, expected = (one.search(queries, 4, space) for one in (engine, reference))
    assert found.rows.flatten().tolist() == [number[row] for row in expected.rows.flatten().tolist()]
    assert torch.equal(found.keys, expected.keys)
    assert torch.equal(found.values, expected.values)
