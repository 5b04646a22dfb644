"""Folders of datasets, and downloads of missing files."""

import hashlib
import os
from pathlib import Path
from urllib.parse import unquote, urlparse

import pooch  # type: ignore[import-untyped]

from recollect.training.errors import DataError, DownloadError

TIMEOUT = 30.0
"""Seconds without a byte after which a download is given up."""


def data_folder(name: str) -> Path:
    """Return the folder of dataset ``name``: under ``RECOLLECT_DATA``, or in the user's cache folder.

    Example:
        >>> from unittest.mock import patch
        >>> with patch.dict(os.environ, RECOLLECT_DATA="/data"):
        ...     data_folder("babi").as_posix()
        '/data/babi'
    """
    root = os.environ.get("RECOLLECT_DATA")
    return (Path(root).expanduser() if root else Path(pooch.os_cache("recollect"))) / name


def fetch(url: str, sha256: str | None, folder: Path, name: str | None = None) -> Path:
    """Return the file at ``url``, downloaded to ``folder`` if missing; its checksum is always checked.

    A download is written to a temporary file and renamed once it is complete and its checksum is right, so an
    interrupted download is never mistaken for the file.

    Args:
        url: Its official address.
        sha256: Its checksum, in hexadecimal; None where none is published: the caller checks the contents.
        folder: Where it is kept; made where it is missing.
        name: What it is called there; as in the address by default.

    Raises:
        DataError: If a file of that name is there and has another checksum; it is left as it is.
        DownloadError: If it cannot be fetched, or what came has another checksum.
    """
    path = folder / (name or Path(unquote(urlparse(url).path)).name)
    if path.exists():
        if sha256 is not None and (found := checksum(path)) != sha256:
            raise DataError(
                f"{path} has sha256 {found}, but {sha256} was expected: it is damaged or of another version. "
                f"Delete it to have it downloaded again from {url}"
            )
        return path
    download = pooch.HTTPDownloader(progressbar=True, timeout=TIMEOUT)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        pooch.retrieve(url, sha256 and f"sha256:{sha256}", fname=path.name, path=folder, downloader=download)
    except (OSError, ValueError) as error:  # requests' errors are OSErrors; a wrong checksum is a ValueError
        raise DownloadError(
            f"{path.name} could not be fetched from {url}: {error}\n"
            f"To put it there by hand, save that address as {path}{f' (sha256 {sha256})' if sha256 else ''}; "
            f"RECOLLECT_DATA names another folder for datasets."
        ) from error
    return path


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
