"""A million entries at once: time to write and erase them, and what a ``HashStorage`` then finds.

    uv run --group bench python benchmarks/bulk.py [--quick] [--only writes|recall] [--json FILE]

Processor time on one thread. The keys of the search stand in clusters of 50 around random centres, and each
query is near one of them: cosine about 0.8 within a cluster. Recall@10 is the share of the ten entries of
highest cosine that are among the ten found.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faiss
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from recollect import HashStorage

WIDTH, CLUSTER, QUERIES, BATCH, BEST = 64, 50, 1000, 100, 10
HASHES = ((4, 18, 8), (16, 18, 8), (16, 16, 32), (32, 16, 32), (16, 14, 128))
"""Tables, bits of a bucket and indices per bucket."""
EFFORTS = (10, 16, 32, 64, 128, 256)
"""``efSearch`` of HNSW."""


def seconds(call: Callable[..., Any], *arguments: Any, **options: Any) -> tuple[float, Any]:
    """Processor seconds of a call, and its result."""
    start = time.process_time()
    result = call(*arguments, **options)
    return time.process_time() - start, result


def writes(count: int) -> Iterator[dict[str, Any]]:
    """Time to write and to erase ``count`` entries, one call each."""
    bits = (2 * count // 8 - 1).bit_length()
    shapes = {"buckets": 1 << bits, "capacity": 8, "entries": count}
    whole = HashStorage(2, WIDTH, integer_keys=True, **shapes)
    integers = torch.randint(0, 1 << 40, (count, 2))
    cases = {
        "integers": (whole, integers),
        "integers, each twice": (whole, integers[: count // 2].repeat(2, 1)),
        "64 wide": (HashStorage(64, WIDTH, **shapes), torch.randn(count, 64)),
        "128 wide": (HashStorage(128, WIDTH, **shapes), torch.randn(count, 128)),
    }
    values = torch.randn(count, WIDTH)
    for name, (storage, keys) in cases.items():
        state = storage.initial_state()
        written, state = seconds(storage.write, state, keys, values, inplace=True)
        erased, state = seconds(storage.erase, state, keys, inplace=True)
        left = float(storage.inspect(state)["occupancy"])
        yield {"keys": name, "write, s": round(written, 1), "erase, s": round(erased, 1), "left": left}


def clusters(count: int) -> tuple[Tensor, Tensor]:
    """Keys and queries of length 1."""
    centres = torch.nn.functional.normalize(torch.randn(count // CLUSTER, WIDTH), dim=-1)
    noise = 0.5 / WIDTH**0.5
    keys = centres.repeat(CLUSTER, 1) + noise * torch.randn(count, WIDTH)
    queries = centres[torch.randint(len(centres), (QUERIES,))] + noise * torch.randn(QUERIES, WIDTH)
    return torch.nn.functional.normalize(keys, dim=-1), torch.nn.functional.normalize(queries, dim=-1)


def measured(search: Callable[[Tensor], Tensor], queries: Tensor, expected: Tensor) -> tuple[float, float]:
    """Microseconds of a query, in batches, and recall@10."""
    search(queries[:BATCH])
    spent, found = seconds(lambda: torch.cat([search(rows) for rows in queries.split(BATCH)]))
    hits = (found.unsqueeze(-1) == expected.unsqueeze(-2)).any(-1).float().mean()
    return spent / len(queries) * 1e6, float(hits)


def recall(count: int) -> Iterator[dict[str, Any]]:
    """Time and recall of a query, by method and setting."""
    keys, queries = clusters(count)

    def row(method: str, setting: str, built: float, search: Callable[[Tensor], Tensor]) -> dict[str, Any]:
        spent, share = measured(search, queries, expected)
        figures = {"query, µs": round(spent), "recall@10": round(share, 3), "build, s": round(built, 1)}
        return {"method": method, "setting": setting} | figures

    flat = faiss.IndexFlatIP(WIDTH)
    built, _ = seconds(flat.add, keys.numpy())
    exact = index_search(flat)
    expected = torch.cat([exact(rows) for rows in queries.split(BATCH)])
    yield row("exact (FAISS flat)", "", built, exact)
    for tables, bits, capacity in HASHES:
        bits = min(bits, (count // 4).bit_length())
        storage = HashStorage(WIDTH, 1, 1 << bits, capacity, tables, entries=count)
        built, state = seconds(storage.write, storage.initial_state(), keys, keys[:, :1], inplace=True)
        setting = f"{tables} tables of 2^{bits} buckets of {capacity}"
        yield row("HashStorage", setting, built, hash_search(storage, state))
    index = faiss.IndexHNSWFlat(WIDTH, 16, faiss.METRIC_INNER_PRODUCT)
    built, _ = seconds(index.add, keys.numpy())
    for effort in EFFORTS:
        index.hnsw.efSearch = effort
        yield row("FAISS HNSW, M = 16", f"efSearch {effort}", built, index_search(index))


def index_search(index: Any) -> Callable[[Tensor], Tensor]:
    """The ten best entries by a FAISS index."""
    return lambda queries: torch.from_numpy(index.search(queries.numpy(), BEST)[1])


def hash_search(storage: HashStorage, state: Any) -> Callable[[Tensor], Tensor]:
    """The ten entries that a read weighs most, in the order in which they were written."""

    def search(queries: Tensor) -> Tensor:
        read = storage.read(state, queries)
        assert read.weights is not None
        assert read.slots is not None
        highest, best = read.weights.topk(BEST, -1)
        return read.slots.gather(-1, best).masked_fill(highest <= 0, -1)

    return search


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
    parser.add_argument("--quick", action="store_true", help="20,000 entries instead of a million")
    parser.add_argument("--only", choices=("writes", "recall"), help="one of the two tables")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to a file")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    torch.manual_seed(0)
    count, console, saved = 20_000 if chosen.quick else 1_000_000, Console(width=140), {}
    titles = {"writes": f"{count:,} entries in one call", "recall": f"search among {count:,} entries"}
    with torch.no_grad():
        for name, run in (("writes", writes), ("recall", recall)):
            if chosen.only in (None, name):
                saved[name] = []
                for line in run(count):
                    saved[name].append(line)
                    console.print(line)
                console.print(table(titles[name], saved[name]))
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(saved, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
