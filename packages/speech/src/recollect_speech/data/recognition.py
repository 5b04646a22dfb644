"""The base class of data modules of recordings."""

from abc import abstractmethod
from collections.abc import Sized
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch

from recollect.training import DataModule, Split
from recollect.training.batching import sort_in_chunks
from recollect.training.errors import ArgumentError
from recollect.training.loader import Batches
from recollect.validation import check_positive
from recollect_speech.data.ngram import NGram
from recollect_speech.data.speech_dataset import SpeechDataset, WaveformAugmentation, collate
from recollect_speech.data.units import UnitKind, Units, fit_units, normalize_text, restore_units
from recollect_speech.data.utterances import Utterance, read_file, read_folder, read_manifest
from recollect_speech.types import SpeechBatch, SpeechItem

CHUNK = 20
"""Number of batches within which training recordings are sorted by length."""


class RecognitionData(DataModule):
    """Base class of data modules of recordings with transcripts; subclasses implement ``read``.

    Units and the n-gram model are fitted on the training transcripts and saved in checkpoints. Transcripts
    are normalised to lower case without punctuation.

    Args:
        rate: Sample rate; recordings with another rate are resampled.
        units: Units of the transcripts: words, characters or subwords.
        subwords: Size of the vocabulary of subwords.
        ngram: Order of the language model over units; 0 for none.
        speeds: Speed factors, one of which is drawn for each training recording.
        noise: Bounds in dB of the signal-to-noise ratio of white noise in training; none by default.
        path: Input of ``predict``: a recording, a folder or a manifest.
        batch_size: Recordings per batch.
        num_workers: As in ``DataModule``.
        seed: Seed of shuffling and of random data.
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
        check_positive(rate=rate, subwords=subwords)
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
        """Read the recordings of ``train``, ``val`` or ``test``; ``None`` if there is no such split."""

    # --- what the base class asks for -----------------------------------------------------------------------

    def dataset(self, split: Split) -> SpeechDataset | None:
        """The dataset of a split."""
        utterances = self.utterances(split)
        if utterances is None:
            return None
        return SpeechDataset(
            utterances, self.units, self.rate, self.augmentation if split == "train" else None
        )

    def fit(self) -> dict[str, Any]:
        """Fit the units and, if wanted, the n-gram model."""
        texts = [utterance.text for utterance in self.utterances("train") or []]
        units = fit_units(self.kind, texts, self.subwords)
        encoded = map(units.encode, texts[: len(texts) - len(self._extra)])
        ngram = NGram.fit(encoded, self.ngram_order, len(units)).state() if self.ngram_order else None
        return {"kind": self.kind, "units": units.state(), "ngram": ngram}

    def collate(self, items: list[SpeechItem]) -> SpeechBatch:
        """Make a batch."""
        return collate(items)

    def is_costly(self, split: Split) -> bool:
        """Loading is costly: recordings are read from files and augmented in training."""
        return True

    def batches(self, split: Split, dataset: Sized, epoch: int) -> Batches:
        """Batches of recordings of similar length in training; otherwise recordings in order."""
        if split != "train":
            return super().batches(split, dataset, epoch)
        lengths = torch.tensor(self._lengths(), dtype=torch.float64)
        order = torch.tensor(self.shuffled(len(lengths), epoch))
        order = sort_in_chunks(torch.split(order, CHUNK * self.batch_size), lengths)
        batches = torch.split(order, self.batch_size)
        return [batches[i].tolist() for i in self.shuffled(len(batches), epoch)]

    # --- what callers use -----------------------------------------------------------------------------------

    @property
    def units(self) -> Units:
        """The units of the transcripts."""
        if self._units is None:
            self._units = restore_units(self.fitted["kind"], self.fitted["units"])
        return self._units

    @property
    def ngram(self) -> NGram | None:
        """The n-gram model of the training transcripts, or ``None``."""
        state = self.fitted["ngram"]
        return None if state is None else NGram.restore(state)

    def utterances(self, split: Split) -> list[Utterance] | None:
        """The recordings of a split with normalised transcripts; read once."""
        if split not in self._read:
            found = self._predict_utterances() if split == "predict" else self.read(split)
            if split == "train" and self._extra:
                found = [*(found or []), *self._extra]
            self._read[split] = (
                None if found is None else [item._replace(text=normalize_text(item.text)) for item in found]
            )
        return self._read[split]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what was fitted before the checkpoint."""
        super().load_state_dict(state_dict)
        self._units = None

    @cached_property
    def _extra(self) -> list[Utterance]:
        return [] if self.extra_manifest is None else read_manifest(self.extra_manifest)

    def _predict_utterances(self) -> list[Utterance] | None:
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
