"""Custom recordings, listed in a manifest."""

from pathlib import Path
from typing import Any, final

from recollect.training import Split
from recollect.training.errors import ArgumentError
from recollect.training.splits import hold_out
from recollect_speech.data.recognition import RecognitionData
from recollect_speech.data.utterances import Utterance, read_manifest


@final
class ManifestData(RecognitionData):
    """Recordings listed in manifests; see ``read_manifest`` for the format.

    Args:
        path: For ``fit`` the training manifest; for ``predict`` a recording, a folder or a manifest.
        val: Validation manifest; by default a part of ``path`` is held out.
        test: Test manifest; by default another part of ``path`` is held out.
        held_out: Fraction of ``path`` that is held out for each of them.
        options: As in ``RecognitionData``.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        path: Path | None = None,
        val: Path | None = None,
        test: Path | None = None,
        held_out: float = 0.1,
        **options: Any,
    ) -> None:
        super().__init__(path=path, **options)
        if not 0 < held_out < 0.5:
            raise ValueError(f"held_out must be between 0 and 0.5, got {held_out}")
        self.manifests: dict[Split, Path | None] = {"val": val, "test": test}
        self.held_out = held_out

    def read(self, split: Split) -> list[Utterance]:
        """Read the recordings of a split."""
        manifest = self.manifests.get(split)
        if manifest is not None:
            return read_manifest(manifest)
        if self.path is None:
            raise ArgumentError("--data.path must name the training manifest: FILE.tsv or FILE.jsonl")
        listed = read_manifest(self.path)
        apart = [split for split, manifest in self.manifests.items() if manifest is None]
        each = max(1, round(self.held_out * len(listed)))
        if each * len(apart) >= len(listed):
            raise ArgumentError(
                f"{self.path} lists too few recordings to hold out {each} for each of {apart}"
            )
        kept, held = hold_out(len(listed), each * len(apart), self.seed)
        if split == "train":
            return [listed[i] for i in kept]
        place = apart.index(split)
        return [listed[i] for i in held[place :: len(apart)]]
