"""Folders of files, without what systems and tools leave in them."""

import os
from collections.abc import Collection
from pathlib import Path

LEFT_BY_TOOLS = frozenset({"__macosx", "thumbs.db", "desktop.ini", "@eadir", "lost+found", "$recycle.bin"})
"""Names, in lower case, that archives, desktops and servers leave in folders."""


def is_visible(name: str) -> bool:
    """Whether a file or folder is the user's: not hidden, and not left by a system or tool.

    Example:
        >>> [name for name in ("cat", ".ipynb_checkpoints", "__MACOSX", "._1.png") if is_visible(name)]
        ['cat']
    """
    return not name.startswith(".") and name.lower() not in LEFT_BY_TOOLS


def subfolders(folder: Path) -> list[Path]:
    """The visible folders in a folder, links to folders among them, sorted by name."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and is_visible(path.name))


def files_below(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """All visible files with one of ``suffixes`` in a folder and its subfolders, sorted by path.

    Links to folders are followed, each folder once on the way down, so that a link to a folder above ends.

    Args:
        folder: The folder.
        suffixes: In lower case, with the dot.
    """
    found: list[Path] = []
    for place, folders, names in os.walk(folder, followlinks=True):
        above = {os.path.realpath(parent) for parent in (Path(place), *Path(place).parents)}
        folders[:] = sorted(
            name
            for name in folders
            if is_visible(name) and os.path.realpath(os.path.join(place, name)) not in above
        )
        found += [Path(place, name) for name in names if is_visible(name) and _suffix(name) in suffixes]
    return sorted(found)


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()
