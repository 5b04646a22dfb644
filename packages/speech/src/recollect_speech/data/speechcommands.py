"""Speech Commands v0.02: 35 words, 105,829 recordings (Warden 2018, arXiv:1804.03209)."""

from typing import Any, final

from torchaudio.datasets import SPEECHCOMMANDS

from recollect.training import DataError, Split, data_folder
from recollect_speech.data.audio import Clip
from recollect_speech.data.recognition import RecognitionData
from recollect_speech.data.torchaudio_dataset import open_dataset
from recollect_speech.data.units import UnitKind
from recollect_speech.data.utterances import Utterance

SUBSETS: dict[Split, str] = {"train": "training", "val": "validation", "test": "testing"}


@final
class SpeechCommandsData(RecognitionData):
    """Single words in the official splits; torchaudio downloads them to ``speechcommands``.

    Licence: CC BY 4.0.

    Args:
        units: As in ``RecognitionData``.
        batch_size: As in ``RecognitionData``.
        options: As in ``RecognitionData``.
    """

    def __init__(
        self,
        units: UnitKind = "words",
        batch_size: int = 64,
        **options: Any,
    ) -> None:
        super().__init__(units=units, batch_size=batch_size, **options)

    def prepare_data(self) -> None:
        """Download missing files, except for prediction."""
        if self.trainer is None or not self.trainer.predicting:
            _open("testing")

    def read(self, split: Split) -> list[Utterance]:
        """Read the recordings of a split."""
        dataset = _open(SUBSETS[split])
        root = data_folder("speechcommands") / "SpeechCommands"  # the paths start with the version
        found = []
        for number in range(len(dataset)):
            path, _, word, speaker, _ = dataset.get_metadata(number)
            found.append(Utterance(Clip(root / path), word, path, speaker))
        if not found:
            raise DataError(f"{root} has no recordings for {SUBSETS[split]}")
        return found


def _open(subset: str) -> Any:
    return open_dataset(SPEECHCOMMANDS, "Speech Commands", data_folder("speechcommands"), subset=subset)
