"""What a run leaves as pictures of recordings."""

from collections.abc import Sequence

import torch
from torch import Tensor

from recollect import Integration, Read
from recollect.training import Picture
from recollect_speech.data.speech import SpeechBatch
from recollect_speech.models.alignment import Word
from recollect_speech.models.recognizer import MARGIN, STEP, Recognizer
from recollect_speech.models.summary_memory import SummaryMemory
from recollect_speech.pictures import HeardPicture

PICTURES = 3
"""How many recordings of a batch are drawn."""


def heard_pictures(model: Recognizer, batch: SpeechBatch, words: Sequence[Sequence[Word]]) -> list[Picture]:
    """The first recordings of a batch, each heard by itself."""
    pictures: list[Picture] = []
    for i, found in enumerate(words):
        length = batch.lengths[i]
        samples = batch.samples[i : i + 1, :length]
        frames, _ = model.features(samples, length.reshape(1))
        weights, segment = read_weights(model, samples)
        told = " ".join(word.text for word in found)
        title = f"said: {batch.texts[i]}\nheard: {told}" if batch.texts[i] else f"heard: {told}"
        pictures.append(HeardPicture(title, frames[0], found, STEP, 0.01 * MARGIN, weights, segment))
    return pictures


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
    if any(weights is None for weights in read):
        return None, 0.0
    return torch.stack([weights for weights in read if weights is not None]), memory.segment * STEP


def _of_segment(read: Read, segments: int) -> Tensor | None:
    """Mean weights over a segment's steps ``(segments,)`` of the entries in order of their writing."""
    if read.weights is None or read.slots is not None:
        return None
    weights = read.weights[0].float().mean(0)[:segments]
    return torch.nn.functional.pad(weights, (0, segments - len(weights)))
