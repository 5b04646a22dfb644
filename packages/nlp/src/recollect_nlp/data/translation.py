"""Parallel text: sentences and their translations in two files per split."""

import random
from collections.abc import Sequence, Sized
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from recollect.training import DataModule, Split
from recollect.training.errors import ArgumentError
from recollect.training.text import name_of
from recollect.validation import check_positive
from recollect_nlp.data.parallel_text import read_lines, read_pairs
from recollect_nlp.data.subword_tokenizer import SubwordTokenizer
from recollect_nlp.types import EOS, PAD, TranslationBatch, TranslationItem

LENGTH_NOISE = 2.0
"""Range of the noise added to lengths before sorting, so that batches differ between epochs."""

MAX_LENGTH = 256
"""Maximum number of pieces of a source sentence: decoding takes quadratic time."""

MAX_NAMED_LINES = 5
"""Maximum number of long lines that a warning names."""


class TranslationDataset(Dataset[TranslationItem]):
    """Sentence pairs, encoded once.

    Args:
        pairs: Sentences and translations.
        tokenizer: The tokenizer.
        max_length: Maximum number of pieces of a source sentence, including ``EOS``; ``truncated`` has index
            and number of pieces of each longer one. No limit by default.
    """

    def __init__(
        self, pairs: Sequence[tuple[str, str]], tokenizer: SubwordTokenizer, max_length: int | None = None
    ) -> None:
        self.items: list[TranslationItem] = []
        self.truncated: list[tuple[int, int]] = []
        for index, (a, b) in enumerate(pairs):
            source, target = tokenizer.encode(a), tokenizer.encode(b) if b else []
            if max_length is not None and len(source) > max_length:
                self.truncated.append((index, len(source)))
                source = [*source[: max_length - 1], EOS]
            self.items.append(TranslationItem(source, target, a, b))

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.items)

    def __getitem__(self, index: int) -> TranslationItem:
        """Return a pair."""
        return self.items[index]


class TranslationData(DataModule):
    """Custom parallel text: two UTF-8 files per split, aligned line by line.

    The tokenizer is fitted to the training files, jointly for both languages, and saved in checkpoints. A
    batch has sentences of similar length and at most ``batch_pieces`` pieces, including padding. Source
    sentences are truncated to the capacity of the model's memory and to ``MAX_LENGTH`` pieces, with a warning
    that names file and line.

    Args:
        train_source: Training sentences; gzip is unpacked.
        train_target: Their translations.
        val_source: Validation sentences.
        val_target: Their translations.
        test_source: Test sentences.
        test_target: Their translations.
        path: Sentences to translate, one per line; ``-`` reads the standard input.
        vocabulary_size: Maximum number of subword pieces.
        batch_pieces: Maximum number of pieces on each side of a batch, including padding.
        num_workers: As in ``DataModule``.
        seed: Seed of the shuffling.

    Raises:
        ValueError: If a size is not positive.
        DataError: When a split is read, if a file is malformed.
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
        self.max_source_length: int | None = None  # set by the task to what its model can read
        self._datasets: dict[str, TranslationDataset] = {}
        self._tokenizer: SubwordTokenizer | None = None

    def has(self, split: Split) -> bool:
        """Return whether a split exists; validation and test are optional."""
        return split not in ("val", "test") or any(self._files[split])

    def files(self, split: Split) -> tuple[Path, Path]:
        """Return the two files of a split.

        Raises:
            ArgumentError: If one is not given; the message names the argument.
        """
        given = self._files[split]
        for side, path in zip(("source", "target"), given, strict=True):
            if path is None:
                raise ArgumentError(f"--data.{split}_{side} is missing: the {side} sentences of this split")
        return cast(tuple[Path, Path], given)

    @property
    def tokenizer(self) -> SubwordTokenizer:
        """The tokenizer, fitted or from a checkpoint."""
        if self._tokenizer is None:
            self._tokenizer = SubwordTokenizer(self.fitted["tokenizer"])
        return self._tokenizer

    def fit(self) -> dict[str, Any]:
        """Fit the tokenizer to the training files."""
        pairs = read_pairs(*self.files("train"))
        lines = (line for pair in pairs for line in pair)
        return {"tokenizer": SubwordTokenizer.fit(lines, self.vocabulary_size)}

    def dataset(self, split: Split) -> Dataset[Any] | None:
        """Return the pairs of a split if it exists; for ``"predict"`` the lines of ``path``."""
        if not self.has(split):
            return None
        if split not in self._datasets:
            pairs = self._pairs(split)
            self._datasets[split] = TranslationDataset(pairs, self.tokenizer, self.max_source_length)
            self._warn_about_long_sentences(split)
        return self._datasets[split]

    def _pairs(self, split: Split) -> list[tuple[str, str]]:
        if split != "predict":
            return read_pairs(*self.files(split))
        if self.path is None:
            raise ArgumentError("--data.path is missing: the file to translate, or - for standard input")
        return [(line, "") for line in read_lines(self.path)]

    def _warn_about_long_sentences(self, split: Split) -> None:
        dataset = self._datasets[split]
        if dataset.truncated:
            path = name_of(cast(Path, self.path) if split == "predict" else self.files(split)[0])
            named = ", ".join(
                f"line {i + 1} ({pieces} pieces)" for i, pieces in dataset.truncated[:MAX_NAMED_LINES]
            )
            more = len(dataset.truncated) - MAX_NAMED_LINES
            rank_zero_warn(
                f"{path}: {len(dataset.truncated)} of {len(dataset)} sentences are too long for the model "
                f"and are truncated to {self.max_source_length} pieces: {named}"
                + (f" and {more} more" if more > 0 else "")
                + f". A memory with more slots (storage.init_args.slots) reads more, up to {MAX_LENGTH}."
            )

    def collate(self, items: list[TranslationItem]) -> TranslationBatch:
        """Pad pairs."""
        return TranslationBatch(
            _pad([item.source for item in items]),
            _pad([item.target for item in items]),
            [item.source_text for item in items],
            [item.target_text for item in items],
        )

    def batches(self, split: Split, dataset: Sized, epoch: int) -> list[list[int]]:
        """Batch sentences of similar length; keep the order of the file in prediction."""
        lengths = [(len(a), len(b)) for a, b, _, _ in cast(TranslationDataset, dataset).items]
        order = list(range(len(lengths)))
        if split == "predict":
            return batches_by_pieces(order, lengths, self.batch_pieces)
        if split != "train":
            order.sort(key=lambda i: (max(lengths[i]), lengths[i]))
            return batches_by_pieces(order, lengths, self.batch_pieces)
        generator = random.Random(f"{self.seed}, {epoch}")
        # Sort by the longer side, then by the shorter one with noise: little padding on either side.
        noisy = [(max(pair), min(pair) + generator.uniform(0, LENGTH_NOISE)) for pair in lengths]
        batches = batches_by_pieces(sorted(order, key=lambda i: noisy[i]), lengths, self.batch_pieces)
        generator.shuffle(batches)
        return batches


def batches_by_pieces(
    order: Sequence[int], lengths: Sequence[tuple[int, int]], max_pieces: int
) -> list[list[int]]:
    """Split ``order`` into batches of at most ``max_pieces`` pieces on each side, including padding.

    A pair that is longer than ``max_pieces`` is a batch by itself.

    Example:
        >>> batches_by_pieces([0, 1, 2], [(3, 4), (4, 4), (9, 2)], max_pieces=8)
        [[0, 1], [2]]
    """
    batches: list[list[int]] = []
    longest = 0
    for item in order:
        longest = max(longest, *lengths[item])
        if batches and longest * (len(batches[-1]) + 1) <= max_pieces:
            batches[-1].append(item)
        else:
            batches.append([item])
            longest = max(lengths[item])
    return batches


def _pad(rows: list[list[int]]) -> Tensor:
    return pad_sequence([torch.tensor(row, dtype=torch.int64) for row in rows], True, PAD)
