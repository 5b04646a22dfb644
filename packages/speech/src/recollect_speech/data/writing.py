"""Folders of recordings that are made here, and the manifests that list them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import soundfile  # type: ignore[import-untyped]
from torch import Tensor

from recollect.training import Split


class Recording(NamedTuple):
    """A recording: samples ``(S,)``, what is said, and who says it."""

    samples: Tensor
    text: str
    speaker: str


def write_corpus(folder: Path, parts: Mapping[Split, Iterable[Recording]], rate: int) -> None:
    """Write recordings into a new folder, whole or not at all: FLAC files and ``<split>.tsv``.

    Where another process has been faster, its folder stays.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}.") as made:
        whole = Path(made) / "whole"
        for split, part in parts.items():
            (whole / split).mkdir(parents=True)
            rows = ["path\ttext\tspeaker"]
            for i, item in enumerate(part):
                path = whole / split / f"{i:05}.flac"
                soundfile.write(path, item.samples.numpy(), rate)
                rows.append(f"{path.relative_to(whole)}\t{item.text}\t{item.speaker}")
            (whole / f"{split}.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
        try:
            whole.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
