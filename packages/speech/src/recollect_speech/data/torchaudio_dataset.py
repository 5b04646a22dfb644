"""Downloads that torchaudio's dataset classes make by themselves."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from recollect.training.errors import DownloadError


def open_dataset(make: Callable[..., Any], name: str, folder: Path, **given: Any) -> Any:
    """A dataset of torchaudio under ``folder``, downloaded where it is missing and checked by its sha256.

    Raises:
        DownloadError: If it cannot be fetched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return make(root=folder, download=True, **given)
    # urllib's errors are OSErrors, a wrong checksum is a RuntimeError.
    except (OSError, RuntimeError) as error:
        raise DownloadError(
            f"{name} could not be fetched to {folder}: {error}\nTo put it there by hand, unpack its archive "
            "in that folder; RECOLLECT_DATA names another folder for datasets."
        ) from error
