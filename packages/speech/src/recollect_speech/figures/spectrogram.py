"""What figures of recordings share: the recording, its title and its spectrogram."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from torch import Tensor

from recollect_speech.models.acoustic_model import AcousticModel
from recollect_speech.types import SpeechBatch, TimedWord

PICTURES = 3
"""Number of recordings of a batch that are drawn."""


def draw_spectrogram(axes: Axes, frames: Tensor) -> float:
    """Draw features ``(T, F)`` and return their duration in seconds."""
    seconds = 0.01 * len(frames)
    image = frames.T.numpy(force=True)
    axes.imshow(image, origin="lower", aspect="auto", cmap="Greys", extent=(0, seconds, 0, len(image)))
    axes.set_ylabel("mel bin")
    axes.set_xlabel("seconds")
    return seconds


def unpadded(model: AcousticModel, batch: SpeechBatch, item: int) -> tuple[Tensor, Tensor]:
    """One recording of a batch without its padding: samples ``(1, S)`` and features ``(T, F)``."""
    samples, lengths = batch.samples[item : item + 1, : batch.lengths[item]], batch.lengths[item : item + 1]
    frames, _ = model.frames_of(samples, lengths)
    return samples, frames[0]


def title_of(batch: SpeechBatch, item: int, found: Sequence[TimedWord]) -> str:
    """The name of a recording, its transcript where it has one, and what was recognized."""
    recognized = " ".join(word.text for word in found)
    lines = [batch.names[item], f"transcript: {batch.texts[item]}" if batch.texts[item] else ""]
    return "\n".join(line for line in [*lines, f"recognized: {recognized}"] if line)
