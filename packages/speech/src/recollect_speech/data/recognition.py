"""The base of every data module of recordings."""

from abc import abstractmethod
from collections.abc import Sized
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch

from recollect.training import DataModule, Split
from recollect.training.errors import ArgumentError
from recollect.training.loading import Batches
from recollect_speech.data.ngram import NGram
from recollect_speech.data.speech_dataset import SpeechDataset, WaveformAugmentation, collate
from recollect_speech.data.units import UnitKind, Units, fit_units, normalize_text, restore_units
from recollect_speech.data.utterances import Utterance, read_file, read_folder, read_manifest
from recollect_speech.types import SpeechBatch, SpeechItem

CHUNK = 20
"""Batches within which recordings are sorted by length: long ones meet long ones."""


class RecognitionData(DataModule):
    """Recordings and what is said in them; a subclass says which, by ``read``.

    Units and the n-gram model are learnt from the training transcripts alone, and travel in the checkpoint.
    Transcripts are compared in lower case and without punctuation.

    Args:
        rate: Samples a second; recordings of another rate are resampled.
        units: What the recognizer writes.
        subwords: How many subwords there are, where ``units`` says so.
        ngram: Order of the language model over units; 0 for none.
        speeds: Factors of speed that training draws from.
        noise: Bounds of the signal-to-noise ratio of white noise in training, in dB.
        path: What ``predict`` transcribes: a recording, a folder or a manifest.
        batch_size: Recordings in a batch.
        num_workers: As in ``DataModule``.
        seed: Of the shuffling, and of what is made at random.
        extra_manifest: Manifest of additional training recordings, for instance of spliced ones. The n-gram
            model ignores its texts, which need not be sentences.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        rate: int = 16000,
        units: UnitKind = "characters",
        subwords: int = 256,
        ngram: int = 0,
        speeds: tuple[float, ...] = (1.0,),
        noise: tuple[float, float] | None = None,
        path: Path | None = None,
        batch_size: int = 16,
        num_workers: int | None = None,
        seed: int = 0,
        extra_manifest: Path | None = None,
    ) -> None:
        super().__init__(batch_size, num_workers, seed)
        for name, value in (("rate", rate), ("subwords", subwords)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if ngram < 0:
            raise ValueError(f"ngram must not be negative, got {ngram}")
        if not speeds or min(speeds) <= 0:
            raise ValueError(f"speeds must be positive factors, got {speeds}")
        self.rate = rate
        self.kind: UnitKind = units
        self.subwords = subwords
        self.ngram_order = ngram
        self.augmentation = WaveformAugmentation(tuple(speeds), noise)
        self.path = path
        self.extra_manifest = extra_manifest
        self._read: dict[Split, list[Utterance] | None] = {}
        self._units: Units | None = None
        self._seconds: list[float] = []

    # --- what a subclass implements -------------------------------------------------------------------------

    @abstractmethod
    def read(self, split: Split) -> list[Utterance] | None:
        """The recordings of ``train``, ``val`` or ``test``; ``None`` where there is no such split."""

    # --- what the base class asks for -----------------------------------------------------------------------

    def dataset(self, split: Split) -> SpeechDataset | None:
        """Read the recordings of a split."""
        utterances = self.utterances(split)
        if utterances is None:
            return None
        return SpeechDataset(
            utterances, self.units, self.rate, self.augmentation if split == "train" else None
        )

    def learn(self) -> dict[str, Any]:
        """Units, and the n-gram model if there is to be one."""
        said = [utterance.text for utterance in self.utterances("train") or []]
        units = fit_units(self.kind, said, self.subwords)
        spelt = map(units.encode, said[: len(said) - len(self._more)])
        ngram = NGram.of(spelt, self.ngram_order, len(units)).state() if self.ngram_order else None
        return {"kind": self.kind, "units": units.state(), "ngram": ngram}

    def collate(self, items: list[SpeechItem]) -> SpeechBatch:
        """A batch."""
        return collate(items)

    def is_costly(self, split: Split) -> bool:
        """Recordings are read when it is their turn, and distorted in training."""
        return True

    def batches(self, split: Split, dataset: Sized, epoch: int) -> Batches:
        """In training, recordings of about one length together; else in their order, as speech arrives."""
        if split != "train":
            return super().batches(split, dataset, epoch)
        lengths = self._lengths()
        order = self.shuffled(len(lengths), epoch)
        span = CHUNK * self.batch_size
        chunks = [order[start : start + span] for start in range(0, len(order), span)]
        order = [i for chunk in chunks for i in sorted(chunk, key=lengths.__getitem__)]
        parts = [order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)]
        return [parts[i] for i in self.shuffled(len(parts), epoch)]

    # --- what callers use -----------------------------------------------------------------------------------

    @property
    def units(self) -> Units:
        """What the recognizer writes."""
        if self._units is None:
            self._units = restore_units(self.learnt["kind"], self.learnt["units"])
        return self._units

    @property
    def ngram(self) -> NGram | None:
        """The language model of the training transcripts, where there is one."""
        state = self.learnt["ngram"]
        return None if state is None else NGram.restore(state)

    def utterances(self, split: Split) -> list[Utterance] | None:
        """The recordings of a split, read once, their transcripts plain."""
        if split not in self._read:
            found = self._asked() if split == "predict" else self.read(split)
            if split == "train" and self._more:
                found = [*(found or []), *self._more]
            self._read[split] = (
                None if found is None else [item._replace(text=normalize_text(item.text)) for item in found]
            )
        return self._read[split]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what was learnt when the checkpoint was made."""
        super().load_state_dict(state_dict)
        self._units = None

    @cached_property
    def _more(self) -> list[Utterance]:
        return [] if self.extra_manifest is None else read_manifest(self.extra_manifest)

    def _asked(self) -> list[Utterance] | None:
        if self.path is None:
            raise ArgumentError("predict needs --data.path: a recording, a folder or a manifest")
        if self.path.is_dir():
            return read_folder(self.path)
        if self.path.suffix in (".tsv", ".jsonl"):
            return read_manifest(self.path, texts=False)
        return [read_file(self.path)]

    def _lengths(self) -> list[float]:
        if not self._seconds:
            self._seconds = [item.seconds() for item in cast(list[Utterance], self.utterances("train"))]
        return self._seconds


def split_apart(count: int, held_out: int, seed: int) -> tuple[list[int], list[int]]:
    """Numbers below ``count``: those that stay, and ``held_out`` of them drawn by ``seed``, both in order.

    Raises:
        ValueError: If that leaves nothing.

    Example:
        >>> kept, held = split_apart(5, 2, seed=0)
        >>> sorted(kept + held), len(held)
        ([0, 1, 2, 3, 4], 2)
    """
    if not 0 <= held_out < count:
        raise ValueError(f"{held_out} of {count} recordings cannot be held out")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
    return sorted(order[held_out:]), sorted(order[:held_out])
