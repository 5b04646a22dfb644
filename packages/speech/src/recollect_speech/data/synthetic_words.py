"""Single words spoken by eSpeak NG, trimmed like recordings of single words."""

import random
from collections.abc import Sequence

from torch import Tensor

from recollect_speech.data.espeak import Voice, synthesize
from recollect_speech.data.tts_corpus import PITCHES, SPEEDS, VARIANTS, voices
from recollect_speech.data.utterances import Utterance

QUIET = 0.01
"""Samples below this fraction of the maximum count as silence at the ends of a recording."""


def synthesize_words(words: Sequence[str], count: int, rate: int, seed: int) -> list[Utterance]:
    """``count`` recordings of the words in turn, with voice, speed and pitch drawn by ``seed``.

    The voices of all splits are used, because validation and test are recordings of people.

    Raises:
        UserError: If eSpeak NG is not installed.
    """
    rng = random.Random(f"words {seed}")
    names = [name for split in VARIANTS for name in voices(split)]
    utterances = []
    for number in range(count):
        word = words[number % len(words)]
        voice = Voice(rng.choice(names), rng.randint(*SPEEDS), rng.randint(*PITCHES))
        samples = trim(synthesize(word, voice, rate))
        utterances.append(Utterance((samples, rate), word, f"{word}-{number}", voice.name))
    return utterances


def trim(samples: Tensor) -> Tensor:
    """Samples ``(S,)`` without silence at both ends; silent recordings are not trimmed.

    Example:
        >>> import torch
        >>> trim(torch.tensor([0.0, 0.001, 0.5, 0.0, -1.0, 0.0]))
        tensor([ 0.5000,  0.0000, -1.0000])
    """
    if not samples.any():
        return samples
    audible = (samples.abs() > QUIET * samples.abs().max()).nonzero().flatten()
    return samples[audible[0] : audible[-1] + 1]
