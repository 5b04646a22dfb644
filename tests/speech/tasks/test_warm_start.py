"""A warm start loads the weights of another run and matches units by name."""

from pathlib import Path

import pytest
import torch

from recollect.training.errors import CheckpointError
from recollect_speech.data.units import Symbols, Units
from recollect_speech.models.encoder import Encoder
from recollect_speech.models.recognition import Recognizer
from recollect_speech.tasks.warm_start import warm_start


def recognizer(units: Units, bins: int = 20) -> Recognizer:
    return Recognizer(len(units), 8000, Encoder(16, 1, 2, 16, 3), bins, 2)


def run_of(model: Recognizer, units: Units, folder: Path) -> Path:
    """A run folder as training leaves it."""
    (folder / "checkpoints").mkdir()
    checkpoint = {
        "state_dict": {f"model.{name}": value for name, value in model.state_dict().items()},
        "callbacks": {"ModelCheckpoint{}": {"best_model_path": "/elsewhere/best.ckpt"}},
        "recollect": {"task": "Recognition", "data": "somewhere.Recordings"},
        "Recordings": {"fitted": {"kind": units.kind, "units": units.state(), "ngram": None}},
    }
    for name in ("best", "last"):
        torch.save(checkpoint, folder / "checkpoints" / f"{name}.ckpt")
    return folder


def letters(symbols: str) -> Symbols:
    return Symbols("characters", list(symbols))


def test_units_are_matched_by_name(tmp_path: Path) -> None:
    old = recognizer(letters("abcd"))
    run, new = run_of(old, letters("abcd"), tmp_path), recognizer(letters("xdb"))
    own = new.head.weight[1].clone()
    warm_start(new, letters("xdb"), run)
    assert torch.equal(new.head.weight[[0, 2, 3]], old.head.weight[[0, 4, 2]])
    assert torch.equal(new.head.bias[[0, 2, 3]], old.head.bias[[0, 4, 2]])
    assert torch.equal(new.head.weight[1], own)
    same = recognizer(letters("abcd"))
    warm_start(same, letters("abcd"), run)
    for name, value in old.state_dict().items():
        assert torch.equal(same.state_dict()[name], value)


def test_other_models_and_units_are_refused(tmp_path: Path) -> None:
    run = run_of(recognizer(letters("ab")), letters("ab"), tmp_path)
    words = Symbols("words", ["a", "b"])
    with pytest.raises(
        CheckpointError, match=r"has characters, not words, as units: use --data\.units characters"
    ):
        warm_start(recognizer(words), words, run)
    with pytest.raises(CheckpointError, match=r"does not fit: features\.mel\.mel_scale\.fb, features"):
        warm_start(recognizer(letters("ab"), bins=24), letters("ab"), run)
    with pytest.raises(CheckpointError, match="no last checkpoint"):
        warm_start(recognizer(words), words, tmp_path / "nowhere")
