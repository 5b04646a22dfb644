"""Strings of digits spoken by eSpeak NG: the default dataset, which needs no download."""

import random
from typing import Any, final

from recollect.training import Split
from recollect_speech.data.digits import draw_string, words
from recollect_speech.data.espeak import synthesize
from recollect_speech.data.recognition import RecognitionData
from recollect_speech.data.tts_corpus import draw_voice
from recollect_speech.data.units import UnitKind
from recollect_speech.data.utterances import Utterance


@final
class SyntheticDigitsData(RecognitionData):
    """Strings of 3 to 7 digits, spoken in several voices, accents, speeds and pitches.

    Voices and strings of validation and test do not occur in training. ``seed`` determines all of it.

    Args:
        train: Number of training strings.
        val: Number of validation strings.
        test: Number of test strings.
        min_digits: Minimum number of digits in a string.
        max_digits: Maximum number of digits in a string.
        rate: As in ``RecognitionData``.
        units: As in ``RecognitionData``.
        options: As in ``RecognitionData``.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        train: int = 1500,
        val: int = 100,
        test: int = 300,
        min_digits: int = 3,
        max_digits: int = 7,
        rate: int = 8000,
        units: UnitKind = "words",
        **options: Any,
    ) -> None:
        super().__init__(rate=rate, units=units, **options)
        if min(train, val, test) < 1:
            raise ValueError(f"train, val and test must be positive, got {train}, {val} and {test}")
        if not 1 <= min_digits <= max_digits:
            raise ValueError(
                f"min_digits and max_digits must satisfy 1 <= min <= max, got {min_digits} and {max_digits}"
            )
        self.counts: dict[Split, int] = {"train": train, "val": val, "test": test}
        self.digits = (min_digits, max_digits)
        self._utterances: dict[Split, list[Utterance]] = {}

    def read(self, split: Split) -> list[Utterance]:
        """Synthesize the strings: always all splits in order, as the samples depend on the texts before."""
        if not self._utterances:
            for each in self.counts:
                self._utterances[each] = synthesize_digit_strings(
                    each, self.counts[each], self.digits, self.rate, self.seed
                )
        return self._utterances[split]


def synthesize_digit_strings(
    split: Split, count: int, digits: tuple[int, int], rate: int, seed: int
) -> list[Utterance]:
    """Synthesize ``count`` strings of a split in its voices.

    Raises:
        UserError: If eSpeak NG is not installed.
    """
    rng = random.Random(f"{split} {seed}")
    utterances = []
    for number in range(count):
        text = words(draw_string(split, *digits, rng))
        voice = draw_voice(split, rng)
        utterances.append(
            Utterance((synthesize(text, voice, rate), rate), text, f"{split}-{number}", voice.name)
        )
    return utterances
