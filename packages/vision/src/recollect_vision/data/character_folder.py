"""A folder of characters for few-shot learning."""

from pathlib import Path
from typing import Any, final

from recollect.training.errors import ArgumentError
from recollect_vision.data.character_splits import CharacterSplits, random_split
from recollect_vision.data.characters import read_character_folder
from recollect_vision.data.few_shot import FewShotData, check_room


@final
class CharacterFolderData(FewShotData):
    """Episodes of the images in ``path/alphabet/character/*.png``, dark on light, greyed and resized.

    Args:
        path: The folder.
        held_out: Fraction of the characters for validation, and the same for the test, drawn at random.
        split_seed: Seed of the split.
        options: As in ``FewShotData``.

    Raises:
        ValueError: If ``held_out`` leaves no training characters.
    """

    def __init__(self, path: Path, held_out: float = 0.2, split_seed: int = 0, **options: Any) -> None:
        super().__init__(**options)
        if not 0 < held_out < 0.5:
            raise ValueError(f"held_out must be above 0 and below 0.5, got {held_out}")
        self.path = path
        self.held_out = held_out
        self.split_seed = split_seed

    def read(self) -> CharacterSplits:
        """Read and split the characters."""
        if not self.path.is_dir():
            raise ArgumentError(f"--data.path {self.path} is no folder")
        characters = read_character_folder(self.path, self.size)
        check_room(characters, self.shots + self.queries)
        count = max(1, round(self.held_out * len(characters)))
        return random_split(characters, count, count, self.split_seed)
