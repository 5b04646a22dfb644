"""RecBole's SASRec on our split: its own data, batches, network and trainer; our ranking."""

import contextlib
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recollect_recsys.data.sequential import SequentialData
from recollect_recsys.metrics.ranking import rank_targets
from recollect_recsys.metrics.sequential import TOP_K, NextItemMetrics

SETTINGS: dict[str, Any] = {
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"},
    "train_neg_sample_args": None,  # cross-entropy over all items
    "metrics": ["NDCG", "Hit"],
    "valid_metric": "NDCG@10",
    "show_progress": False,
    "use_gpu": False,
    "save_dataset": False,
}


class Peer:
    """RecBole's SASRec, trained an epoch at a time.

    Args:
        data: Whose histories; they are written to a file for RecBole in the order that they have here.
        seed: Of its weights and batches.
        **settings: Settings of RecBole's other than its defaults.
    """

    def __init__(self, data: SequentialData, seed: int, **settings: Any) -> None:
        _make_ready()
        from recbole.config import Config
        from recbole.data import create_dataset, data_preparation
        from recbole.model.sequential_recommender.sasrec import SASRec
        from recbole.trainer import Trainer
        from recbole.utils import init_seed

        self.data = data
        with aside() as folder:
            write(data, folder / "ours" / "ours.inter")
            own = {"data_path": str(folder), "seed": seed}
            config = Config("SASRec", "ours", config_dict={**SETTINGS, **own, **settings})
            init_seed(seed, reproducibility=True)
            dataset = create_dataset(config)
            self.train, self.valid, self.test = data_preparation(config, dataset)
            self.model = SASRec(config, self.train.dataset)
            self.trainer = Trainer(config, self.model)
        self.foretold = len(self.train.dataset)
        names = {name: number for number, name in enumerate(data.items, 1)}
        tokens = dataset.field2id_token["item_id"]
        self.number = torch.tensor([0, *(names[token] for token in tokens[1:])])  # of each of its items
        self.users = dataset.field2id_token["user_id"]

    def epoch(self, number: int) -> None:
        """Train once on every prefix of every training history."""
        self.trainer._train_epoch(self.train, number)

    @torch.no_grad()
    def rank(self, split: str, filtered: bool = True) -> dict[str, float]:
        """Our figures of its scores; ``filtered`` leaves out what was seen."""
        self.model.eval()
        metrics = NextItemMetrics(len(self.data.items))
        for interaction, _, _, positive in {"val": self.valid, "test": self.test}[split]:
            scores = self.model.full_sort_predict(interaction)
            own = torch.full((len(scores), len(self.data.items) + 1), -torch.inf)
            own[:, self.number[1:]] = scores[:, 1:]
            target, seen = self.number[positive], self.seen(interaction["user_id"], split)
            ranks, lists = rank_targets(
                own, target, seen if filtered else seen[:, :0], lambda part: part, TOP_K
            )
            metrics.update(ranks, lists, (seen > 0).sum(1))
        return {name: float(value) for name, value in metrics.compute().items()}

    def seen(self, users: torch.Tensor, split: str) -> torch.Tensor:
        """``(B, S)`` our numbers of the items before the target."""
        place = {name: number for number, name in enumerate(self.data.histories.users)}
        held = [self.data.histories.items_of(place[self.users[user]]) for user in users.tolist()]
        short = [torch.tensor(items[: -2 if split == "val" else -1]) for items in held]
        return torch.nn.utils.rnn.pad_sequence(short, batch_first=True)

    def check(self) -> None:
        """The same users with the same targets as ours, and our ranking gives what its evaluator gives.

        Raises:
            AssertionError: If not.
        """
        for split, loader in (("val", self.valid), ("test", self.test)):
            theirs = {
                self.users[user]: int(self.number[item])
                for batch, *_, items in loader
                for user, item in zip(batch["user_id"].tolist(), items.tolist(), strict=True)
            }
            mine = {}
            for batch in self.data.loader(split):
                targets = batch.target.gather(1, batch.length.unsqueeze(1) - 1).squeeze(1)
                users = [self.data.histories.users[user] for user in batch.user.tolist()]
                mine.update(zip(users, targets.tolist(), strict=True))
            assert mine == theirs, f"the {split} splits differ"
            evaluated = self.trainer.evaluate(loader, load_best_model=False)
            ranked = self.rank(split, filtered=False)
            assert abs(evaluated["ndcg@10"] - ranked["ndcg@10"]) < 1e-4, (evaluated, ranked)
            assert abs(evaluated["hit@10"] - ranked["hr@10"]) < 1e-4, (evaluated, ranked)


def _make_ready() -> None:
    """Let RecBole 1.2.1 be imported, and be quiet."""
    warnings.simplefilter("ignore")  # its own of deprecated names
    logging.disable(logging.INFO)
    # NumPy 2 has dropped these names, which it sets others to.
    for name, kind in (("float_", np.float64), ("complex_", np.complex128), ("unicode_", np.str_)):
        setattr(np, name, kind)


@contextlib.contextmanager
def aside() -> Iterator[Path]:
    """A folder to work in that is gone afterwards: RecBole leaves logs where it stands."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield Path(folder)
        finally:
            os.chdir(before)


def write(data: SequentialData, path: Path) -> None:
    """Our histories as a file of RecBole's, the places in them as time stamps."""
    path.parent.mkdir()
    histories = data.histories
    with path.open("w", encoding="utf-8") as file:
        file.write("user_id:token\titem_id:token\ttimestamp:float\n")
        for user, name in enumerate(histories.users):
            for place, item in enumerate(histories.items_of(user)):
                file.write(f"{name}\t{data.items[item - 1]}\t{place}\n")
