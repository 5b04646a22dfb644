"""Small recordings."""

from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import torch

Recorder = Callable[..., Path]
Tone = Callable[..., torch.Tensor]


def make_tone(seconds: float, rate: int = 8000, pitch: float = 300.0) -> torch.Tensor:
    return 0.3 * (2 * torch.pi * pitch * torch.arange(round(seconds * rate)) / rate).sin()


@pytest.fixture
def tone() -> Tone:
    """Makes a tone of given seconds, rate and pitch."""
    return make_tone


@pytest.fixture
def record(tmp_path: Path) -> Recorder:
    """Write a file of a tone, or of given samples, under ``tmp_path``."""

    def write(
        name: str,
        samples: torch.Tensor | None = None,
        rate: int = 8000,
        subtype: str | None = None,
        form: str | None = None,
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = make_tone(0.8, rate) if samples is None else samples
        soundfile.write(path, samples.numpy(), rate, subtype=subtype, format=form)
        return path

    return write
