"""A store on disk: time, recall and memory of a search among a million rows or more, and time to write.

    uv run python benchmarks/disk.py [--quick] [--rows 1000000] [--path FOLDER] [--json FILE]

Rows are 128 wide and stand in clusters of 50 around random centres, and each query is near one of them, as
in benchmarks/bulk.py. They are written 50,000 at a time; then another process opens the store, builds the
index and searches, one query at a time, with one thread of torch. Times are wall-clock unless they are of the
processor, memory is the whole process. Recall@10 is the
share of the ten nearest rows, found by comparing all, that are among the ten found. With --path the store
is kept, and used again if it is there.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from recollect.storages.disk_engine import LanceEngine

WIDTH, CLUSTER, WRITTEN, QUERIES, BEST = 128, 50, 50_000, 200, 10
NOISE = 0.5 / WIDTH**0.5


def unit(rows: Tensor) -> Tensor:
    """Rows of length 1."""
    return torch.nn.functional.normalize(rows, dim=-1)


def centres(part: int) -> Tensor:
    """Centres of the clusters of one write."""
    return unit(torch.randn(WRITTEN // CLUSTER, WIDTH, generator=torch.Generator().manual_seed(part)))


def near(middle: Tensor, seed: int) -> Tensor:
    """Rows of length 1 around centres."""
    noise = torch.randn(middle.shape, generator=torch.Generator().manual_seed(1_000_000 + seed))
    return unit(middle + NOISE * noise)


def written(part: int) -> Tensor:
    """Keys of one write."""
    return near(centres(part).repeat_interleave(CLUSTER, 0), part)


def write(path: Path, count: int) -> dict[str, Any]:
    """Write rows, if the folder is new."""
    engine = LanceEngine(path, WIDTH, 1, metric="cosine")
    start, stored = time.perf_counter(), engine.count()
    for part in range(stored // WRITTEN, count // WRITTEN):
        engine.add(written(part), torch.zeros(WRITTEN, 1), sources=f"part {part}")
    many = time.perf_counter() - start
    figures: dict[str, Any] = {"rows": engine.count()}
    if stored < count:
        figures["write, rows/s"] = round((count - stored) / many)
    start = time.perf_counter()
    numbers = torch.cat([engine.add(written(0)[:1], torch.zeros(1, 1)) for _ in range(50)])
    figures["write of one row, ms"] = round((time.perf_counter() - start) / 50 * 1e3, 1)
    start = time.perf_counter()
    engine.erase(numbers)
    figures["erase of 50 rows, ms"] = round((time.perf_counter() - start) * 1e3, 1)
    start = time.perf_counter()
    engine.compact()
    figures["compact, s"] = round(time.perf_counter() - start, 1)
    return figures


def expected(queries: Tensor, count: int) -> Tensor:
    """Numbers of the nearest rows, by comparing all of them, which are made anew."""
    best, rows = torch.full((QUERIES, BEST), -2.0), torch.full((QUERIES, BEST), -1)
    for part in range(count // WRITTEN):
        cosine, place = (queries @ written(part).T).topk(BEST, -1)
        best, order = torch.cat([best, cosine], -1).topk(BEST, -1)
        rows = torch.cat([rows, place + part * WRITTEN], -1).gather(-1, order)
    return rows


def memory() -> int:
    """MiB of memory in use."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() >> 20


def timed(engine: LanceEngine, queries: Tensor) -> tuple[list[float], Tensor]:
    """Milliseconds of each query in ascending order, and the rows found."""
    spent, found = [], []
    for query in queries.split(1):
        start = time.perf_counter()
        found.append(engine.search(query, BEST).rows)
        spent.append((time.perf_counter() - start) * 1e3)
    return sorted(spent), torch.cat(found)


def search(path: Path, count: int) -> dict[str, Any]:
    """Open a store and search it, with and without an index."""
    torch.set_num_threads(1)
    figures: dict[str, Any] = {"memory before, MiB": memory()}
    draw = torch.Generator().manual_seed(9)
    parts = torch.randint(count // WRITTEN, (QUERIES,), generator=draw).tolist()
    middle = torch.stack([centres(part)[n] for n, part in enumerate(parts)])
    queries = near(middle, -1)
    start = time.perf_counter()
    engine = LanceEngine(path, WIDTH, 1, metric="cosine")
    engine.count()
    figures["open, s"] = round(time.perf_counter() - start, 1)
    spent, _ = timed(engine, queries[:5])
    figures["without index, p50 ms"] = round(spent[2])
    print(figures, file=sys.stderr)
    start = time.perf_counter()
    while (share := engine.index_progress()) < 1:
        time.sleep(2)
        print(f"\rindex {share:.0%}", end="", file=sys.stderr)
    figures["index, s"] = round(time.perf_counter() - start)
    print(figures, file=sys.stderr)
    timed(engine, queries[:20])
    start = time.process_time()
    spent, found = timed(engine, queries)
    figures["processor, ms a query"] = round((time.process_time() - start) / QUERIES * 1e3, 2)
    hits = (found.unsqueeze(-1) == expected(queries, count).unsqueeze(-2)).any(-1)
    figures |= {"p50 ms": round(spent[QUERIES // 2], 2), "p95 ms": round(spent[int(QUERIES * 0.95)], 2)}
    figures |= {"recall@10": round(float(hits.float().mean()), 4)}
    figures["memory, MiB"] = memory()
    figures["highest, MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    return figures


def main() -> None:
    """Write in this process, search in another, show and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="150,000 rows")
    parser.add_argument("--rows", type=int, default=1_000_000, help="a multiple of 50,000")
    parser.add_argument("--path", type=Path, metavar="FOLDER", help="where to keep the store")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to a file")
    parser.add_argument("--search-only", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    count = 150_000 if chosen.quick else chosen.rows
    if chosen.search_only:
        print(json.dumps(search(chosen.path, count)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        path = chosen.path or Path(scratch) / "store"
        figures = write(path, count)
        command = [sys.executable, __file__, "--search-only", "--rows", str(count), "--path", str(path)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        figures |= json.loads(done.stdout)
    Console().print(figures)
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
