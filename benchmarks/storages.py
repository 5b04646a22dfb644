"""Time and memory of each storage's verbs by number of entries, with FAISS and dense attention beside them.

    uv run --group bench python benchmarks/storages.py [--quick] [--out DIR]

All run in this one process, one thread, float32, unbatched, one entry or query a call; what changes a
state does so in place, but for ``scan``. Times are medians of process CPU time. The script fails if a verb
that must be flat in the number of entries (``HashStorage`` and ``LinkedStorage``: read, write, erase) is not.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import matplotlib
import torch
from filled_states import filled, filled_temporal
from measuring import Allocations, Call, measure
from rich.console import Console
from rich.table import Table
from torch import Tensor

from recollect import HashStorage, LinkedStorage, TemporalLinkStorage, VectorStorage
from recollect.state import map_state
from recollect.storages.base import Storage

matplotlib.use("agg")
from matplotlib import pyplot

KEY = VALUE = 64
STEPS = 4
FLAT = 1.5
VERBS = ("read", "write", "erase", "scan")
SIZES = {False: (1_000, 10_000, 100_000, 1_000_000), True: (1_000, 4_000, 16_000)}


@dataclass(frozen=True)
class Contender:
    """Something that is measured.

    Args:
        name: In the table.
        build: Makes it with N entries: calls by verb, and the bytes that it keeps.
        limits: Most entries by verb, where time or memory end; none by default.
        flat: Whether read, write and erase must cost the same at any N.
    """

    name: str
    build: Callable[[Tensor, Tensor], tuple[dict[str, Call], int]]
    limits: dict[str, int]
    flat: bool = False


def in_turn(rows: Tensor) -> Iterator[Tensor]:
    """Single rows, over and over, in an order of chance."""
    order = torch.randperm(len(rows)).tolist()  # made here, not in the first call that is measured
    return (rows[row : row + 1] for row in itertools.cycle(order))


def storage_calls(
    make: Callable[[int], Storage[Any]], fill: Callable[[Any, Tensor, Tensor], Any]
) -> Callable[[Tensor, Tensor], tuple[dict[str, Call], int]]:
    """The verbs of a storage. Erases come after reads and make room for the writes that follow."""

    def build(keys: Tensor, values: Tensor) -> tuple[dict[str, Call], int]:
        storage = make(len(keys))
        state = fill(storage, keys, values)
        sizes: list[int] = []
        map_state(lambda tensor: (sizes.append(tensor.nbytes), tensor)[1], state)
        queries, gone, value = in_turn(keys), in_turn(keys), torch.randn(1, VALUE)
        steps = [torch.randn(STEPS, width) for width in (KEY, KEY, VALUE)]
        strength = torch.ones(STEPS)
        held = [state]

        def write() -> None:
            held[0] = storage.write(held[0], torch.randn(1, KEY), value, inplace=True)

        def erase() -> None:
            held[0] = storage.erase(held[0], next(gone), inplace=True)

        calls = {
            "read": lambda: storage.read(held[0], next(queries)),
            "erase": erase,
            "write": write,
            "scan": lambda: storage.scan(held[0], *steps, strength, strength),
        }
        return calls, sum(sizes)

    return build


def hash_storage(count: int) -> HashStorage:
    """Buckets for N entries twice over, as hard links have them."""
    buckets = 1 << ((2 * count - 1) // 8).bit_length()
    return HashStorage(KEY, VALUE, buckets=buckets, capacity=8, tables=4, entries=count)


def faiss_calls(make: Callable[[], Any]) -> Callable[[Tensor, Tensor], tuple[dict[str, Call], int]]:
    """A FAISS index: a read looks up the 32 nearest, as many as a hash has candidates, and weighs nothing."""

    def build(keys: Tensor, values: Tensor) -> tuple[dict[str, Call], int]:
        index = make()
        index.add(keys.numpy())
        queries = in_turn(keys)
        calls = {
            "read": lambda: index.search(next(queries).numpy(), 32),
            "write": lambda: index.add(torch.randn(1, KEY).numpy()),
        }
        return calls, len(faiss.serialize_index(index))

    return build


def attention_calls(keys: Tensor, values: Tensor) -> tuple[dict[str, Call], int]:
    """Dense attention over all entries."""
    queries = in_turn(keys)

    def read() -> Tensor:
        query = next(queries).unsqueeze(0)
        return torch.nn.functional.scaled_dot_product_attention(query, keys.unsqueeze(0), values.unsqueeze(0))

    return {"read": read}, keys.nbytes + values.nbytes


def contenders(hnsw_limit: int) -> list[Contender]:
    """Those that must be flat, the peers, and the rest of ours."""

    def temporal(kept: int | None) -> Callable[[int], TemporalLinkStorage]:
        return lambda count: TemporalLinkStorage(KEY, VALUE, count, kept)

    def hnsw() -> Any:
        return faiss.IndexHNSWFlat(KEY, 32, faiss.METRIC_INNER_PRODUCT)

    dense, sparse = (storage_calls(temporal(kept), filled_temporal) for kept in (None, 8))
    linked = storage_calls(lambda count: LinkedStorage(KEY, VALUE, count), filled)
    vector = storage_calls(lambda count: VectorStorage(KEY, VALUE, count), filled)
    return [
        Contender("HashStorage", storage_calls(hash_storage, filled), {"scan": 100_000}, flat=True),
        Contender("LinkedStorage", linked, {"scan": 100_000}, flat=True),
        Contender("attention (torch)", attention_calls, {}),
        Contender("FAISS flat", faiss_calls(lambda: faiss.IndexFlatIP(KEY)), {}),
        Contender("FAISS HNSW", faiss_calls(hnsw), dict.fromkeys(VERBS, hnsw_limit)),
        Contender("VectorStorage", vector, {}),
        Contender("TemporalLinkStorage kept=8", sparse, dict.fromkeys(VERBS, 10_000)),
        Contender(
            "TemporalLinkStorage", dense, dict.fromkeys(VERBS, 1_000) | {"read": 10_000, "write": 10_000}
        ),
    ]


def run(contender: Contender, sizes: tuple[int, ...]) -> dict[str, Any]:
    """All verbs of one contender at all sizes that it can do."""
    allowed = max(contender.limits.get(verb, sizes[-1]) for verb in VERBS)
    built = {}
    for count in sizes:
        if count <= allowed:
            keys = torch.nn.functional.normalize(torch.randn(count, KEY), dim=-1)
            built[count] = contender.build(keys, torch.randn(count, VALUE))
    result: dict[str, Any] = {"bytes": {count: kept for count, (_, kept) in built.items()}}
    for verb in VERBS:
        calls = {
            count: verbs[verb]
            for count, (verbs, _) in built.items()
            if verb in verbs and count <= contender.limits.get(verb, sizes[-1])
        }
        # FAISS allocates by itself, unseen.
        ours = "FAISS" not in contender.name
        made = {count: _allocated(call) for count, call in calls.items()} if ours else {}
        times = measure(calls)
        per_step = STEPS if verb == "scan" else 1
        result[verb] = {count: seconds / per_step for count, seconds in times.items()}
        result[f"{verb} allocates"] = {count: number // per_step for count, number in made.items()}
    return result


def _allocated(call: Call) -> int:
    with Allocations() as made:
        call()
    return made.bytes


def flatness(results: dict[str, Any], chosen: list[Contender]) -> list[dict[str, Any]]:
    """For each verb that must be flat: its dearest size by its cheapest."""
    ratios = []
    for contender in chosen:
        for verb in ("read", "write", "erase") if contender.flat else ():
            times = list(results[contender.name][verb].values())
            ratio = max(times) / min(times)
            ratios.append({"what": f"{contender.name} {verb}", "ratio": ratio, "passes": ratio <= FLAT})
    return ratios


def table(results: dict[str, Any], sizes: tuple[int, ...]) -> Table:
    """Times in microseconds, what a call allocates at the largest size, and bytes kept for each entry."""
    shown = Table(title="CPU time of one call in µs, by number of entries")
    for name in ("", "verb", *(f"{count:,}" for count in sizes), "allocates", "bytes an entry"):
        shown.add_column(name, justify="left" if name in ("", "verb") else "right")
    for name, result in results.items():
        for verb in (verb for verb in VERBS if result[verb]):
            cells = [f"{result[verb][n] * 1e6:,.0f}" if n in result[verb] else "–" for n in sizes]
            made = result[f"{verb} allocates"]
            allocates = f"{made[max(made)] / 1024:,.0f} KiB" if made else "–"
            kept = result["bytes"]
            shown.add_row(name, verb, *cells, allocates, f"{kept[max(kept)] / max(kept):,.0f}")
    return shown


def plot(results: dict[str, Any], path: Path) -> None:
    """Time by number of entries, one picture a verb, both axes logarithmic."""
    figure, axes = pyplot.subplots(1, len(VERBS), figsize=(17, 4.6), sharey=True, layout="constrained")
    for axis, verb in zip(axes, VERBS, strict=True):
        for place, (name, result) in enumerate(results.items()):
            points = sorted(result[verb].items())
            ours = name.endswith("Storage") or name.startswith("Linked")
            style = {"color": f"C{place}", "marker": "o", "linestyle": "-" if ours else "--", "label": name}
            axis.plot([n for n, _ in points], [seconds * 1e6 for _, seconds in points], **style)
        axis.set(
            title=verb if verb != "scan" else "scan, a step", xscale="log", yscale="log", xlabel="entries"
        )
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("CPU time of one call, µs")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def options() -> tuple[argparse.Namespace, list[Contender]]:
    """What the command line asks for, and who is to be measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="some contenders, by the names in the table"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes only")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="folder of the results")
    parser.add_argument(
        "--hnsw-limit", type=int, default=100_000, help="entries at most in HNSW: slow to build"
    )
    chosen = parser.parse_args()
    known = {contender.name: contender for contender in contenders(chosen.hnsw_limit)}
    unknown = set(chosen.only or ()) - set(known)
    if unknown:
        parser.error(f"--only: no such contender: {', '.join(sorted(unknown))}")
    return chosen, [known[name] for name in known if name in (chosen.only or known)]


def main() -> int:
    """Measure, show, save, and say whether what must be flat is."""
    arguments, chosen = options()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    torch.manual_seed(0)
    sizes, console = SIZES[arguments.quick], Console(width=140)
    results = {}
    with torch.no_grad():
        for contender in chosen:
            console.print(f"measuring {contender.name} …")
            results[contender.name] = run(contender, sizes)
            saved = {"sizes": sizes, "key": KEY, "value": VALUE, "results": results}
            (arguments.out / "storages.json").write_text(json.dumps(saved, indent=1))
    console.print(table(results, sizes))
    ratios = flatness(results, chosen)
    for line in ratios:
        verdict = "PASS" if line["passes"] else "FAIL"
        console.print(
            f"{verdict} {line['what']}: dearest / cheapest size {line['ratio']:.2f}, at most {FLAT}"
        )
    (arguments.out / "storages.json").write_text(json.dumps(saved | {"flat": ratios}, indent=1))
    plot(results, arguments.out / "storages.png")
    console.print(f"wrote {arguments.out / 'storages.json'} and {arguments.out / 'storages.png'}")
    return 0 if all(line["passes"] for line in ratios) else 1


if __name__ == "__main__":
    sys.exit(main())
