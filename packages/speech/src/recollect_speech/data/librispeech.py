"""LibriSpeech: 1,000 hours of books read aloud (Panayotov et al. 2015, ICASSP)."""

from pathlib import Path
from typing import Any, final

from torchaudio.datasets import LIBRISPEECH

from recollect.training import DataError, Split, data_folder
from recollect_speech.data.audio import Clip
from recollect_speech.data.recognition import RecognitionData
from recollect_speech.data.torchaudio_dataset import open_dataset
from recollect_speech.data.units import UnitKind
from recollect_speech.data.utterances import Utterance


@final
class LibriSpeechData(RecognitionData):
    """Parts of LibriSpeech; torchaudio downloads them to ``librispeech`` under ``RECOLLECT_DATA``.

    Licence: CC BY 4.0.

    Args:
        train: Training parts.
        val: Validation parts.
        test: Test parts.
        units: As in ``RecognitionData``.
        options: As in ``RecognitionData``.
    """

    def __init__(
        self,
        train: tuple[str, ...] = ("train-clean-100",),
        val: tuple[str, ...] = ("dev-clean",),
        test: tuple[str, ...] = ("test-clean",),
        units: UnitKind = "subwords",
        **options: Any,
    ) -> None:
        super().__init__(units=units, **options)
        self.parts: dict[Split, tuple[str, ...]] = {"train": train, "val": val, "test": test}

    def prepare_data(self) -> None:
        """Download missing files, except for prediction."""
        if self.trainer is None or not self.trainer.predicting:
            for part in {part for parts in self.parts.values() for part in parts}:
                _open(part)

    def read(self, split: Split) -> list[Utterance]:
        """Read the recordings of a split."""
        return [item for part in self.parts[split] for item in _utterances(part)]


def _open(part: str) -> Any:
    return open_dataset(LIBRISPEECH, f"LibriSpeech {part}", data_folder("librispeech"), url=part)


def _utterances(part: str) -> list[Utterance]:
    dataset = _open(part)
    root = data_folder("librispeech") / "LibriSpeech"
    found = []
    for number in range(len(dataset)):
        try:
            path, _, text, speaker, _, _ = dataset.get_metadata(number)
        except FileNotFoundError as error:
            raise DataError(f"{root / part}: {error}") from error
        found.append(Utterance(Clip(root / path), text, Path(path).stem, str(speaker)))
    if not found:
        raise DataError(f"{root / part} has no recordings")
    return found
