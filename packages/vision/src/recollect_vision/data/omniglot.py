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
"""What is complete."""

TEST = 423
"""Characters tested on in the random split."""

RESIZED = "omniglot_resized"
"""Folder of a copy that has been resized already; taken in place of the official files where it is there."""

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
"""The 30 alphabets that Lake et al. learn from."""


@final
class OmniglotData(FewShotData):
    """Omniglot (Lake, Salakhutdinov & Tenenbaum 2015, Science 350:1332), at 28 × 28.

    ``split="random"`` is that of Vinyals et al. (2016, arXiv:1606.04080): 1,200 characters to learn from and
    the other 423 for the test, drawn at random, with each of four quarter turns as a class of its own in
    every part. Their own list is not used: the draw is ours. ``held_out`` of the 1,200 choose and are not
    learnt from. ``split="alphabet"`` is Lake's: 30 background alphabets, of which ``held_out_alphabets``
    choose, and the characters of 20 others, upright, for the test; quarter turns are classes in training
    only.

    The official archives hold 105 × 105 pixels, which are resampled by area. A copy that has been resized,
    ``omniglot_resized/<alphabet>/characterNN/*.png`` in the dataset's folder, is taken in their place.

    Args:
        split: How characters are parted.
        held_out: Characters that choose, in the random split.
        held_out_alphabets: Alphabets that choose, in the split by alphabet.
        split_seed: Of what is drawn for the split.
        options: As in ``FewShotData``, but for ``rotations`` and ``size``.

    Raises:
        ValueError: If ``split`` is none of the two.
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
        """Download what is missing; prediction has images of its own."""
        predicting = self.trainer is not None and self.trainer.predicting
        if not predicting and not (data_folder("omniglot") / RESIZED).is_dir():
            fetch_archives()

    def read(self) -> CharacterSplits:
        """All characters, checked and parted."""
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
    """The official archives, at the addresses and with the MD5 sums that torchvision knows.

    Raises:
        DataError: If one has another MD5 sum.
        DownloadError: If one cannot be fetched.
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
    """There are 1,623 characters of 20 drawings each.

    Raises:
        DataError: If there are not; it names the first character that is short.
    """
    for character in characters:
        if len(character.images) != DRAWERS:
            raise DataError(
                f"Omniglot's {character.alphabet}/{character.name} holds {len(character.images)} drawings "
                f"where {DRAWERS} were expected"
            )
    if len(characters) != CHARACTERS:
        raise DataError(f"Omniglot holds {len(characters)} characters where {CHARACTERS} were expected")
