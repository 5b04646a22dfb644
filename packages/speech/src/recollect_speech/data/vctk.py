"""One speaker of the VCTK corpus (Veaux, Yamagishi & MacDonald 2017, doi:10.7488/ds/2645)."""

from pathlib import Path
from typing import final
from zipfile import BadZipFile, ZipFile

from recollect.training import DataError, Split, data_folder, fetch
from recollect_speech.data.audio import Clip
from recollect_speech.data.manifest import Utterance
from recollect_speech.data.recognition import RecognitionData, split_apart
from recollect_speech.data.units import Kind

SPEAKER = "p239"

VAL, TEST = 20, 40
"""Sentences that are held out."""

URL = "https://datashare.ed.ac.uk/bitstream/handle/10283/3443/VCTK-Corpus-0.92.zip"


@final
class VctkData(RecognitionData):
    """About 400 sentences read by one speaker; 40 of them are the test, 20 validation, drawn by ``seed``.

    They are looked for in ``vctk`` under ``RECOLLECT_DATA`` (else the user's cache folder): as the corpus has
    them, ``wav48_silence_trimmed/p239/*_mic1.flac`` and ``txt/p239/*.txt``, or as ``vctk_p239_16k``, a folder
    of ``transcripts.tsv`` (id, tab, text) and ``flac/<id>.flac``. Where neither is there the corpus is
    downloaded, 11 GB, and the speaker's files are unpacked. Licence: CC BY 4.0 (of version 0.80: ODC-By 1.0).

    Args:
        speaker: Who reads.
        val: Sentences to choose by.
        test: Sentences to report on.
        rate: As in ``RecognitionData``.
        units: As in ``RecognitionData``.
        subwords: As in ``RecognitionData``.
        ngram: As in ``RecognitionData``.
        speeds: As in ``RecognitionData``.
        noise: As in ``RecognitionData``.
        path: As in ``RecognitionData``.
        batch_size: As in ``RecognitionData``.
        num_workers: As in ``RecognitionData``.
        seed: As in ``RecognitionData``; the test is the same for every seed.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        speaker: str = SPEAKER,
        val: int = VAL,
        test: int = TEST,
        rate: int = 16000,
        units: Kind = "characters",
        subwords: int = 256,
        ngram: int = 0,
        speeds: tuple[float, ...] = (1.0,),
        noise: tuple[float, float] | None = None,
        path: Path | None = None,
        batch_size: int = 8,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(rate, units, subwords, ngram, speeds, noise, path, batch_size, num_workers, seed)
        if min(val, test) < 1:
            raise ValueError(f"val and test must be positive, got {val} and {test}")
        self.speaker = speaker
        self.counts = (val, test)

    def prepare_data(self) -> None:
        """Download what is missing; predicting from a checkpoint needs none of it."""
        if self.trainer is None or not self.trainer.predicting:
            prepare(self.speaker)

    def read(self, split: Split) -> list[Utterance]:
        """The sentences of a split."""
        return read_splits(self.speaker, *self.counts)[split]


def copy_of(speaker: str) -> Path:
    """Where a speaker's sentences stand by themselves."""
    return data_folder("vctk") / f"vctk_{speaker}_16k"


def prepare(speaker: str) -> None:
    """Download the corpus where a speaker is missing, and unpack their files.

    Raises:
        DataError: If the archive is damaged.
    """
    folder = data_folder("vctk")
    if copy_of(speaker).is_dir() or (folder / "txt" / speaker).is_dir():
        return
    archive = fetch(URL, None, folder)
    try:
        with ZipFile(archive) as packed:
            wanted = [name for name in packed.namelist() if f"/{speaker}/" in f"/{name}"]
            packed.extractall(folder, wanted)
    except BadZipFile as error:
        raise DataError(f"{archive} is damaged: {error}; delete it to have it downloaded again") from error


def read_splits(speaker: str = SPEAKER, val: int = VAL, test: int = TEST) -> dict[Split, list[Utterance]]:
    """The sentences of a speaker, of which ``test`` and ``val`` are held out: the same ones each time."""
    listed = read_sentences(speaker)
    rest, tested = split_apart(len(listed), test, seed=0)
    kept, chosen_by = split_apart(len(rest), val, seed=0)
    numbers: dict[Split, list[int]] = {
        "train": [rest[i] for i in kept],
        "val": [rest[i] for i in chosen_by],
        "test": tested,
    }
    return {split: [listed[i] for i in which] for split, which in numbers.items()}


def read_sentences(speaker: str) -> list[Utterance]:
    """All sentences of a speaker, by name.

    Raises:
        DataError: If there are none, or a recording is missing.
    """
    own, folder = copy_of(speaker), data_folder("vctk")
    said: list[Utterance] = []
    if own.is_dir():
        path = own / "transcripts.tsv"
        for line, row in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            name, tab, text = row.partition("\t")
            if not tab or not text.strip():
                raise DataError(f"{path}, line {line}: an id, a tab and a text are wanted, not {row!r}")
            said.append(_sentence(own / "flac" / f"{name}.flac", text, speaker, f"{path}, line {line}"))
    else:
        for path in sorted((folder / "txt" / speaker).glob("*.txt")):
            audio = folder / "wav48_silence_trimmed" / speaker / f"{path.stem}_mic1.flac"
            said.append(_sentence(audio, path.read_text(encoding="utf-8"), speaker, str(path)))
    if not said:
        raise DataError(f"{folder} holds no sentences of {speaker}")
    return said


def _sentence(audio: Path, text: str, speaker: str, where: str) -> Utterance:
    if not audio.is_file():
        raise DataError(f"{where}: {audio}: there is no such file")
    return Utterance(Clip(audio), text.strip(), audio.stem, speaker, where)
