"""Who speaks where eSpeak NG does: no voice is in two splits."""

import random

from recollect.training import Split
from recollect_speech.data.espeak import Voice

ACCENTS = ("en", "en-us", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-029")

VARIANTS: dict[Split, tuple[str, ...]] = {
    "train": ("m1", "m2", "m3", "m5", "m7", "f1", "f2", "f4", "Andy", "Annie", "Mario", "Alicia", "klatt"),
    "val": ("m6", "f5", "Lee"),
    "test": ("m4", "m8", "f3", "steph", "Michael", "linda"),
}
"""Voices of eSpeak NG, by split."""

SPEEDS = (130, 220)
"""Words a minute, at least and at most."""

PITCHES = (30, 70)


def voices(split: Split) -> list[str]:
    """The voices of a split, in every accent.

    Example:
        >>> len(voices("test")), voices("test")[0], set(voices("train")) & set(voices("test"))
        (36, 'en+m4', set())
    """
    return [f"{accent}+{variant}" for variant in VARIANTS[split] for accent in ACCENTS]


def draw_voice(split: Split, chance: random.Random) -> Voice:
    """A voice of the split, at a speed and a pitch of its own.

    Example:
        >>> draw_voice("val", random.Random(0)).name in voices("val")
        True
    """
    return Voice(chance.choice(voices(split)), chance.randint(*SPEEDS), chance.randint(*PITCHES))
