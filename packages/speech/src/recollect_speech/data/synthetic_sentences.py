"""Sentences spoken by eSpeak NG: what can be learnt from before recordings, of which there are few."""

from pathlib import Path
from typing import final

from recollect.training import Split
from recollect_speech.data.recognition import RecognitionData
from recollect_speech.data.sentences import read_sentences
from recollect_speech.data.tts_corpus import Line, assign_voices, corpus_folder, synthesize_once
from recollect_speech.data.units import UnitKind
from recollect_speech.data.utterances import Utterance, read_manifest
from recollect_speech.data.vctk import SPEAKER, prepare, vctk_sentences


@final
class SyntheticSentencesData(RecognitionData):
    """Sentences of a text file, spoken in several voices, accents, speeds and pitches.

    Without a file they are those of ``VctkData`` that training there learns from: none of the sentences that
    it holds out. Voices and sentences of validation and test do not occur in training; everything is drawn by
    ``seed``. What has been said is kept in ``espeak`` under ``RECOLLECT_DATA`` (else the user's cache
    folder): manifests and FLAC files, in a folder for each choice of sentences, numbers, rate and seed.

    Args:
        path: A text file, one sentence a line, for ``fit``; for ``predict`` a recording, a folder or a
            manifest.
        train: Recordings to learn from: all sentences that are not set aside in turn, each time in another
            voice.
        val: Sentences that are set aside to choose by.
        test: Sentences that are set aside to report on.
        rate: As in ``RecognitionData``.
        units: As in ``RecognitionData``.
        subwords: As in ``RecognitionData``.
        ngram: As in ``RecognitionData``.
        speeds: As in ``RecognitionData``.
        noise: As in ``RecognitionData``.
        batch_size: As in ``RecognitionData``.
        num_workers: As in ``RecognitionData``.
        seed: As in ``RecognitionData``.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        path: Path | None = None,
        train: int = 3000,
        val: int = 20,
        test: int = 40,
        rate: int = 16000,
        units: UnitKind = "characters",
        subwords: int = 256,
        ngram: int = 0,
        speeds: tuple[float, ...] = (1.0,),
        noise: tuple[float, float] | None = None,
        batch_size: int = 16,
        num_workers: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(rate, units, subwords, ngram, speeds, noise, path, batch_size, num_workers, seed)
        if min(train, val, test) < 1:
            raise ValueError(f"train, val and test must be positive, got {train}, {val} and {test}")
        self.counts: dict[Split, int] = {"train": train, "val": val, "test": test}
        self._folder: Path | None = None

    def prepare_data(self) -> None:
        """Let eSpeak NG say what it has not said before; predicting from a checkpoint needs none of it."""
        if self.trainer is not None and self.trainer.predicting:
            return
        if self.path is None:
            prepare(SPEAKER)
        synthesize_once(self._lines(), self.rate)

    def read(self, split: Split) -> list[Utterance]:
        """What was said of a split."""
        if self._folder is None:
            self._folder = corpus_folder(self._lines(), self.rate)
        return read_manifest(self._folder / f"{split}.tsv")

    def _lines(self) -> dict[Split, list[Line]]:
        source = "VCTK's training split" if self.path is None else str(self.path)
        sentences = vctk_sentences() if self.path is None else read_sentences(self.path)
        return assign_voices(sentences, self.counts, self.seed, source)
