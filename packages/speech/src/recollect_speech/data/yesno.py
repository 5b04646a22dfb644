"""YesNo: 60 recordings of one speaker, eight Hebrew words each (OpenSLR 1)."""

from pathlib import Path
from typing import Any, final

from torchaudio.datasets import YESNO

from recollect.training import DataError, Split, data_folder
from recollect.training.splits import hold_out
from recollect_speech.data.audio import Clip
from recollect_speech.data.recognition import RecognitionData
from recollect_speech.data.torchaudio_dataset import open_dataset
from recollect_speech.data.units import UnitKind
from recollect_speech.data.utterances import Utterance

WORDS = ("no", "yes")
"""The words by their digit in a file name."""


@final
class YesNoData(RecognitionData):
    """Strings of yes and no; torchaudio downloads them to ``yesno`` under ``RECOLLECT_DATA``.

    There is no official split: 12 fixed, randomly drawn recordings are the test set, 6 the validation set.

    Args:
        rate: As in ``RecognitionData``.
        units: As in ``RecognitionData``.
        batch_size: As in ``RecognitionData``.
        options: As in ``RecognitionData``.
    """

    def __init__(
        self,
        rate: int = 8000,
        units: UnitKind = "words",
        batch_size: int = 8,
        **options: Any,
    ) -> None:
        super().__init__(rate=rate, units=units, batch_size=batch_size, **options)

    def prepare_data(self) -> None:
        """Download missing files, except for prediction."""
        if self.trainer is None or not self.trainer.predicting:
            open_dataset(YESNO, "YesNo", data_folder("yesno"))

    def read(self, split: Split) -> list[Utterance]:
        """Read the recordings of a split."""
        folder = data_folder("yesno") / "waves_yesno"
        open_dataset(YESNO, "YesNo", data_folder("yesno"))
        paths = sorted(folder.glob("*.wav"))
        if len(paths) < 20:
            raise DataError(f"{folder} has {len(paths)} recordings, at least 20 are needed")
        rest, test = hold_out(len(paths), len(paths) // 5, seed=0)
        train, val = hold_out(len(rest), len(paths) // 10, seed=0)
        numbers = {"test": test, "val": [rest[i] for i in val], "train": [rest[i] for i in train]}
        return [Utterance(Clip(paths[i]), _text(paths[i]), paths[i].name, "1") for i in numbers[split]]


def _text(path: Path) -> str:
    try:
        return " ".join(WORDS[int(digit)] for digit in path.stem.split("_"))
    except (ValueError, IndexError) as error:
        raise DataError(f"{path} is not named like a recording, such as 0_1_0_1_1_1_0_0.wav") from error
