"""One speaker of the VCTK corpus (Veaux, Yamagishi & MacDonald 2017, doi:10.7488/ds/2645)."""

from pathlib import Path
from typing import Any, final
from zipfile import BadZipFile, ZipFile

from recollect.training import DataError, Split, data_folder, fetch
from recollect.training.splits import hold_out
from recollect.training.text import read_lines, read_text
from recollect_speech.data.audio import Clip
from recollect_speech.data.recognition import RecognitionData
from recollect_speech.data.sentences import read_sentences
from recollect_speech.data.tts_corpus import Line, assign_voices, corpus_folder, synthesize_once
from recollect_speech.data.units import normalize_text
from recollect_speech.data.utterances import Utterance, read_manifest

SPEAKER = "p239"

VAL, TEST = 20, 40
"""Default numbers of validation and test sentences."""

URL = "https://datashare.ed.ac.uk/bitstream/handle/10283/3443/VCTK-Corpus-0.92.zip"


@final
class VctkData(RecognitionData):
    """About 400 sentences read by one speaker; 40 are the test set and 20 the validation set.

    Files are read from ``vctk`` under ``RECOLLECT_DATA`` (by default the user's cache folder). They have the
    layout of the corpus, ``wav48_silence_trimmed/p239/*_mic1.flac`` and ``txt/p239/*.txt``, or lie in
    ``vctk_p239_16k``: ``transcripts.tsv`` (id, tab, text) and ``flac/<id>.flac``. If both are missing, the
    corpus is downloaded, 11 GB, and the speaker's files are unpacked. Licence: CC BY 4.0 (version 0.80:
    ODC-By 1.0).

    Args:
        speaker: Name of the speaker.
        val: Number of validation sentences.
        test: Number of test sentences.
        repeats: How often each training sentence occurs in an epoch.
        synthetic: Number of additional training recordings by eSpeak NG; see ``SyntheticSentencesData``.
        sentences: Text file of the sentences that eSpeak NG speaks, one per line; by default the training
            sentences.
        batch_size: As in ``RecognitionData``.
        options: As in ``RecognitionData``.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        speaker: str = SPEAKER,
        val: int = VAL,
        test: int = TEST,
        repeats: int = 1,
        synthetic: int = 0,
        sentences: Path | None = None,
        batch_size: int = 8,
        **options: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, **options)
        if min(val, test) < 1:
            raise ValueError(f"val and test must be positive, got {val} and {test}")
        if repeats < 1:
            raise ValueError(f"repeats must be at least 1, got {repeats}")
        if synthetic < 0 or (synthetic == 0 and sentences is not None):
            raise ValueError(
                f"synthetic must be positive if sentences are given, and not negative, got {synthetic}"
            )
        self.speaker = speaker
        self.counts = (val, test)
        self.repeats = repeats
        self.synthetic = synthetic
        self.sentences = sentences

    def prepare_data(self) -> None:
        """Download missing files, except for prediction."""
        if self.trainer is not None and self.trainer.predicting:
            return
        prepare(self.speaker)
        if self.synthetic:
            synthesize_once(self._lines(), self.rate)

    def read(self, split: Split) -> list[Utterance]:
        """Read the recordings of a split."""
        recordings = read_splits(self.speaker, *self.counts)[split]
        if split != "train":
            return recordings
        spoken = (
            read_manifest(corpus_folder(self._lines(), self.rate) / "train.tsv") if self.synthetic else []
        )
        return recordings * self.repeats + spoken

    def _lines(self) -> dict[Split, list[Line]]:
        """The lines for eSpeak NG; only their training split is used."""
        if self.sentences is None:
            sentences = vctk_sentences(self.speaker, *self.counts)
        else:
            sentences = read_sentences(self.sentences)
        source = "the training split" if self.sentences is None else str(self.sentences)
        return assign_voices(
            sentences, {"train": self.synthetic, "val": VAL, "test": TEST}, self.seed, source
        )


def copied_folder(speaker: str) -> Path:
    """The folder of a copy of a speaker's sentences."""
    return data_folder("vctk") / f"vctk_{speaker}_16k"


def prepare(speaker: str) -> None:
    """Download the corpus and unpack a speaker's files if they are missing.

    Raises:
        DataError: If the archive is damaged.
    """
    folder = data_folder("vctk")
    if copied_folder(speaker).is_dir() or (folder / "txt" / speaker).is_dir():
        return
    archive = fetch(URL, None, folder)
    try:
        with ZipFile(archive) as packed:
            wanted = [name for name in packed.namelist() if f"/{speaker}/" in f"/{name}"]
            packed.extractall(folder, wanted)
    except BadZipFile as error:
        raise DataError(f"{archive} is damaged: {error}; delete it to have it downloaded again") from error


def read_splits(speaker: str = SPEAKER, val: int = VAL, test: int = TEST) -> dict[Split, list[Utterance]]:
    """Split the sentences of a speaker; the held-out sentences are always the same."""
    listed = read_recordings(speaker)
    rest, test_items = hold_out(len(listed), test, seed=0)
    train_items, val_items = hold_out(len(rest), val, seed=0)
    numbers: dict[Split, list[int]] = {
        "train": [rest[i] for i in train_items],
        "val": [rest[i] for i in val_items],
        "test": test_items,
    }
    return {split: [listed[i] for i in which] for split, which in numbers.items()}


def vctk_sentences(speaker: str = SPEAKER, val: int = VAL, test: int = TEST) -> list[str]:
    """The training sentences, without those that are also in another split."""
    splits = read_splits(speaker, val, test)
    held_out = {normalize_text(item.text) for split in ("val", "test") for item in splits[split]}
    sentences = {normalize_text(item.text): item.text for item in splits["train"]}
    return [text for key, text in sentences.items() if key not in held_out]


def read_recordings(speaker: str) -> list[Utterance]:
    """All recordings of a speaker, sorted by name.

    Raises:
        DataError: If there are none, or a recording is missing.
    """
    copied, folder = copied_folder(speaker), data_folder("vctk")
    utterances: list[Utterance] = []
    if copied.is_dir():
        path = copied / "transcripts.tsv"
        for line, row in enumerate(read_lines(path), start=1):
            name, tab, text = row.partition("\t")
            if not tab or not text.strip():
                raise DataError(f"{path}, line {line}: expected an id, a tab and a text, got {row!r}")
            utterances.append(
                _utterance(copied / "flac" / f"{name}.flac", text, speaker, f"{path}, line {line}")
            )
    else:
        for path in sorted((folder / "txt" / speaker).glob("*.txt")):
            audio = folder / "wav48_silence_trimmed" / speaker / f"{path.stem}_mic1.flac"
            utterances.append(_utterance(audio, read_text(path), speaker, str(path)))
    if not utterances:
        raise DataError(f"{folder} has no sentences of {speaker}")
    return utterances


def _utterance(audio: Path, text: str, speaker: str, where: str) -> Utterance:
    if not audio.is_file():
        raise DataError(f"{where}: {audio}: there is no such file")
    return Utterance(Clip(audio), text.strip(), audio.stem, speaker, where)
