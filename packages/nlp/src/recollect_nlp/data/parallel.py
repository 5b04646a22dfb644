"""Sentences and their translations, in two parallel files for each split."""

import random
from collections.abc import Sequence, Sized
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from recollect.training import DataModule, Split
from recollect.training.errors import ArgumentError
from recollect.training.text import name_of
from recollect.validation import check_positive
from recollect_nlp.data.corpus import read_lines, read_pairs
from recollect_nlp.data.subwords import END, PAD, Subwords

LENGTH_NOISE = 2.0
"""In pieces: how far lengths are blurred before sorting, so that batches differ between epochs."""

LONGEST = 256
"""Pieces of a sentence that are read at most: the time of decoding grows with the square of their number."""

LINES_NAMED = 5
"""How many of the lines that are too long a warning names."""


class ParallelItem(NamedTuple):
    """A sentence and its translation, as text and as pieces; both targets are empty where there is none."""

    source: list[int]
    target: list[int]
    source_text: str
    target_text: str


class ParallelBatch(NamedTuple):
    """A batch of sentence pairs.

    Attributes:
        source: ``(B, S)`` int64 pieces, each sentence with its end piece, padded with ``PAD``.
        target: ``(B, T)`` likewise; ``(B, 0)`` where there are no translations.
        source_text: B sentences.
        target_text: B translations, empty where there are none.
    """

    source: Tensor
    target: Tensor
    source_text: list[str]
    target_text: list[str]


class ParallelDataset(Dataset[ParallelItem]):
    """Sentence pairs, encoded once.

    Args:
        pairs: Sentences and translations.
        subwords: How to spell them in pieces.
        longest: How many pieces of a sentence are kept, the end piece among them; ``cut`` has the number and
            the pieces of each sentence that had more. All by default.
    """

    def __init__(
        self, pairs: Sequence[tuple[str, str]], subwords: Subwords, longest: int | None = None
    ) -> None:
        self.items: list[ParallelItem] = []
        self.cut: list[tuple[int, int]] = []
        for number, (a, b) in enumerate(pairs):
            source, target = subwords.encode(a), subwords.encode(b) if b else []
            if longest is not None and len(source) > longest:
                self.cut.append((number, len(source)))
                source = [*source[: longest - 1], END]
            self.items.append(ParallelItem(source, target, a, b))

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.items)

    def __getitem__(self, index: int) -> ParallelItem:
        """One pair."""
        return self.items[index]


class ParallelData(DataModule):
    """Your own parallel text: two UTF-8 files for each split, line i of one translating line i of the other.

    The subword vocabulary is learned from the training files alone, jointly for both languages; it travels
    in the checkpoint. Batches hold sentences of about one length and ``batch_pieces`` pieces, padding
    included. A sentence with more pieces than the model's memory can hold, or than ``LONGEST``, is cut to its
    first ones, and a warning names its file and line.

    Args:
        train_source: Sentences to learn from (``.gz`` is unpacked).
        train_target: Their translations.
        val_source: Sentences for validation.
        val_target: Their translations.
        test_source: Sentences for the test.
        test_target: Their translations.
        path: Sentences to translate, one a line; ``-`` reads the standard input.
        vocabulary_size: Number of pieces at most.
        batch_pieces: Pieces in a batch: the longest sentence of either side times the number of pairs.
        num_workers: As in ``DataModule``.
        seed: Of the shuffling.

    Raises:
        ValueError: If a size is not positive, and, when a split is read, if a file is malformed.
    """

    def __init__(
        self,
        train_source: Path | None = None,
        train_target: Path | None = None,
        val_source: Path | None = None,
        val_target: Path | None = None,
        test_source: Path | None = None,
        test_target: Path | None = None,
        path: Path | None = None,
        vocabulary_size: int = 4000,
        batch_pieces: int = 2048,
        num_workers: int | None = None,
        seed: int = 0,
    ) -> None:
        check_positive(vocabulary_size=vocabulary_size, batch_pieces=batch_pieces)
        super().__init__(batch_size=batch_pieces, num_workers=num_workers, seed=seed)
        self._files = {
            "train": (train_source, train_target),
            "val": (val_source, val_target),
            "test": (test_source, test_target),
        }
        self.path = path
        self.vocabulary_size = vocabulary_size
        self.batch_pieces = batch_pieces
        self.longest_source: int | None = None  # the task says how many pieces its model can read
        self._datasets: dict[str, ParallelDataset] = {}
        self._subwords: Subwords | None = None

    def has(self, split: Split) -> bool:
        """Whether files were given for a split that can do without them."""
        return split not in ("val", "test") or any(self._files[split])

    def files(self, split: Split) -> tuple[Path, Path]:
        """The two files of a split.

        Raises:
            ArgumentError: If they were not given; the message names the argument.
        """
        given = self._files[split]
        for side, path in zip(("source", "target"), given, strict=True):
            if path is None:
                raise ArgumentError(f"--data.{split}_{side} is missing: the {side} sentences of this split")
        return cast(tuple[Path, Path], given)

    @property
    def subwords(self) -> Subwords:
        """The vocabulary, learned or from the checkpoint."""
        if self._subwords is None:
            self._subwords = Subwords(self.fitted["subwords"])
        return self._subwords

    def fit(self) -> dict[str, Any]:
        """The subword vocabulary, from the training files alone."""
        pairs = read_pairs(*self.files("train"))
        lines = (line for pair in pairs for line in pair)
        return {"subwords": Subwords.fit(lines, self.vocabulary_size)}

    def dataset(self, split: Split) -> Dataset[Any] | None:
        """The pairs of a split, if it has files; for ``"predict"`` the lines of ``path``, untranslated."""
        if not self.has(split):
            return None
        if split not in self._datasets:
            self._datasets[split] = ParallelDataset(self._pairs(split), self.subwords, self.longest_source)
            self._warn_of_long_sentences(split)
        return self._datasets[split]

    def _pairs(self, split: Split) -> list[tuple[str, str]]:
        if split != "predict":
            return read_pairs(*self.files(split))
        if self.path is None:
            raise ArgumentError("--data.path is missing: the file to translate, or - for the standard input")
        return [(line, "") for line in read_lines(self.path)]

    def _warn_of_long_sentences(self, split: Split) -> None:
        dataset = self._datasets[split]
        if dataset.cut:
            path = name_of(cast(Path, self.path) if split == "predict" else self.files(split)[0])
            named = ", ".join(f"line {i + 1} ({pieces} pieces)" for i, pieces in dataset.cut[:LINES_NAMED])
            more = len(dataset.cut) - LINES_NAMED
            rank_zero_warn(
                f"{path}: {len(dataset.cut)} of {len(dataset)} sentences are longer than the model can read "
                f"and are cut to their first {self.longest_source} pieces: {named}"
                + (f" and {more} more" if more > 0 else "")
                + f". A memory with more slots (storage.init_args.slots) reads more, up to {LONGEST}."
            )

    def collate(self, items: list[ParallelItem]) -> ParallelBatch:
        """Pairs as padded tensors."""
        return ParallelBatch(
            _pad([item.source for item in items]),
            _pad([item.target for item in items]),
            [item.source_text for item in items],
            [item.target_text for item in items],
        )

    def batches(self, split: Split, dataset: Sized, epoch: int) -> list[list[int]]:
        """Sentences of about one length together; in the order of the file for prediction."""
        lengths = [(len(a), len(b)) for a, b, _, _ in cast(ParallelDataset, dataset).items]
        order = list(range(len(lengths)))
        if split == "predict":
            return batches_by_pieces(order, lengths, self.batch_pieces)
        if split != "train":
            order.sort(key=lambda i: (max(lengths[i]), lengths[i]))
            return batches_by_pieces(order, lengths, self.batch_pieces)
        chance = random.Random(f"{self.seed}, {epoch}")
        # By the longer side, then by the shorter one, blurred: little padding on either side.
        blurred = [(max(pair), min(pair) + chance.uniform(0, LENGTH_NOISE)) for pair in lengths]
        made = batches_by_pieces(sorted(order, key=lambda i: blurred[i]), lengths, self.batch_pieces)
        chance.shuffle(made)
        return made


def batches_by_pieces(
    order: Sequence[int], lengths: Sequence[tuple[int, int]], budget: int
) -> list[list[int]]:
    """Cut ``order`` into batches of which none, padded, exceeds ``budget`` pieces on either side.

    A pair that is longer than the budget is a batch by itself.

    Example:
        >>> batches_by_pieces([0, 1, 2], [(3, 4), (4, 4), (9, 2)], budget=8)
        [[0, 1], [2]]
    """
    made: list[list[int]] = []
    longest = 0
    for item in order:
        longest = max(longest, *lengths[item])
        if made and longest * (len(made[-1]) + 1) <= budget:
            made[-1].append(item)
        else:
            made.append([item])
            longest = max(lengths[item])
    return made


def _pad(rows: list[list[int]]) -> Tensor:
    return pad_sequence([torch.tensor(row, dtype=torch.int64) for row in rows], True, PAD)
