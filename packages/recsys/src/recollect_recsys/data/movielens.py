"""Shared parts of the MovieLens datasets."""

import zipfile
from pathlib import Path

from recollect.training import DataError, data_folder, fetch
from recollect_recsys.data.events import Events, read_events

URL = "https://files.grouplens.org/datasets/movielens"


def fetch_ratings(name: str, member: str, sha256: str) -> Path:
    """Return the ratings file of a dataset, extracted from its official archive if missing."""
    path = data_folder(name) / member
    if path.is_file():
        return path
    archive = fetch(f"{URL}/{name}.zip", sha256, data_folder(name))
    partial = path.with_name(f".{member}.partial")
    with zipfile.ZipFile(archive) as packed:
        partial.write_bytes(packed.read(f"{name}/{member}"))
    return partial.replace(path)


def read_ratings(path: Path, ratings: int) -> Events:
    """Read the ratings and check their number.

    Raises:
        DataError: If the number of ratings differs.
    """
    events = read_events(path)
    if len(events.users) != ratings:
        raise DataError(
            f"{path} has {len(events.users)} ratings and not {ratings}: it is damaged or of another version. "
            f"Delete it to have it downloaded again from {URL}"
        )
    return events
