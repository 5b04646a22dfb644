"""The Free Spoken Digit Dataset: 3,000 recordings of six speakers (doi:10.5281/zenodo.1342401)."""

import re
from pathlib import Path
from typing import NamedTuple, final
from zipfile import BadZipFile, ZipFile

from recollect.training import DataError, Split, data_folder, fetch
from recollect.training.errors import ArgumentError
from recollect_speech.data.audio import Clip
from recollect_speech.data.digits import NAMES
from recollect_speech.data.manifest import Utterance
from recollect_speech.data.recognition import RecognitionData
from recollect_speech.data.spoken_digits import say_strings
from recollect_speech.data.spoken_words import say_words
from recollect_speech.data.units import Kind

URL = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.zip"

RECORDINGS = 3000

NUMBERS: dict[Split, range] = {"test": range(5), "val": range(5, 8), "train": range(8, 50)}
"""Of a speaker's 50 recordings of a digit those of each split. Those of the test are the official ones; the
others are the official training split, from which validation is taken."""

_NAME = re.compile(r"(\d)_([a-z]+)_(\d+)\.wav")


class Recording(NamedTuple):
    """One digit, by one speaker."""

    path: Path
    digit: int
    speaker: str
    number: int


@final
class FsddData(RecognitionData):
    """Single digits. By default the official split: recordings 0 to 4 of each speaker and digit are the test.

    With ``left_out`` all recordings of that speaker are the test, and nothing of theirs is learnt from or
    chosen by; with ``chosen_by`` as well, all recordings of another speaker are the validation, so that what
    is good for unheard speakers can be chosen without the test. The test comes in an order drawn once, for
    files are sorted by digit, and a memory would hear fifty zeros in a row. The files are looked for in
    ``fsdd/recordings`` under ``RECOLLECT_DATA`` (else the user's cache folder) and downloaded from the
    dataset's repository where they are missing; nobody publishes a checksum, so that the number of recordings
    is checked. Licence: CC BY-SA 4.0.

    Args:
        left_out: The speaker to leave out.
        chosen_by: The speaker to choose by, where one is left out; by default parts of all that are learnt
            from.
        spoken: Strings of two and three digits, spoken by eSpeak NG, that are learnt from besides.
        singly: Whether eSpeak NG says single digits instead of strings.
        rate: As in ``RecognitionData``.
        units: As in ``RecognitionData``.
        subwords: As in ``RecognitionData``.
        ngram: As in ``RecognitionData``.
        speeds: As in ``RecognitionData``.
        noise: As in ``RecognitionData``.
        path: As in ``RecognitionData``.
        batch_size: As in ``RecognitionData``.
        num_workers: As in ``RecognitionData``.
        seed: As in ``RecognitionData``.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        left_out: str | None = None,
        chosen_by: str | None = None,
        spoken: int = 0,
        singly: bool = False,
        rate: int = 8000,
        units: Kind = "words",
        subwords: int = 256,
        ngram: int = 0,
        speeds: tuple[float, ...] = (1.0,),
        noise: tuple[float, float] | None = None,
        path: Path | None = None,
        batch_size: int = 32,
        num_workers: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(rate, units, subwords, ngram, speeds, noise, path, batch_size, num_workers, seed)
        if spoken < 0:
            raise ValueError(f"spoken must not be negative, got {spoken}")
        if chosen_by is not None and left_out in (None, chosen_by):
            raise ValueError(f"chosen_by needs another speaker left_out, got {chosen_by} and {left_out}")
        self.left_out = left_out
        self.chosen_by = chosen_by
        self.spoken = spoken
        self.singly = singly

    def prepare_data(self) -> None:
        """Download what is missing; predicting from a checkpoint needs none of it."""
        if self.trainer is None or not self.trainer.predicting:
            prepare()

    def read(self, split: Split) -> list[Utterance]:
        """The recordings of a split."""
        found = choose(read_recordings(), split, self.left_out, self.chosen_by)
        said = [Utterance(Clip(item.path), NAMES[item.digit], item.path.name, item.speaker) for item in found]
        if split != "train":
            return [said[i] for i in self.shuffled(len(said), 0)]
        if self.singly:
            return said + say_words(NAMES, self.spoken, self.rate, self.seed)
        return said + say_strings("train", self.spoken, (2, 3), self.rate, self.seed)


def prepare() -> None:
    """Download the recordings where they are missing, and unpack them.

    Raises:
        DataError: If the archive is damaged.
    """
    folder = data_folder("fsdd")
    if (folder / "recordings").is_dir():
        return
    archive = fetch(URL, None, folder, "fsdd-1.0.10.zip")
    try:
        with ZipFile(archive) as packed:
            for name in packed.namelist():
                if "/recordings/" in name and name.endswith(".wav"):
                    path = folder / "recordings.partial" / Path(name).name
                    path.parent.mkdir(exist_ok=True)
                    path.write_bytes(packed.read(name))
    except BadZipFile as error:
        raise DataError(f"{archive} is damaged: {error}; delete it to have it downloaded again") from error
    (folder / "recordings.partial").rename(folder / "recordings")


def read_recordings() -> list[Recording]:
    """All recordings, by speaker, digit and number.

    Raises:
        DataError: If there are not as many as published, or a file is not named as they are.
    """
    folder = data_folder("fsdd") / "recordings"
    found = []
    for path in folder.glob("*.wav"):
        named = _NAME.fullmatch(path.name)
        if named is None:
            raise DataError(f"{path} is not named like a recording: 7_jackson_32.wav")
        found.append(Recording(path, int(named[1]), named[2], int(named[3])))
    if len(found) != RECORDINGS:
        raise DataError(f"{folder} holds {len(found)} recordings instead of {RECORDINGS}")
    return sorted(found, key=lambda item: (item.speaker, item.digit, item.number))


def choose(
    recordings: list[Recording], split: Split, left_out: str | None, chosen_by: str | None = None
) -> list[Recording]:
    """The recordings of a split.

    Raises:
        ArgumentError: If nobody is called ``left_out`` or ``chosen_by``.
    """
    speakers = sorted({item.speaker for item in recordings})
    for name, speaker in (("left_out", left_out), ("chosen_by", chosen_by)):
        if speaker is not None and speaker not in speakers:
            raise ArgumentError(f"--data.{name} {speaker}: the speakers are {', '.join(speakers)}")
    if left_out is None:
        return [item for item in recordings if item.number in NUMBERS[split]]
    alone: dict[Split, str | None] = {"test": left_out, "val": chosen_by}
    if (speaker := alone.get(split)) is not None:
        return [item for item in recordings if item.speaker == speaker]
    # Of the others nothing is needed for the test.
    numbers = NUMBERS["val"] if split == "val" else (*NUMBERS["train"], *NUMBERS["test"])
    if split == "train" and chosen_by is not None:
        numbers = range(50)
    return [i for i in recordings if i.speaker not in (left_out, chosen_by) and i.number in numbers]
