"""Our recommenders on a graph of clicks and PyTorch Geometric's LightGCN, side by side in one process.

    uv run python benchmarks/recsys_graph.py --data lastfm --seconds 60

Each candidate learns for the same processor time (``--seconds``, validation left out), is chosen on the same
validation part by NDCG@20, and is tested on the same users with the same code, with the held-out clicks
written to its graph. Ours run through their packaged configs and Lightning. PyG's model is its own class
``torch_geometric.nn.LightGCN`` with the published settings (64 dimensions, 3 layers, batches of 2,048 clicks,
Adam at 1e-3, BPR with one even negative and regularisation 1e-4), its edges a sparse matrix, which is faster
than an edge index.
"""

import argparse
import copy
import json
import tempfile
import time
import warnings
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.cli import LightningArgumentParser
from packaged import packaged
from torch_geometric.nn import LightGCN

from recollect.memories.message_passing import MessagePassing  # noqa: F401  # PyG's warnings stop there
from recollect.training import DataModule, Task
from recollect_recsys.data.collaborative import CollaborativeData
from recollect_recsys.metrics.collaborative import TOP_K, ListMetrics
from recollect_recsys.metrics.ranking import mask_seen, top_items
from recollect_recsys.models.click_memory import ClickMemory

CLICKS_IN_BATCH = 2048
POPULARITY = "recollect_recsys.models.popularity.Popularity"
QUIET: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}


class Budget(Callback):
    """Stops after an epoch once training has taken ``seconds`` of processor time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.spent = 0.0
        self.begin = 0.0
        self.epochs = 0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Task) -> None:
        """Start the clock."""
        self.begin = time.process_time()

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Stop the clock after the last batch: validation follows."""
        if trainer.is_last_batch:
            self.spent += time.process_time() - self.begin
            self.epochs += 1
            trainer.should_stop = self.spent >= self.seconds


def settings(config: str, folder: str) -> dict[str, Any]:
    """The packaged config, quiet, without its own end; ``NAME+popularity`` ranks by popularity."""
    popularity = config.endswith("+popularity")
    parts = packaged("recollect_recsys", config.replace("+popularity", "+without-memory"))
    if popularity:
        parts["model"]["init_args"]["recommender"] = POPULARITY
    parts["trainer"] |= {**QUIET, "default_root_dir": folder}
    if parts["trainer"]["max_epochs"] > 1:
        parts["trainer"]["max_epochs"] = -1
    return parts


def ours(config: str, seconds: float) -> tuple[dict[str, Any], CollaborativeData]:
    """Train, choose on validation, test."""
    seed_everything(0, verbose=False)
    parser = LightningArgumentParser()
    parser.add_lightning_class_args(Trainer, "trainer")
    parser.add_subclass_arguments(Task, "model")
    parser.add_subclass_arguments(DataModule, "data")
    with tempfile.TemporaryDirectory() as folder:
        made = parser.instantiate(parser.parse_object(settings(config, folder)))
        callbacks = [c for c in made.trainer["callbacks"] if not isinstance(c, EarlyStopping)]
        budget = Budget(seconds)
        trainer = Trainer(**{**made.trainer, "callbacks": [*callbacks, budget]})
        begin = time.process_time()
        trainer.fit(made.model, datamodule=made.data)
        spent = time.process_time() - begin
        saver = trainer.checkpoint_callback
        tested = trainer.test(made.model, made.data, ckpt_path=saver.best_model_path, verbose=False)[0]
    learns = any(parameter.requires_grad for parameter in made.model.model.parameters())
    row = {"val": float(saver.best_model_score), "seconds": budget.spent if learns else spent}
    row |= {"epochs": budget.epochs if learns else 0, **figures(tested, "test/")}
    return row, made.data


def figures(found: dict[str, Any], stage: str = "") -> dict[str, float]:
    """Recall and NDCG with their errors."""
    names = ("recall@20", "recall@20_se", "ndcg@20", "ndcg@20_se")
    return {name: float(found[f"{stage}{name}"]) for name in names}


class Peer:
    """PyG's LightGCN on the clicks of a data module; users and items are its nodes, in our numbering."""

    def __init__(self, data: CollaborativeData) -> None:
        self.data = data
        users, self.clicks = len(data.fitted["users"]), data.graph(held_out=False)
        memory = ClickMemory(len(data.items), users, data.graph(held_out=True).shape[1], 1)
        plain = [memory.build_graph(data.graph(held_out=held)).state for held in (False, True)]
        self.edges = [memory.graph.adjacency(state) for state in plain]
        self.first_user = len(data.items)
        self.model = LightGCN(1 + len(data.items) + users, embedding_dim=64, num_layers=3)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)

    def epoch(self, until: float) -> float:
        """The share done of a pass over the clicks, until the processor's clock says so."""
        order = torch.randperm(self.clicks.shape[1])
        done = 0
        for rows in order.split(CLICKS_IN_BATCH):
            users = self.clicks[0, rows] + self.first_user
            items = self.clicks[1, rows]
            drawn = torch.randint(1, self.first_user + 1, items.shape)
            labels = torch.cat([torch.stack([users, items]), torch.stack([users, drawn])], 1)
            up, down = self.model(self.edges[0], labels).chunk(2)
            nodes = torch.cat([users, items, drawn]).unique()
            loss = self.model.recommendation_loss(up, down, nodes, lambda_reg=1e-4)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            done += len(rows)
            if time.process_time() >= until:
                break
        return done / self.clicks.shape[1]

    @torch.no_grad()
    def measure(self, split: str) -> dict[str, float]:
        """Ranked by the code that ours is ranked by."""
        vectors = self.model.get_embedding(self.edges[split == "test"])
        metrics = ListMetrics(len(self.data.items))
        for batch in self.data.loader(split):
            scores = vectors[batch.user + self.first_user] @ vectors[: self.first_user + 1].T
            scores[:, 0] = -torch.inf
            lists, _ = top_items(mask_seen(scores, batch.seen), TOP_K)
            metrics.update(lists, batch.target, (batch.seen > 0).sum(1))
        return figures(metrics.compute())

    def run(self, seconds: float, looks: int = 20) -> dict[str, Any]:
        """Train for ``seconds``, looking at validation about ``looks`` times."""
        best, kept, spent, epochs = -1.0, None, 0.0, 0.0
        looked = 0
        while spent < seconds:
            begin = time.process_time()
            share = self.epoch(begin + seconds - spent)
            spent, epochs = spent + time.process_time() - begin, epochs + share
            if spent >= seconds or spent / seconds * looks > looked:
                looked += 1
                found = self.measure("val")["ndcg@20"]
                if found > best:
                    best, kept = found, copy.deepcopy(self.model.state_dict())
        self.model.load_state_dict(kept)
        return {"val": best, "seconds": spent, "epochs": epochs, **self.measure("test")}


def main() -> None:
    """Measure all and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="lastfm", choices=["lastfm", "ml-1m-lightgcn", "gowalla"])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--configs", nargs="*", default=None)
    parser.add_argument("--no-peer", action="store_true", help="ours only")
    args = parser.parse_args()
    learned, untrained = ("", "-filter") if args.data == "lastfm" else ("-learned", "")
    twins = [f"{learned}+without-memory", f"{untrained}+popularity"]
    suffixes = args.configs or sorted([learned, untrained]) + twins
    warnings.filterwarnings("ignore", module="lightning")
    print(
        "| model | recall@20 | NDCG@20 | validation NDCG@20 | processor seconds | epochs | epochs a minute |"
    )
    print("|---|---|---|---|---|---|---|")
    data = None
    for suffix in suffixes:
        row, data = ours(args.data + suffix, args.seconds)
        show(f"{args.data}{suffix}", row)
    if not args.no_peer:
        seed_everything(0, verbose=False)
        show("PyG LightGCN, BPR", Peer(data).run(args.seconds))


def show(name: str, row: dict[str, Any]) -> None:
    """One line of the table, and all of it as JSON."""
    cells = [f"{row[m]:.4f} ± {row[f'{m}_se']:.4f}" for m in ("recall@20", "ndcg@20")]
    pace = f"{60 * row['epochs'] / row['seconds']:.1f}" if row["epochs"] else "–"
    cells += [f"{row['val']:.4f}", f"{row['seconds']:.0f}", f"{row['epochs']:.2f}", pace]
    print(f"| {name} | {' | '.join(cells)} |", flush=True)
    print(json.dumps({"model": name, **row}), flush=True)


if __name__ == "__main__":
    main()
