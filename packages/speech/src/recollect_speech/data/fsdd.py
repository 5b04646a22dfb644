"""The Free Spoken Digit Dataset: 3,000 recordings of six speakers (doi:10.5281/zenodo.1342401)."""

import re
from pathlib import Path
from typing import Any, NamedTuple, final
from zipfile import BadZipFile, ZipFile

from recollect.training import DataError, Split, data_folder, fetch
from recollect.training.errors import ArgumentError
from recollect_speech.data.audio import Clip
from recollect_speech.data.digits import NAMES
from recollect_speech.data.recognition import RecognitionData
from recollect_speech.data.synthetic_digits import synthesize_digit_strings
from recollect_speech.data.synthetic_words import synthesize_words
from recollect_speech.data.units import UnitKind
from recollect_speech.data.utterances import Utterance

URL = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.zip"

RECORDINGS = 3000

NUMBERS: dict[Split, range] = {"test": range(5), "val": range(5, 8), "train": range(8, 50)}
"""Numbers of a speaker's 50 recordings of a digit in each split. The test split is the official one; the
validation split is taken from the official training split."""

_NAME = re.compile(r"(\d)_([a-z]+)_(\d+)\.wav")


class DigitRecording(NamedTuple):
    """A recording of one digit."""

    path: Path
    digit: int
    speaker: str
    number: int


@final
class FsddData(RecognitionData):
    """Single digits. In the official split, recordings 0 to 4 of each speaker and digit are the test set.

    With ``held_out_speaker``, all recordings of that speaker are the test set and none is used for training
    or validation. With ``val_speaker`` as well, all recordings of a second speaker are the validation set, so
    that settings can be tuned for unseen speakers without the test set. The test set is shuffled with a fixed
    seed, because the files are sorted by digit and a memory would read fifty zeros in a row.

    Files are read from ``fsdd/recordings`` under ``RECOLLECT_DATA`` (by default the user's cache folder), and
    downloaded from the dataset's repository if they are missing. There is no published checksum, so the
    number of recordings is checked instead. Licence: CC BY-SA 4.0.

    Args:
        held_out_speaker: Speaker whose recordings are the test set.
        val_speaker: Speaker whose recordings are the validation set, if one is held out; by default part of
            the recordings of the training speakers.
        synthetic: Number of additional training recordings by eSpeak NG: strings of two or three digits.
        single_digits: Whether these are single digits instead.
        rate: As in ``RecognitionData``.
        units: As in ``RecognitionData``.
        batch_size: As in ``RecognitionData``.
        options: As in ``RecognitionData``.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        held_out_speaker: str | None = None,
        val_speaker: str | None = None,
        synthetic: int = 0,
        single_digits: bool = False,
        rate: int = 8000,
        units: UnitKind = "words",
        batch_size: int = 32,
        **options: Any,
    ) -> None:
        super().__init__(rate=rate, units=units, batch_size=batch_size, **options)
        if synthetic < 0:
            raise ValueError(f"synthetic must not be negative, got {synthetic}")
        if val_speaker is not None and held_out_speaker in (None, val_speaker):
            raise ValueError(
                f"val_speaker needs a different held_out_speaker, got {val_speaker} and {held_out_speaker}"
            )
        self.held_out_speaker = held_out_speaker
        self.val_speaker = val_speaker
        self.synthetic = synthetic
        self.single_digits = single_digits

    def prepare_data(self) -> None:
        """Download missing files, except for prediction."""
        if self.trainer is None or not self.trainer.predicting:
            prepare()

    def read(self, split: Split) -> list[Utterance]:
        """Read the recordings of a split."""
        found = choose(read_recordings(), split, self.held_out_speaker, self.val_speaker)
        utterances = [
            Utterance(Clip(item.path), NAMES[item.digit], item.path.name, item.speaker) for item in found
        ]
        if split != "train":
            return [utterances[i] for i in self.shuffled(len(utterances), 0)]
        if self.single_digits:
            return utterances + synthesize_words(NAMES, self.synthetic, self.rate, self.seed)
        return utterances + synthesize_digit_strings("train", self.synthetic, (2, 3), self.rate, self.seed)


def prepare() -> None:
    """Download and unpack the recordings if they are missing.

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


def read_recordings() -> list[DigitRecording]:
    """All recordings, sorted by speaker, digit and number.

    Raises:
        DataError: If recordings are missing, or a file is not named like a recording.
    """
    folder = data_folder("fsdd") / "recordings"
    found = []
    for path in folder.glob("*.wav"):
        named = _NAME.fullmatch(path.name)
        if named is None:
            raise DataError(f"{path} is not named like a recording, such as 7_jackson_32.wav")
        found.append(DigitRecording(path, int(named[1]), named[2], int(named[3])))
    if len(found) != RECORDINGS:
        raise DataError(f"{folder} has {len(found)} recordings instead of {RECORDINGS}")
    return sorted(found, key=lambda item: (item.speaker, item.digit, item.number))


def choose(
    recordings: list[DigitRecording],
    split: Split,
    held_out_speaker: str | None,
    val_speaker: str | None = None,
) -> list[DigitRecording]:
    """The recordings of a split.

    Raises:
        ArgumentError: If there is no such speaker.
    """
    speakers = sorted({item.speaker for item in recordings})
    for name, speaker in (("held_out_speaker", held_out_speaker), ("val_speaker", val_speaker)):
        if speaker is not None and speaker not in speakers:
            raise ArgumentError(f"--data.{name} {speaker}: the speakers are {', '.join(speakers)}")
    if held_out_speaker is None:
        return [item for item in recordings if item.number in NUMBERS[split]]
    whole: dict[Split, str | None] = {"test": held_out_speaker, "val": val_speaker}
    if (speaker := whole.get(split)) is not None:
        return [item for item in recordings if item.speaker == speaker]
    # The test split of the other speakers is free for training.
    numbers = NUMBERS["val"] if split == "val" else (*NUMBERS["train"], *NUMBERS["test"])
    if split == "train" and val_speaker is not None:
        numbers = range(50)
    return [i for i in recordings if i.speaker not in (held_out_speaker, val_speaker) and i.number in numbers]
