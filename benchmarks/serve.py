"""A served model under load: latencies by kind of request, and whether anything is lost.

    uv run python benchmarks/serve.py [--store disk] [--rate 200] [--seconds 20] [--json FILE]

``recollect serve`` runs in a process of its own, on a free port of this machine, with a small network (keys
of width 128) and 10,000 rows. This process sends requests at a fixed rate, whatever the answers take: of ten
requests six predict, one explains and three write one row each. Every latency counts from the moment that a
request was due. Afterwards the rows are counted; the script fails if one that was acknowledged is missing or
a request was refused. Both processes share the cores of the machine.
"""

import argparse
import asyncio
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from recollect import Interpolation, NeighborMemory, VectorStorage, augment

FEATURES, WIDTH, CLASSES, ROWS, SLOTS = 64, 128, 10, 10_000, 16_000
PATTERN = (
    "predict",
    "remember",
    "predict",
    "predict",
    "explain",
    "remember",
    "predict",
    "predict",
    "remember",
    "predict",
)
STORES = ("memory", "disk")


def make_model() -> tuple[nn.Module, Tensor]:
    """The network that the server loads, and an example of its input."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(FEATURES, WIDTH), nn.ReLU(), nn.Linear(WIDTH, CLASSES))
    memory = NeighborMemory(WIDTH, VectorStorage(WIDTH, 1, slots=SLOTS), classes=CLASSES)
    model = augment(network, at="2", memory=memory, integration=partial(Interpolation, gate=0.5))
    return model, torch.zeros(1, FEATURES)


class Answer(NamedTuple):
    """What became of a request: its kind, status, seconds, and source if it wrote one."""

    kind: str
    status: int
    seconds: float
    source: str | None


@contextmanager
def server(store: Path | None) -> Iterator[str]:
    """Run a server and return its address; it is stopped at the end."""
    program = "import sys; from recollect_cli.core import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", program, "serve", "serve:make_model", "--port", "0"]
    command += ["--store", str(store)] if store is not None else []
    environment = {name: value for name, value in os.environ.items() if name != "RECOLLECT_TOKEN"}
    environment["OMP_NUM_THREADS"] = "1"
    process = subprocess.Popen(
        command, cwd=Path(__file__).parent, env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        yield next(found[0] for line in process.stderr if (found := re.search(r"http://[\d.:]+", line)))
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        finally:
            process.kill()
            process.wait()


def body_of(kind: str, number: int, items: int = 1) -> dict[str, Any]:
    """A request."""
    inputs = torch.randn(items, FEATURES, generator=torch.Generator().manual_seed(number)).tolist()
    if kind != "remember":
        return {"inputs": inputs, "top": 1}
    return {"inputs": inputs, "targets": [number % CLASSES] * items, "source": f"s{number}"}


async def load(address: str, rate: float, seconds: float) -> list[Answer]:
    """Fill the store, then send requests at a fixed rate."""
    bodies = [body_of(PATTERN[n % len(PATTERN)], n) for n in range(round(rate * seconds))]
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
    async with httpx.AsyncClient(base_url=address, timeout=None, limits=limits) as client:
        for number in range(ROWS // 250):
            (await client.post("/v1/remember", json=body_of("remember", -1 - number, 250))).raise_for_status()
        for kind in sorted(set(PATTERN)):  # the first call of each imports
            (await client.post(f"/v1/{kind}", json=body_of(kind, 10**9))).raise_for_status()
        start = time.perf_counter() + 0.1

        async def send(number: int) -> Answer:
            kind, due = PATTERN[number % len(PATTERN)], start + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            response = await client.post(f"/v1/{kind}", json=bodies[number])
            return Answer(kind, response.status_code, time.perf_counter() - due, bodies[number].get("source"))

        answers = await asyncio.gather(*(send(number) for number in range(len(bodies))))
        await check(client, answers)
        return answers


async def check(client: httpx.AsyncClient, answers: list[Answer]) -> None:
    """Fail if a request was refused, or a row is missing."""
    refused = [answer for answer in answers if answer.status != 200]
    stored = (await client.get("/v1/provenance", params={"limit": 10_000})).json()
    expected = {answer.source for answer in answers if answer.status == 200 and answer.source is not None}
    missing = expected - set(stored["largest"])
    if refused or missing or stored["rows"] != ROWS + 1 + len(expected):
        raise SystemExit(
            f"{len(refused)} refused, {len(missing)} of {len(expected)} rows missing: {stored['rows']}"
        )


def measure(store: str, rate: float, seconds: float) -> list[dict[str, Any]]:
    """A row of the table for each kind of request."""
    with (
        tempfile.TemporaryDirectory() as folder,
        server(None if store == "memory" else Path(folder, "store")) as address,
    ):
        answers = asyncio.run(load(address, rate, seconds))
    kinds = defaultdict(list)
    for answer in answers:
        kinds[answer.kind].append(answer.seconds * 1000)
    return [
        {"rows": store, "request": kind, "a second": len(times) / seconds}
        | {
            name: round(quantile(times, share), 1)
            for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
        }
        for kind, times in kinds.items()
    ]


def quantile(values: list[float], share: float) -> float:
    """The smallest value that a share of the values does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def main(args: list[str] | None = None) -> None:
    """Measure, show and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=200, help="requests a second")
    parser.add_argument("--seconds", type=float, default=20, help="for how long")
    parser.add_argument("--store", choices=STORES, help="where the rows are; both by default")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to a file")
    chosen = parser.parse_args(args)
    stores = STORES if chosen.store is None else (chosen.store,)
    figures = [row for store in stores for row in measure(store, chosen.rate, chosen.seconds)]
    shown = Table(*figures[0], title=f"milliseconds at {chosen.rate:g} requests a second; nothing was lost")
    for row in figures:
        shown.add_row(*(str(value) for value in row.values()))
    Console(width=110).print(shown)
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
