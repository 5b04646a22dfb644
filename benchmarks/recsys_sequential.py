"""Our recommenders and RecBole's SASRec on the same split, ranking and budget of processor time.

    uv run --group recbole python benchmarks/recsys_sequential.py --data ml-100k --minutes 20

Both foretell the items of the same training histories, keep the epoch with the best NDCG@10 of validation,
and rank the same test items among all items that the user has not seen. That RecBole's split is ours is
checked, and that our ranking gives what its own evaluator gives where nothing is left out. RecBole trains by
its own trainer with its own settings, cross-entropy over all items. A candidate stops when its processor time
for training is spent, or after ``--patience`` epochs without a better validation. Each has a process of its
own, forked from this one, so that its peak memory can be told.

Throughput is the number of items foretold per processor second of training.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser
from packaged import packaged

from recollect.training import Task, data_folder
from recollect_recsys.data.interactions import InteractionsData
from recollect_recsys.data.ml_1m import MovieLens1mData
from recollect_recsys.data.ml_100k import MovieLens100kData
from recollect_recsys.data.sequential import SequentialData

QUIET: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}


class Budget(NamedTuple):
    """When a candidate stops: processor seconds of training, and epochs without a better validation."""

    seconds: float
    patience: int


class Watch:
    """Processor time of training, and whether to go on."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.spent = 0.0
        self.epochs = 0
        self.best = (-1.0, -1)
        self.begun = time.process_time()

    def begin(self) -> None:
        """An epoch begins."""
        self.begun = time.process_time()

    def end(self) -> None:
        """An epoch ends."""
        self.spent += time.process_time() - self.begun
        self.epochs += 1

    def measured(self, ndcg: float) -> bool:
        """Take in a validation, and say whether it is the best so far."""
        better = ndcg > self.best[0]
        if better:
            self.best = (ndcg, self.epochs)
        print(f"  epoch {self.epochs}, {self.spent:.0f} s: validation NDCG@10 {ndcg:.4f}", flush=True)
        return better

    @property
    def over(self) -> bool:
        """Whether to stop."""
        return self.spent >= self.budget.seconds or self.epochs - self.best[1] >= self.budget.patience

    def report(self, foretold: int, test: dict[str, float]) -> dict[str, float]:
        """What is known at the end."""
        return {
            "epochs": self.epochs,
            "best_epoch": self.best[1],
            "validation": self.best[0],
            "processor_seconds": self.spent,
            "throughput": foretold * self.epochs / self.spent,
            **test,
        }


# --- ours -------------------------------------------------------------------------------------------------


class Watching(Callback):
    """Lets the watch follow a trainer of Lightning's."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Called by Lightning."""
        self.watch.begin()

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Called by Lightning; the last batch ends the epoch's training, validation comes after."""
        if trainer.is_last_batch:
            self.watch.end()

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Called by Lightning."""
        self.watch.measured(float(trainer.callback_metrics["val/ndcg@10"]))
        trainer.should_stop = self.watch.over


def ours(data: SequentialData, budget: Budget, config: str) -> dict[str, float]:
    """One of our configs: its task, trainer settings and batches, on this benchmark's data."""
    settings = packaged("recollect_recsys", config)
    parser = LightningArgumentParser(exit_on_error=False)
    parser.add_lightning_class_args(Task, "model", subclass_mode=True)
    task = parser.instantiate_classes(parser.parse_object({"model": settings["model"]})).model
    for name in ("window", "batch_size"):
        setattr(data, name, settings["data"]["init_args"][name])
    options = {name: value for name, value in settings["trainer"].items() if name.startswith("gradient")}
    watch = Watch(budget)
    with tempfile.TemporaryDirectory() as folder:
        keep = ModelCheckpoint(folder, "best", monitor="val/ndcg@10", mode="max")
        trainer = Trainer(
            max_epochs=settings["trainer"]["max_epochs"],
            num_sanity_val_steps=0,
            callbacks=[keep, Watching(watch)],
            **options,
            **QUIET,
        )
        trainer.fit(task, datamodule=data)
        task.load_state_dict(torch.load(keep.best_model_path, weights_only=False)["state_dict"])
        found = trainer.test(task, datamodule=data, verbose=False)[0]
    foretold = int(data.popularity.sum())
    return watch.report(foretold, {name.removeprefix("test/"): value for name, value in found.items()})


# --- RecBole ------------------------------------------------------------------------------------------------


def recbole(data: SequentialData, budget: Budget, **settings: Any) -> dict[str, float]:
    """RecBole's SASRec with its own settings."""
    from recbole_peer import Peer  # only here, so that our own processes are without it

    peer = Peer(data, seed=0, **settings)
    peer.check()
    watch, weights = Watch(budget), {}
    while not watch.over:
        watch.begin()
        peer.epoch(watch.epochs)
        watch.end()
        if watch.measured(peer.rank("val")["ndcg@10"]):
            weights = {name: value.clone() for name, value in peer.model.state_dict().items()}
    peer.model.load_state_dict(weights)
    peer.check()
    return watch.report(peer.foretold, peer.rank("test"))


# --- side by side -------------------------------------------------------------------------------------------


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
    to.send({**candidate(), "peak_mib": peak()})


DATA: dict[str, Callable[[], SequentialData]] = {
    "ml-100k": MovieLens100kData,
    "ml-1m": MovieLens1mData,
    "ml-1m-part": lambda: InteractionsData(str(data_folder("ml-1m-part") / "ratings_users_1-2998.dat.gz")),
}


def main() -> None:
    """Measure all that was asked for and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", choices=DATA, default="ml-100k")
    parser.add_argument("--ours", nargs="*", help="configs of ours; those of the data by default")
    parser.add_argument("--minutes", type=float, default=20, help="of processor time for training, each")
    parser.add_argument("--patience", type=int, default=15, help="epochs without a better validation")
    parser.add_argument("--recbole", type=json.loads, default={}, help="settings other than its own, as JSON")
    parser.add_argument("--without-recbole", action="store_true")
    args = parser.parse_args()
    data, budget = DATA[args.data](), Budget(60 * args.minutes, args.patience)
    base = args.data.removesuffix("-part")
    configs = [base, f"{base}+without-memory"] if args.ours is None else args.ours
    candidates = {f"ours, {config}": partial(ours, data, budget, config) for config in configs}
    if not args.without_recbole:
        candidates["RecBole's SASRec"] = partial(recbole, data, budget, **args.recbole)
    rows = []
    for name, candidate in candidates.items():
        print(name, flush=True)
        found = apart(candidate)
        print(json.dumps({"model": name, **vars(args), **found}), flush=True)
        cells = [f"{found[key]:.4f} ± {found[key + '_se']:.4f}" for key in ("ndcg@10", "hr@10")]
        cells += [f"{found['epochs']}", f"{found['processor_seconds']:.0f}", f"{found['throughput']:.0f}"]
        rows.append(f"| {name} | {' | '.join(cells)} | {found['peak_mib']:.0f} |")
    print(
        "| model | NDCG@10 | HR@10 | epochs | processor seconds | items per second | peak MiB |",
        "|---|---|---|---|---|---|---|",
        *rows,
        sep="\n",
    )


if __name__ == "__main__":
    main()
