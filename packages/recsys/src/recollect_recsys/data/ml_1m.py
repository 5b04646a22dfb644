"""MovieLens-1M: ratings of films."""

from typing import final

from recollect_recsys.data.events import Events
from recollect_recsys.data.movielens import fetch_ratings, read_ratings
from recollect_recsys.data.sequential import SequentialData

SHA256 = "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20"
"""Of the official archive."""

RATINGS = 1_000_209


@final
class MovieLens1mData(SequentialData):
    """6,040 users and 3,706 films (Harper & Konstan 2015, "The MovieLens Datasets").

    Every rating counts as an interaction, whatever its value. GroupLens forbids redistribution and commercial
    use; see the README in its archive.
    """

    def prepare_data(self) -> None:
        """Download missing files."""
        fetch_ratings("ml-1m", "ratings.dat", SHA256)

    def read(self) -> Events:
        """Read the ratings and check their number."""
        return read_ratings(fetch_ratings("ml-1m", "ratings.dat", SHA256), RATINGS)
