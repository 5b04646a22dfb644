"""Omniglot: 1,623 characters of 50 alphabets, each drawn once by each of 20 people."""

from pathlib import Path
from typing import Any, Literal, final

from torchvision.datasets import Omniglot
from torchvision.datasets.utils import check_md5

from recollect.training import DataError, data_folder, fetch
from recollect_vision.data.character_splits import CharacterSplits, alphabet_split, random_split
from recollect_vision.data.characters import Character, read_archives, read_character_folder
from recollect_vision.data.few_shot import FewShotData

CHARACTERS, DRAWERS = 1623, 20
"""Characters and drawings of each in the complete dataset."""

TEST = 423
"""Test characters of the random split."""

RESIZED = "omniglot_resized"
"""Folder of a resized copy, which is read instead of the official files if it exists."""

BACKGROUND = frozenset(
    {
        "Alphabet_of_the_Magi",
        "Anglo-Saxon_Futhorc",
        "Arcadian",
        "Armenian",
        "Asomtavruli_(Georgian)",
        "Balinese",
        "Bengali",
        "Blackfoot_(Canadian_Aboriginal_Syllabics)",
        "Braille",
        "Burmese_(Myanmar)",
        "Cyrillic",
        "Early_Aramaic",
        "Futurama",
        "Grantha",
        "Greek",
        "Gujarati",
        "Hebrew",
        "Inuktitut_(Canadian_Aboriginal_Syllabics)",
        "Japanese_(hiragana)",
        "Japanese_(katakana)",
        "Korean",
        "Latin",
        "Malay_(Jawi_-_Arabic)",
        "Mkhedruli_(Georgian)",
        "N_Ko",
        "Ojibwe_(Canadian_Aboriginal_Syllabics)",
        "Sanskrit",
        "Syriac_(Estrangelo)",
        "Tagalog",
        "Tifinagh",
    }
)
"""The 30 background alphabets of Lake et al."""


@final
class OmniglotData(FewShotData):
    """Omniglot (Lake, Salakhutdinov & Tenenbaum 2015, Science 350:1332), at 28 × 28.

    ``split="random"`` follows Vinyals et al. (2016, arXiv:1606.04080): 1,200 characters for training and 423
    for the test, drawn at random, with each rotation by 90° as a class of its own in every split. The draw is
    ours, not the list of the paper. ``held_out`` of the 1,200 are for validation. ``split="alphabet"``
    follows
    Lake: 30 background alphabets, of which ``held_out_alphabets`` are for validation, and the upright
    characters of the other 20 for the test; rotations are classes in training only.

    The official images of 105 × 105 pixels are resampled by area. A resized copy in
    ``omniglot_resized/<alphabet>/characterNN/*.png`` in the folder of the dataset is read instead.

    Args:
        split: How the characters are split.
        held_out: Validation characters of the random split.
        held_out_alphabets: Validation alphabets of the split by alphabet.
        split_seed: Seed of the split.
        options: As in ``FewShotData``, except ``rotations`` and ``size``.

    Raises:
        ValueError: If ``split`` is unknown.
    """

    def __init__(
        self,
        split: Literal["random", "alphabet"] = "random",
        held_out: int = 100,
        held_out_alphabets: int = 5,
        split_seed: int = 0,
        **options: Any,
    ) -> None:
        if split not in ("random", "alphabet"):
            raise ValueError(f'split must be "random" or "alphabet", got {split!r}')
        super().__init__(rotations="everywhere" if split == "random" else "training", size=28, **options)
        self.split = split
        self.held_out = held_out
        self.held_out_alphabets = held_out_alphabets
        self.split_seed = split_seed

    def prepare_data(self) -> None:
        """Download missing archives, except for prediction, which needs none."""
        predicting = self.trainer is not None and self.trainer.predicting
        if not predicting and not (data_folder("omniglot") / RESIZED).is_dir():
            fetch_archives()

    def read(self) -> CharacterSplits:
        """Read, check and split all characters."""
        resized = data_folder("omniglot") / RESIZED
        if resized.is_dir():
            characters = read_character_folder(resized, self.size)
        else:
            characters = read_archives(fetch_archives(), self.size)
        check_complete(characters)
        if self.split == "random":
            return random_split(characters, TEST, self.held_out, self.split_seed)
        return alphabet_split(characters, BACKGROUND, self.held_out_alphabets, self.split_seed)


def fetch_archives() -> list[Path]:
    """Download the official archives from the addresses, and with the MD5 sums, of torchvision.

    Raises:
        DataError: If an MD5 sum differs.
        DownloadError: If a download fails.
    """
    paths = []
    for name, md5 in Omniglot.zips_md5.items():
        url = f"{Omniglot.download_url_prefix}/{name}.zip"
        path = fetch(url, None, data_folder("omniglot"))
        if not check_md5(str(path), md5):
            raise DataError(
                f"{path} has not the md5 {md5}: it is damaged or of another version. Delete it to have it "
                f"downloaded again from {url}"
            )
        paths.append(path)
    return paths


def check_complete(characters: list[Character]) -> None:
    """Check that there are 1,623 characters of 20 drawings each.

    Raises:
        DataError: If not; the message names the first incomplete character.
    """
    for character in characters:
        if len(character.images) != DRAWERS:
            raise DataError(
                f"Omniglot's {character.alphabet}/{character.name} holds {len(character.images)} drawings "
                f"where {DRAWERS} were expected"
            )
    if len(characters) != CHARACTERS:
        raise DataError(f"Omniglot holds {len(characters)} characters where {CHARACTERS} were expected")
