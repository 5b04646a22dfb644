"""Our forecasters and neuralforecast's on the same windows in one run: error, seconds per epoch, peak memory.

    uv run --group bench python benchmarks/forecasting.py --series ETTh1 --horizon 96 --lookback 336

Descent takes the same number of steps everywhere (``--epochs`` passes over the training windows, 256 windows
of all variables a step, Adam at 1e-3, squared error, no stopping early), each library with its own trainer.
Tested are all test windows, cut by us, through the network that was trained. Each candidate has a process of
its own, forked from this one, so that its peak memory can be told; what was there before is subtracted.
"""

import argparse
import json
import math
import multiprocessing
import resource
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning.pytorch import Trainer, seed_everything
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import MSE
from neuralforecast.models import DLinear, NLinear, PatchTST

from recollect_timeseries.data.ett import EttData
from recollect_timeseries.models.linear import Linear
from recollect_timeseries.models.linear_maps import LinearMaps
from recollect_timeseries.models.ridge_selection import RidgeSearch
from recollect_timeseries.models.window_memory import WindowMemory
from recollect_timeseries.tasks import Forecasting

BATCH = 256
RATE = 1e-3
QUIET: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
PATCHES = {"encoder_layers": 2, "n_heads": 4, "hidden_size": 64, "linear_hidden_size": 128, "revin": True}

Forecast = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def test_error(data: EttData, forecast: Forecast) -> tuple[float, float]:
    """MSE and MAE over every test window; ``forecast`` maps past and clock to ``(B, H, C)``."""
    squared = absolute = count = 0.0
    with torch.no_grad():
        for batch in data.test_dataloader():
            error = forecast(batch.past, batch.clock) - batch.future
            squared += error.double().square().sum().item()
            absolute += error.double().abs().sum().item()
            count += error.numel()
    return squared / count, absolute / count


def ours(data: EttData, epochs: int, ridge: bool, recall: bool) -> dict[str, float]:
    """Our linear backbone, by descent or in closed form."""
    windows = partial(WindowMemory, periods=[4], neighbours=10) if recall else None
    optimizer = partial(torch.optim.Adam, lr=RATE)
    day = 24 * (4 if data.which.startswith("ETTm") else 1)
    backbone = partial(LinearMaps, period=day, harmonics=6) if ridge else Linear
    task = Forecasting(
        backbone, window_memory=windows, ridge=RidgeSearch() if ridge else None, optimizer=optimizer
    )
    passes = {"max_epochs": 1, "limit_train_batches": 1} if ridge else {"max_epochs": epochs}
    trainer = Trainer(
        **passes, **QUIET, enable_checkpointing=False, num_sanity_val_steps=0, limit_val_batches=0
    )
    begin, processor = time.perf_counter(), time.process_time()
    trainer.fit(task, datamodule=data)
    spent = (time.perf_counter() - begin, time.process_time() - processor)
    model = task.model.eval()
    return row(
        spent, 1 if ridge else epochs, test_error(data, lambda past, clock: model(past, clock)[..., 0])
    )


def peer(data: EttData, epochs: int, kind: type[Any], **options: Any) -> dict[str, float]:
    """A network of neuralforecast, trained by its own trainer on the same split and scaling."""
    train = data.dataset("train")
    steps = epochs * math.ceil(len(train) / BATCH)
    model = kind(
        h=data.horizon,
        input_size=data.lookback,
        loss=MSE(),
        max_steps=steps,
        learning_rate=RATE,
        batch_size=len(data.columns),
        windows_batch_size=BATCH * len(data.columns),
        val_check_steps=steps + 1,
        accelerator="cpu",
        **options,
        **QUIET,
        enable_checkpointing=False,
    )
    values = train.values[: data.train_steps].numpy()
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat(data.columns, len(values)),
            "ds": np.tile(np.arange(len(values)), len(data.columns)),
            "y": values.T.reshape(-1),
        }
    )
    library = NeuralForecast(models=[model], freq=1)
    begin, processor = time.perf_counter(), time.process_time()
    library.fit(frame, val_size=0)
    spent = (time.perf_counter() - begin, time.process_time() - processor)
    network = library.models[0].eval()

    def forecast(past: torch.Tensor, clock: torch.Tensor) -> torch.Tensor:
        by_variable = past.mT.reshape(-1, data.lookback, 1)
        future = network({"insample_y": by_variable, "insample_mask": torch.ones_like(by_variable)})
        return future.reshape(len(past), -1, data.horizon).mT

    return row(spent, epochs, test_error(data, forecast))


def row(spent: tuple[float, float], epochs: int, errors: tuple[float, float]) -> dict[str, float]:
    """What is reported of a candidate."""
    clock, processor = (seconds / epochs for seconds in spent)
    return {"mse": errors[0], "mae": errors[1], "seconds_per_epoch": clock, "processor_per_epoch": processor}


def peak() -> float:
    """Most memory this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def apart(candidate: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Run a candidate in a process of its own."""
    here, there = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_report, args=(candidate, there))
    process.start()
    there.close()
    result: dict[str, float] = here.recv()
    process.join()
    return result


def _report(candidate: Callable[[], dict[str, float]], to: Connection) -> None:
    seed_everything(0, verbose=False)
    before = peak()
    to.send({**candidate(), "peak_mib": peak() - before})


def main() -> None:
    """Measure all and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--series", default="ETTh1")
    parser.add_argument("--horizon", type=int, default=96)
    parser.add_argument("--lookback", type=int, default=336)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--patches", action="store_true", help="PatchTST too, which takes much longer")
    args = parser.parse_args()
    data = EttData(args.lookback, args.horizon, BATCH, series=args.series)
    data.dataset("train")
    candidates = {
        "ours, linear by descent": partial(ours, data, args.epochs, False, False),
        "ours, ridge": partial(ours, data, args.epochs, True, False),
        "ours, ridge with a memory of windows": partial(ours, data, args.epochs, True, True),
        "neuralforecast NLinear": partial(peer, data, args.epochs, NLinear),
        "neuralforecast DLinear": partial(peer, data, args.epochs, DLinear),
    }
    if args.patches:
        candidates["neuralforecast PatchTST"] = partial(peer, data, args.epochs, PatchTST, **PATCHES)
    print(
        "| model | MSE | MAE | seconds per epoch | processor seconds per epoch | peak MiB |",
        "|---|---|---|---|---|---|",
        sep="\n",
    )
    for name, candidate in candidates.items():
        found = apart(candidate)
        cells = [f"{found['mse']:.4f}", f"{found['mae']:.4f}", f"{found['seconds_per_epoch']:.2f}"]
        cells += [f"{found['processor_per_epoch']:.2f}", f"{found['peak_mib']:.0f}"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
        print(json.dumps({"model": name, **vars(args), **found}), flush=True)


if __name__ == "__main__":
    main()
