"""Datasets that torchaudio downloads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from recollect.training.errors import DownloadError


def open_dataset(make: Callable[..., Any], name: str, folder: Path, **kwargs: Any) -> Any:
    """Open a torchaudio dataset under ``folder``; download it if missing and check its sha256.

    Raises:
        DownloadError: If the download fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return make(root=folder, download=True, **kwargs)
    # urllib's errors are OSErrors, a wrong checksum is a RuntimeError.
    except (OSError, RuntimeError) as error:
        raise DownloadError(
            f"could not download {name} to {folder}: {error}\nTo install it by hand, unpack its archive in "
            "that folder; RECOLLECT_DATA sets another folder for datasets."
        ) from error
