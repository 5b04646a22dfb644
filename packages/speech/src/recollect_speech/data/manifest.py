"""Custom recordings, listed in a manifest."""

from pathlib import Path
from typing import final

from recollect.training import Split
from recollect.training.errors import ArgumentError
from recollect.training.splits import hold_out
from recollect_speech.data.recognition import RecognitionData
from recollect_speech.data.units import UnitKind
from recollect_speech.data.utterances import Utterance, read_manifest


@final
class ManifestData(RecognitionData):
    """Recordings listed in manifests; see ``read_manifest`` for the format.

    Args:
        path: For ``fit`` the training manifest; for ``predict`` a recording, a folder or a manifest.
        val: Validation manifest; by default a part of ``path`` is held out.
        test: Test manifest; by default another part of ``path`` is held out.
        held_out: Fraction of ``path`` that is held out for each of them.
        extra_manifest: As in ``RecognitionData``.
        rate: As in ``RecognitionData``.
        units: As in ``RecognitionData``.
        subwords: As in ``RecognitionData``.
        ngram: As in ``RecognitionData``.
        speeds: As in ``RecognitionData``.
        noise: As in ``RecognitionData``.
        batch_size: As in ``RecognitionData``.
        num_workers: As in ``RecognitionData``.
        seed: As in ``RecognitionData``.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        path: Path | None = None,
        val: Path | None = None,
        test: Path | None = None,
        held_out: float = 0.1,
        extra_manifest: Path | None = None,
        rate: int = 16000,
        units: UnitKind = "characters",
        subwords: int = 256,
        ngram: int = 0,
        speeds: tuple[float, ...] = (1.0,),
        noise: tuple[float, float] | None = None,
        batch_size: int = 16,
        num_workers: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(
            rate, units, subwords, ngram, speeds, noise, path, batch_size, num_workers, seed, extra_manifest
        )
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
