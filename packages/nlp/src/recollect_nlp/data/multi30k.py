"""Multi30k: 29,000 image captions and their translations (Elliott et al. 2016, arXiv:1605.00459)."""

from pathlib import Path
from typing import Literal

from recollect.training import Split, data_folder, fetch
from recollect_nlp.data.translation import TranslationData

URL = "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw"

FILES: dict[Split, str] = {"train": "train", "val": "val", "test": "test_2016_flickr"}

SHA256 = {
    "test_2016_flickr.de.gz": "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8",
    "test_2016_flickr.en.gz": "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9",
    "test_2016_flickr.fr.gz": "6d326e188d259fb1d04ac19eae3af956559b3a0b93d7635e56c90987c40c8b90",
    "train.de.gz": "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6",
    "train.en.gz": "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f",
    "train.fr.gz": "622e75069e9f4c577425c4f277116ce66e63a2401c0a2312d90073cb12379a3c",
    "val.de.gz": "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a",
    "val.en.gz": "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28",
    "val.fr.gz": "ca3106f1a72390591d25f6c45cb4cd39dec4cd3f123e099748a3ce5256c160e9",
}
"""Checksums of the files that the results were measured on; the repository publishes none."""

Language = Literal["en", "de", "fr"]


class Multi30kData(TranslationData):
    """Multi30k, task 1: train 29,000, validation 1,014 and test_2016_flickr 1,000 captions.

    The files are in ``multi30k`` under ``RECOLLECT_DATA`` or the user's cache folder. They are downloaded
    from the dataset's repository if they are missing, and checked against their SHA-256. The repository
    states no licence for the text; the captions derive from Flickr30k, so its terms apply.

    Args:
        source: Source language.
        target: Target language.
        path: Sentences to translate, one per line; ``-`` reads the standard input.
        vocabulary_size: Maximum number of subword pieces.
        batch_pieces: Maximum number of pieces on each side of a batch, including padding.
        num_workers: As in ``DataModule``.
        seed: Seed of the shuffling.

    Raises:
        ValueError: If ``source`` and ``target`` are the same language, or a size is not positive.
    """

    def __init__(
        self,
        source: Language = "en",
        target: Language = "de",
        path: Path | None = None,
        vocabulary_size: int = 4000,
        batch_pieces: int = 2048,
        num_workers: int | None = None,
        seed: int = 0,
    ) -> None:
        if source == target:
            raise ValueError(f"source and target must differ, both are {source!r}")
        super().__init__(
            path=path,
            vocabulary_size=vocabulary_size,
            batch_pieces=batch_pieces,
            num_workers=num_workers,
            seed=seed,
        )
        self.source = source
        self.target = target

    def prepare_data(self) -> None:
        """Download missing files; prediction from a checkpoint needs none."""
        if self.trainer is None or not self.trainer.predicting:
            for split in FILES:
                self.files(split)

    def has(self, split: Split) -> bool:
        """All splits exist."""
        return True

    def files(self, split: Split) -> tuple[Path, Path]:
        """Return the two files of a split, downloaded if they are missing."""
        names = (f"{FILES[split]}.{language}.gz" for language in (self.source, self.target))
        folder = data_folder("multi30k")
        source, target = (fetch(f"{URL}/{name}", SHA256[name], folder) for name in names)
        return source, target
