"""Sentences spoken by eSpeak NG, to pretrain for small sets of recordings."""

from pathlib import Path
from typing import Any, final

from recollect.training import Split
from recollect_speech.data.recognition import RecognitionData
from recollect_speech.data.sentences import read_sentences
from recollect_speech.data.tts_corpus import Line, assign_voices, corpus_folder, synthesize_once
from recollect_speech.data.utterances import Utterance, read_manifest
from recollect_speech.data.vctk import SPEAKER, prepare, vctk_sentences


@final
class SyntheticSentencesData(RecognitionData):
    """Sentences of a text file, spoken in several voices, accents, speeds and pitches.

    By default they are the training sentences of ``VctkData``, without those it holds out. Voices and
    sentences of validation and test do not occur in training; ``seed`` determines all of it. The recordings
    are kept in ``espeak`` under ``RECOLLECT_DATA`` (by default the user's cache folder) as manifests and FLAC
    files, in one folder for each choice of sentences, numbers, rate and seed.

    Args:
        path: For ``fit`` a text file, one sentence per line; for ``predict`` a recording, folder or manifest.
        train: Number of training recordings: the training sentences in turn, each time in another voice.
        val: Number of validation sentences.
        test: Number of test sentences.
        options: As in ``RecognitionData``.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        path: Path | None = None,
        train: int = 3000,
        val: int = 20,
        test: int = 40,
        **options: Any,
    ) -> None:
        super().__init__(path=path, **options)
        if min(train, val, test) < 1:
            raise ValueError(f"train, val and test must be positive, got {train}, {val} and {test}")
        self.counts: dict[Split, int] = {"train": train, "val": val, "test": test}
        self._folder: Path | None = None

    def prepare_data(self) -> None:
        """Synthesize missing recordings, except for prediction."""
        if self.trainer is not None and self.trainer.predicting:
            return
        if self.path is None:
            prepare(SPEAKER)
        synthesize_once(self._lines(), self.rate)

    def read(self, split: Split) -> list[Utterance]:
        """Read the recordings of a split."""
        if self._folder is None:
            self._folder = corpus_folder(self._lines(), self.rate)
        return read_manifest(self._folder / f"{split}.tsv")

    def _lines(self) -> dict[Split, list[Line]]:
        source = "VCTK's training split" if self.path is None else str(self.path)
        sentences = vctk_sentences() if self.path is None else read_sentences(self.path)
        return assign_voices(sentences, self.counts, self.seed, source)
