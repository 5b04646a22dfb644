"""What a run leaves as pictures of recordings."""

from collections.abc import Sequence

import torch
from torch import Tensor

from recollect import Integration, Read
from recollect.training import Picture
from recollect_speech.data.units import Units
from recollect_speech.models.acoustic_model import AcousticModel, AcousticOutput
from recollect_speech.models.keywords import KeywordSpotter
from recollect_speech.models.recognition import STEP, Recognizer
from recollect_speech.models.summary_memory import SummaryMemory
from recollect_speech.pictures import KeywordPicture, TranscriptPicture
from recollect_speech.types import SpeechBatch, TimedWord

PICTURES = 3
"""How many recordings of a batch are drawn."""


def transcript_pictures(
    model: Recognizer, batch: SpeechBatch, words: Sequence[Sequence[TimedWord]]
) -> list[Picture]:
    """The first recordings of a batch, each heard by itself."""
    pictures: list[Picture] = []
    for i, found in enumerate(words):
        samples, frames = _alone(model, batch, i)
        weights, segment = read_weights(model, samples)
        pictures.append(TranscriptPicture(_title(batch, i, found), frames, found, weights, segment))
    return pictures


def keyword_pictures(
    model: KeywordSpotter,
    units: Units,
    batch: SpeechBatch,
    heard: AcousticOutput,
    words: Sequence[Sequence[TimedWord]],
) -> list[Picture]:
    """The first recordings of a batch, with what the speaker's memory changed where there is one."""
    names = [units.name(unit).strip() for unit in range(1, len(units))]
    count = len(words)
    alone = model.alone(batch.samples[:count], batch.lengths[:count]).exp()
    pictures: list[Picture] = []
    for i, found in enumerate(words):
        _, frames = _alone(model, batch, i)
        adapted = None if model.memory is None else heard.log_probs[i, 0, 1:].exp()
        pictures.append(KeywordPicture(_title(batch, i, found), frames, names, alone[i], adapted))
    return pictures


def _alone(model: AcousticModel, batch: SpeechBatch, item: int) -> tuple[Tensor, Tensor]:
    """A recording without padding: its samples ``(1, S)`` and its features ``(T, F)``."""
    samples, lengths = batch.samples[item : item + 1, : batch.lengths[item]], batch.lengths[item : item + 1]
    frames, _ = model.frames_of(samples, lengths)
    return samples, frames[0]


def _title(batch: SpeechBatch, item: int, found: Sequence[TimedWord]) -> str:
    recognized = " ".join(word.text for word in found)
    lines = [batch.names[item], f"said: {batch.texts[item]}" if batch.texts[item] else ""]
    return "\n".join(line for line in [*lines, f"recognized: {recognized}"] if line)


def read_weights(model: Recognizer, samples: Tensor) -> tuple[Tensor | None, float]:
    """How much each segment of a recording ``(1, S)`` read of each before it, and a segment's seconds.

    None without a ``SummaryMemory`` whose storage says what it read.
    """
    joined = [layer for layer in model.encoder.layers if isinstance(layer, Integration)]
    memory = joined[0].memory if joined else None
    if not isinstance(memory, SummaryMemory) or memory.segment is None:
        return None, 0.0
    with memory.tracing() as reads:
        model(samples, torch.tensor([samples.shape[1]], device=samples.device))
    read = [_of_segment(read, len(reads)) for read in reads]
    if any(weights is None for weights in read) or len(read) < 2:  # the first has nothing to read
        return None, 0.0
    return torch.stack([weights for weights in read if weights is not None]), memory.segment * STEP


def _of_segment(read: Read, segments: int) -> Tensor | None:
    """Mean weights over a segment's steps ``(segments,)`` of the entries in order of their writing."""
    if read.weights is None or read.slots is not None:
        return None
    weights = read.weights[0].float().mean(0)[:segments]
    return torch.nn.functional.pad(weights, (0, segments - len(weights)))
