"""The table of forecasts: configs × series × horizons × lookbacks, the lookback chosen on validation.

    uv run python benchmarks/forecasting_table.py --out table.jsonl
    uv run python benchmarks/forecasting_table.py --out table.jsonl --lookbacks 96
    uv run python benchmarks/forecasting_table.py --out table.jsonl --configs ett --as-in ett+without-memory
    uv run python benchmarks/forecasting_table.py --out table.jsonl --show

Each run trains the packaged config through the same classes as ``recollect-timeseries fit``, chooses its
checkpoint on validation and tests it. Runs are kept as they come, one line of JSON each, and are not done
again.
"""

import argparse
import json
import tempfile
import time
import warnings
from pathlib import Path
from statistics import mean
from typing import Any

from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.cli import LightningArgumentParser
from packaged import packaged

from recollect.training import DataModule, Task

HORIZONS = (96, 192, 336, 720)
LOOKBACKS = (336, 512, 720, 1440)
KEYS = ("config", "series", "horizon", "lookback")
STEPS_PER_HOUR = {"ETTm1": 4, "ETTm2": 4, "weather": 6}
"""Where it is not 1: a ``period`` is a day, and a memory of windows has one window an hour."""


def settings(config: str, series: str, horizon: int, lookback: int, folder: str) -> dict[str, Any]:
    """The packaged config with what this run changes."""
    parts = packaged("recollect_timeseries", config)
    parts["data"]["init_args"] |= {"horizon": horizon, "lookback": lookback}
    if series != "weather":
        parts["data"]["init_args"]["series"] = series
    per_hour = STEPS_PER_HOUR.get(series, 1)
    backbone = parts["model"]["init_args"]["backbone"]
    if "period" in backbone.get("init_args", {}):
        backbone["init_args"]["period"] = 24 * per_hour
    windows = parts["model"]["init_args"].get("window_memory")
    if windows is not None:
        windows["init_args"]["stride"] = per_hour
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    parts["trainer"] |= {**quiet, "default_root_dir": folder}
    return parts


def run(config: str, series: str, horizon: int, lookback: int) -> dict[str, Any]:
    """Train, choose on validation, test."""
    seed_everything(0, verbose=False)
    parser = LightningArgumentParser()
    parser.add_lightning_class_args(Trainer, "trainer")
    parser.add_subclass_arguments(Task, "model")
    parser.add_subclass_arguments(DataModule, "data")
    with tempfile.TemporaryDirectory() as folder:
        parsed = parser.parse_object(settings(config, series, horizon, lookback, folder))
        made = parser.instantiate(parsed)
        trainer = Trainer(**made.trainer)
        begin, processor = time.perf_counter(), time.process_time()
        trainer.fit(made.model, datamodule=made.data)
        seconds, spent = time.perf_counter() - begin, time.process_time() - processor
        saver = trainer.checkpoint_callback
        val = float(saver.best_model_score)
        tested = trainer.test(made.model, made.data, ckpt_path=saver.best_model_path, verbose=False)[0]
    return {
        **dict(zip(KEYS, (config, series, horizon, lookback), strict=True)),
        "val": val,
        "mse": tested["test/mse"],
        "mae": tested["test/mae"],
        "seconds": round(seconds, 1),
        "processor_seconds": round(spent, 1),
        "epochs": trainer.current_epoch,
        "notes": made.model.notes,
    }


def chosen(rows: list[dict[str, Any]], config: str, series: str, horizon: int) -> dict[str, Any] | None:
    """The run whose lookback did best in validation, if there is one."""
    of_these = [
        row for row in rows if (row["config"], row["series"], row["horizon"]) == (config, series, horizon)
    ]
    return min(of_these, key=lambda row: row["val"], default=None)


def show(rows: list[dict[str, Any]]) -> None:
    """For each config and series: MSE (and the lookback chosen) by horizon, the averages, the seconds."""
    print(f"| config | series | {' | '.join(map(str, HORIZONS))} | MSE | MAE | processor seconds |")
    print("|---|---|" + "---|" * (len(HORIZONS) + 3))
    for config, series in dict.fromkeys((row["config"], row["series"]) for row in rows):
        own = [row for row in rows if (row["config"], row["series"]) == (config, series)]
        best = [chosen(own, config, series, horizon) for horizon in HORIZONS]
        cells = ["–" if row is None else f"{row['mse']:.3f} ({row['lookback']})" for row in best]
        there = [row for row in best if row is not None]
        averages = [f"{mean(row[name] for row in there):.4f}" for name in ("mse", "mae")]
        spent = f"{sum(row['processor_seconds'] for row in own):.0f}"
        print(f"| {config} | {series} | {' | '.join([*cells, *averages, spent])} |")


def main() -> None:
    """Do what is missing, show what there is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--configs", nargs="+", default=["ett+without-memory"])
    parser.add_argument("--series", nargs="+", default=["ETTh1", "ETTh2", "ETTm1"])
    parser.add_argument("--horizons", nargs="+", type=int, default=list(HORIZONS))
    parser.add_argument("--lookbacks", nargs="+", type=int, default=list(LOOKBACKS))
    parser.add_argument("--as-in", help="only the lookbacks that validation chose for this config")
    parser.add_argument("--show", action="store_true", help="only show what has been done")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", module="lightning")
    rows = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    done = {tuple(row[key] for key in KEYS) for row in rows}
    wanted = [
        (config, series, horizon, lookback)
        for config in args.configs
        for series in args.series
        for lookback in args.lookbacks
        for horizon in args.horizons
        if args.as_in is None or lookback == chosen(rows, args.as_in, series, horizon)["lookback"]
    ]
    for case in [] if args.show else wanted:
        if case not in done:
            rows.append(run(*case))
            print(json.dumps(rows[-1]), flush=True)
            with args.out.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    show([row for row in rows if row["config"] in args.configs and row["lookback"] in args.lookbacks])


if __name__ == "__main__":
    main()
