"""Single words spoken by eSpeak NG, as recordings of single words are cut: without silence about them."""

import random
from collections.abc import Sequence

from torch import Tensor

from recollect_speech.data.espeak import Voice, synthesize
from recollect_speech.data.tts_corpus import PITCHES, SPEEDS, VARIANTS, voices
from recollect_speech.data.utterances import Utterance

QUIET = 0.01
"""Of the loudest sample: what begins or ends a recording below this is silence."""


def synthesize_words(words: Sequence[str], count: int, rate: int, seed: int) -> list[Utterance]:
    """So many recordings of the words in turn, each in a voice, at a speed and a pitch drawn by ``seed``.

    The voices are those of all splits, for recordings of people are validated and tested with people.

    Raises:
        UserError: If eSpeak NG is not installed.
    """
    chance = random.Random(f"words {seed}")
    names = [name for split in VARIANTS for name in voices(split)]
    said = []
    for number in range(count):
        word = words[number % len(words)]
        voice = Voice(chance.choice(names), chance.randint(*SPEEDS), chance.randint(*PITCHES))
        samples = trimmed(synthesize(word, voice, rate))
        said.append(Utterance((samples, rate), word, f"{word}-{number}", voice.name))
    return said


def trimmed(samples: Tensor) -> Tensor:
    """Samples ``(S,)`` from the first to the last that is not silence; all of them where there is no other.

    Example:
        >>> import torch
        >>> trimmed(torch.tensor([0.0, 0.001, 0.5, 0.0, -1.0, 0.0]))
        tensor([ 0.5000,  0.0000, -1.0000])
    """
    if not samples.any():
        return samples
    loud = (samples.abs() > QUIET * samples.abs().max()).nonzero().flatten()
    return samples[loud[0] : loud[-1] + 1]
