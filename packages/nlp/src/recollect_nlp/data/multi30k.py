"""Multi30k: 29,000 captions of photographs with translations (Elliott et al. 2016, arXiv:1605.00459)."""

from pathlib import Path
from typing import Literal

from recollect.training import Split, data_folder, fetch
from recollect_nlp.data.parallel import ParallelData

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
"""Of copies of these files taken from the dataset's repository, which publishes no checksums itself: they
tell whether a file is the one that the results were measured on."""

Language = Literal["en", "de", "fr"]


class Multi30kData(ParallelData):
    """Multi30k, task 1: train 29,000, validation 1,014 and test_2016_flickr 1,000 captions.

    The files are looked for in ``multi30k`` under ``RECOLLECT_DATA`` (else the user's cache folder),
    downloaded from the dataset's repository where they are missing, and checked against their sha256. The
    repository states no licence for the text; the captions derive from Flickr30k, whose terms apply.

    Args:
        source: Language to translate from.
        target: Language to translate into.
        path: Sentences to translate, one a line; ``-`` reads the standard input.
        vocabulary_size: Number of pieces at most.
        batch_pieces: Pieces in a batch: the longest sentence of either side times the number of pairs.
        num_workers: As in ``DataModule``.
        seed: Of the shuffling.

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
            raise ValueError(f"source and target must be two languages, both are {source!r}")
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
        """Download what is missing; predicting from a checkpoint needs none of it."""
        if self.trainer is None or not self.trainer.predicting:
            for split in FILES:
                self.files(split)

    def has(self, split: Split) -> bool:
        """Every split is there."""
        return True

    def files(self, split: Split) -> tuple[Path, Path]:
        """The two files of a split, downloaded if need be."""
        names = (f"{FILES[split]}.{language}.gz" for language in (self.source, self.target))
        folder = data_folder("multi30k")
        source, target = (fetch(f"{URL}/{name}", SHA256[name], folder) for name in names)
        return source, target
