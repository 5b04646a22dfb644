"""MovieLens-100k: ratings of films."""

from typing import final

from recollect_recsys.data.events import Events
from recollect_recsys.data.movielens import fetch_ratings, read_ratings
from recollect_recsys.data.sequential import SequentialData

SHA256 = "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229"
"""Of the official archive."""

RATINGS = 100_000


@final
class MovieLens100kData(SequentialData):
    """943 users and 1,682 films (Harper & Konstan 2015, "The MovieLens Datasets").

    Every rating counts as an interaction, whatever its value. GroupLens forbids redistribution and commercial
    use; see the README in its archive.
    """

    def prepare_data(self) -> None:
        """Download missing files."""
        fetch_ratings("ml-100k", "u.data", SHA256)

    def read(self) -> Events:
        """Read the ratings and check their number."""
        return read_ratings(fetch_ratings("ml-100k", "u.data", SHA256), RATINGS)
