"""How fast the core is, as ratios to peers and hand-written references that run in turn with it.

    uv run --group bench python benchmarks/core.py [--only ROW …] [--quick] [--device cuda] [--json FILE]

Each figure is the median of several runs that take turns; on a CPU it is processor time on one thread, on a
GPU wall time with a synchronisation. A ratio is our time by the peer's. The rows of ``dnc`` appear once it is
installed, which nothing else needs:

    uv pip install dnc==1.1.0

``titans-pytorch`` and ``product-key-memory`` have no counterpart in the core yet, and
``memorizing-transformers-pytorch`` searches with the FAISS index that is measured here.
"""

import argparse
import json
import math
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import torch
from core_references import AttentionGru, MemN2N, NormedMemN2N, attention, trained, transformer
from measuring import Call, measure
from torch import Tensor

from recollect import (
    HashStorage,
    MemoryNetwork,
    Parallel,
    Seq2SeqMemory,
    TemporalLinkStorage,
    VectorStorage,
    augment,
)

OURS = "recollect"


@dataclass(frozen=True)
class Row:
    """One comparison.

    Args:
        what: The work, with sizes.
        goal: What is aimed at, in words.
        calls: Calls by name; ours is ``OURS``, or starts with it.
        grad: Whether the calls need gradients.
    """

    what: str
    goal: str
    calls: dict[str, Call]
    grad: bool = False
    times: dict[str, float] = field(default_factory=dict)


def ring_scan(device: str, quick: bool) -> list[Row]:
    """A scan of a ring is causal attention."""
    steps, width = (256 if quick else 1024), 64
    storage = VectorStorage(width, width, slots=steps, similarity="dot").to(device)
    state = storage.initial_state(4)
    rows = [torch.randn(4, steps, width, device=device, requires_grad=True) for _ in range(3)]

    def ours(*rows: Tensor) -> Tensor:
        return storage.scan(state, *rows)[0]

    def peer(*rows: Tensor) -> Tensor:
        return attention(*rows, causal=True)

    def both(forward: Callable[..., Tensor]) -> Call:
        return lambda: torch.autograd.grad(forward(*rows).square().sum(), rows)

    what = f"ring scan, batch 4, T {steps:,}, N {steps:,}, width {width}"
    plain = {OURS: lambda: ours(*rows), "causal SDPA": lambda: peer(*rows)}
    trained_ = {OURS: both(ours), "causal SDPA": both(peer)}
    return [
        Row(f"{what}, forward", "≤ 1.5×", plain),
        Row(f"{what}, forward and backward", "≤ 1.5×", trained_, grad=True),
    ]


@torch.no_grad()
def large_read(device: str, quick: bool) -> list[Row]:
    """64 queries read a large store."""
    count, width = (20_000 if quick else 1_000_000), 128
    storage = VectorStorage(width, width, slots=count, similarity="dot").to(device)
    keys, values = torch.randn(count, width, device=device), torch.randn(count, width, device=device)
    state = storage.write(storage.initial_state(), keys, values, inplace=True)
    query = torch.randn(64, width, device=device)
    calls: dict[str, Call] = {
        OURS: lambda: storage.read(state, query, need_weights=False).value,
        f"{OURS}, with weights": lambda: storage.read(state, query).value,
        "softmax(q Kᵀ) V": lambda: (query @ keys.mT / math.sqrt(width)).softmax(-1) @ values,
        "SDPA": lambda: attention(query[None], keys[None], values[None]),
    }
    if find_spec("faiss") and device == "cpu":
        import faiss

        faiss.omp_set_num_threads(1)
        index = faiss.IndexFlatIP(width)
        index.add(keys.numpy())
        calls["FAISS flat, 32 nearest"] = lambda: index.search(query.numpy(), 32)
    return [Row(f"read of {count:,} × {width}, 64 queries", "≥ 2.5 TB/s on an H200", calls)]


def single_calls(device: str, quick: bool) -> list[Row]:
    """The overhead of one call on a small store."""
    slots, width = 128, 32
    storage = VectorStorage(width, width, slots=slots).to(device)
    keys, values = torch.randn(slots, width, device=device), torch.randn(slots, width, device=device)
    state = storage.write(storage.initial_state(), keys, values)
    key, value = torch.randn(1, width, device=device), torch.randn(1, width, device=device)
    place = torch.zeros(1, dtype=torch.int64, device=device)

    def read() -> Tensor:
        scores = torch.nn.functional.normalize(key, dim=-1) @ torch.nn.functional.normalize(keys, dim=-1).mT
        return (10 * scores).softmax(-1) @ values

    def write() -> list[Tensor]:
        return [old.index_copy(0, place, new) for old, new in ((keys, key), (values, value))]

    goal = "≤ 150 µs of overhead on a GPU"
    return [
        Row(
            f"read of {slots} × {width}", goal, {OURS: lambda: storage.read(state, key), "written out": read}
        ),
        Row(
            f"write to {slots} × {width}",
            goal,
            {OURS: lambda: storage.write(state, key, value), "written out": write},
        ),
        Row(f"erase from {slots} × {width}", goal, {OURS: lambda: storage.erase(state, key)}),
    ]


def memory_network(device: str, quick: bool) -> list[Row]:
    """Three hops, from facts to an answer."""
    batch, facts, size = 32, 50, 64
    ours = MemoryNetwork(size, VectorStorage(size, size, slots=facts, similarity="dot"), hops=3).to(device)
    peer = MemN2N(size, hops=3).to(device)
    x, question = torch.randn(batch, facts, size, device=device), torch.randn(batch, 1, size, device=device)

    def answer(facts: Tensor, question: Tensor) -> Tensor:
        return ours.read(ours.write(ours.initial_state(batch), facts), question)

    what = f"MemoryNetwork, 3 hops, {batch} × {facts} facts, width {size}"
    same = NormedMemN2N(size, hops=3).to(device)
    plain = {
        OURS: lambda: answer(x, question),
        "MemN2N written out": lambda: peer(x, question),
        "the same formula written out": lambda: same(x, question),
    }
    steps = {
        OURS: trained(ours, answer, x, question),
        "MemN2N written out": trained(peer, peer, x, question),
        "the same formula written out": trained(same, same, x, question),
    }
    return [
        Row(f"{what}, forward", "≤ 1.3×", plain),
        Row(f"{what}, forward and backward", "≤ 1.3×", steps, grad=True),
    ]


def seq2seq(device: str, quick: bool) -> list[Row]:
    """The attentive recurrence, over a source and over what it writes itself."""
    batch, steps, size = 32, 64, 64
    x, source = (torch.randn(batch, steps, size, device=device) for _ in range(2))
    peer = AttentionGru(size).to(device)
    rows = []
    for writes in (False, True):
        storage = VectorStorage(size, size, slots=steps, similarity="dot")
        ours = Seq2SeqMemory(size, storage, write_on_forward=writes).to(device)

        def forward(x: Tensor, source: Tensor, ours: Seq2SeqMemory = ours) -> Tensor:
            state = ours.initial_state(batch)
            return ours(x, state if ours.write_on_forward else ours.write(state, source))[0]

        def reference(x: Tensor, source: Tensor, writes: bool = writes) -> Tensor:
            return peer(x, None if writes else source)

        calls = {
            OURS: trained(ours, forward, x, source),
            "loop over nn.GRUCell": trained(peer, reference, x, source),
        }
        kind = "write_on_forward" if writes else "a source of 64"
        rows.append(
            Row(
                f"Seq2SeqMemory, {kind}, B {batch} T {steps} D {size}, forward and backward", "–", calls, True
            )
        )
    return rows


def temporal_links(device: str, quick: bool) -> list[Row]:
    """A step of differentiable links: write one entry, read by content, and along the links both ways."""
    batch, slots, width = 8, 128, 32
    storage = TemporalLinkStorage(width, width, slots).to(device)
    key, value = (torch.randn(batch, 16, width, device=device, requires_grad=True) for _ in range(2))
    full = storage.write(storage.initial_state(batch), *torch.randn(2, batch, slots, width, device=device))

    def ours(steps: int, erase: bool) -> Tensor:
        state, total = full, torch.zeros((), device=device)
        for t in range(steps):
            now = slice(t, t + 1)
            if erase:
                state = storage.erase(state, key[:, now])
            state = storage.write(state, key[:, now], value[:, now])
            read = storage.read(state, key[:, now])
            on, back = storage.follow(state, read), storage.follow(state, read, "backward")
            total = total + (read.value + on.value + back.value).square().sum()
        return total

    calls = {
        OURS: lambda: torch.autograd.grad(ours(16, False), (key, value)),
        f"{OURS}, with erase": lambda: torch.autograd.grad(ours(16, True), (key, value)),
    }
    if find_spec("dnc"):
        calls["dnc 1.1.0"] = _dnc_steps(batch, slots, width)
    what = f"soft links, 16 steps, batch {batch}, {slots} slots × {width}, forward and backward"
    return [Row(what, "≤ 0.33×", calls, grad=True)]


def _dnc_steps(batch: int, slots: int, width: int) -> Call:
    """The memory of the package ``dnc`` with one read head."""
    from dnc.memory import Memory

    peer = Memory(width, mem_size=slots, cell_size=width, read_heads=1)
    x = torch.randn(16, batch, width, requires_grad=True)

    def steps() -> object:
        hidden, total = peer.reset(batch), torch.zeros(())
        for now in x:
            read, hidden = peer(now, hidden)
            total = total + read.square().sum()
        return torch.autograd.grad(total, x)

    return steps


def augmented(device: str, quick: bool) -> list[Row]:
    """A Transformer of four layers, plain and with a recurrent memory in one layer, and in each."""
    batch, steps, size = 32, 64, 128
    x = torch.randn(batch, steps, size, device=device)
    plain = transformer(size, 4).to(device)
    calls = {"plain": trained(plain, plain, x)}
    for name, at in (("", "layers.1"), (", in each layer", "layers.*")):
        model = augment(
            transformer(size, 4).to(device),
            at,
            lambda d: Seq2SeqMemory(
                d, VectorStorage(d, d, slots=steps, similarity="dot"), write_on_forward=True
            ),
            Parallel,
            layout="btd",
            size=size,
        )
        calls[f"{OURS}{name}"] = trained(model, model, x)
    what = f"Transformer, 4 layers, B {batch} T {steps} D {size}, with Seq2SeqMemory, forward and backward"
    return [Row(what, "≤ 3×", dict(sorted(calls.items(), reverse=True)), grad=True)]


@torch.no_grad()
def bulk_writes(device: str, quick: bool) -> list[Row]:
    """Many entries at once into a hash table."""
    count, width = (10_000 if quick else 1_000_000), 64
    keys, values = torch.randn(count, width, device=device), torch.randn(count, width, device=device)
    buckets = 1 << ((2 * count - 1) // 8).bit_length()
    storage = HashStorage(width, width, buckets=buckets, capacity=8, tables=4, entries=count).to(device)
    full = storage.write(storage.initial_state(), keys, values, inplace=True)
    write: dict[str, Call] = {
        OURS: lambda: storage.write(storage.initial_state(), keys, values, inplace=True)
    }
    erase: dict[str, Call] = {OURS: lambda: storage.erase(full, keys)}
    goal = "≤ 10 s on a CPU, ≤ 2 s on a GPU"
    return [
        Row(f"HashStorage, {count:,} entries written at once", goal, write),
        Row(f"HashStorage, {count:,} entries erased at once", goal, erase),
    ]


ROWS = {
    "ring-scan": ring_scan,
    "large-read": large_read,
    "single-calls": single_calls,
    "memory-network": memory_network,
    "seq2seq": seq2seq,
    "temporal-links": temporal_links,
    "augment": augmented,
    "bulk-writes": bulk_writes,
}


def run(row: Row, device: str, samples: int) -> Row:
    """Measure a row."""
    with torch.set_grad_enabled(row.grad):
        if device == "cpu":
            row.times.update(measure(row.calls, samples))
        else:
            row.times.update({name: _gpu_seconds(call, samples) for name, call in row.calls.items()})
    return row


def _gpu_seconds(call: Call, samples: int) -> float:
    times = []
    for _ in range(samples + 2):  # the first two warm up
        torch.cuda.synchronize()
        begin = time.perf_counter()
        call()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    return statistics.median(times[2:])


def show(row: Row) -> None:
    """Print the row's lines of the table: each of ours against each peer."""
    for ours in (name for name in row.calls if name.startswith(OURS)):
        peers = [name for name in row.calls if not name.startswith(OURS)]
        ratios = [
            f"{row.times[ours] / row.times[peer]:.2f}× {peer} ({row.times[peer] * 1e3:,.3f} ms)"
            for peer in peers
        ]
        note = ours.removeprefix(OURS)
        print(
            f"| {row.what}{note} | {row.times[ours] * 1e3:,.3f} | {'; '.join(ratios) or '–'} | {row.goal} |",
            flush=True,
        )


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), help="some of the rows")
    parser.add_argument("--quick", action="store_true", help="smaller sizes")
    parser.add_argument("--samples", type=int, default=11, help="runs that a median is taken of")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    name = torch.cuda.get_device_name() if options.device == "cuda" else platform.processor() or "CPU"
    print(f"{name}, torch {torch.__version__}\n\n| work | ms | ratio | goal |\n|---|---|---|---|", flush=True)
    figures = []
    for key in options.only:
        for row in ROWS[key](options.device, options.quick):
            show(run(row, options.device, options.samples))
            figures.append({"what": row.what, "goal": row.goal, "seconds": row.times})
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
