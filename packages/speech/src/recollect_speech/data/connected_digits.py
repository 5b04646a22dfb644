"""Connected digits, made from recordings of the Free Spoken Digit Dataset."""

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from recollect.training import Split
from recollect_speech.data.audio import Clip, read_audio
from recollect_speech.data.digits import draw_string, words
from recollect_speech.data.fsdd import DigitRecording, choose, prepare, read_recordings
from recollect_speech.data.recognition import RecognitionData
from recollect_speech.data.synthetic_digits import synthesize_digit_strings
from recollect_speech.data.units import UnitKind
from recollect_speech.data.utterances import Utterance


class StringMixing(NamedTuple):
    """How recordings of digits are joined to a string.

    Attributes:
        gap: Minimum and maximum silence between two digits in seconds.
        noise: Minimum and maximum signal-to-noise ratio of the added white noise in dB.
    """

    gap: tuple[float, float] = (0.02, 0.4)
    noise: tuple[float, float] = (15.0, 40.0)


@final
class ConnectedDigitsData(RecognitionData):
    """Strings of digits of one speaker, with random gaps and noise; ``seed`` determines all of it.

    The splits share neither recordings (as in ``FsddData``) nor strings. Recordings are normalised to the
    same loudness before they are joined, as those of one speaker differ by more than 20 dB.

    Args:
        held_out_speaker: Speaker whose recordings are the test set.
        train: Number of training strings.
        synthetic: Number of additional training strings by eSpeak NG.
        val: Number of validation strings.
        test: Number of test strings.
        min_digits: Minimum number of digits in a string.
        max_digits: Maximum number of digits in a string.
        mixing: Gaps and noise.
        rate: As in ``RecognitionData``.
        units: As in ``RecognitionData``.
        options: As in ``RecognitionData``.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        held_out_speaker: str | None = None,
        train: int = 1500,
        synthetic: int = 0,
        val: int = 150,
        test: int = 300,
        min_digits: int = 3,
        max_digits: int = 7,
        mixing: StringMixing = StringMixing(),  # noqa: B008 (a value)
        rate: int = 8000,
        units: UnitKind = "words",
        **options: Any,
    ) -> None:
        super().__init__(rate=rate, units=units, **options)
        if min(train, val, test) < 1:
            raise ValueError(f"train, val and test must be positive, got {train}, {val} and {test}")
        if synthetic < 0:
            raise ValueError(f"synthetic must not be negative, got {synthetic}")
        if not 1 <= min_digits <= max_digits:
            raise ValueError(
                f"min_digits and max_digits must satisfy 1 <= min <= max, got {min_digits} and {max_digits}"
            )
        self.held_out_speaker = held_out_speaker
        self.counts: dict[Split, int] = {"train": train, "val": val, "test": test}
        self.synthetic = synthetic
        self.digits = (min_digits, max_digits)
        self.mixing = mixing

    def prepare_data(self) -> None:
        """Download missing files, except for prediction."""
        if self.trainer is None or not self.trainer.predicting:
            prepare()

    def read(self, split: Split) -> list[Utterance]:
        """Make the strings of a split."""
        rng = random.Random(f"{split} {self.seed}")
        generator = torch.Generator().manual_seed(rng.randrange(2**32))
        found = by_speaker(choose(read_recordings(), split, self.held_out_speaker))
        made = []
        for number in range(self.counts[split]):
            speaker = rng.choice(sorted(found))
            digits = draw_string(split, *self.digits, rng)
            parts = [
                normalize_loudness(read_audio(Clip(rng.choice(found[speaker][digit]).path), self.rate))
                for digit in digits
            ]
            samples = join(parts, self.mixing, self.rate, rng, generator)
            made.append(Utterance((samples, self.rate), words(digits), f"{split}-{number}", speaker))
        if split == "train":
            synthetic = synthesize_digit_strings("train", self.synthetic, self.digits, self.rate, self.seed)
            made += [
                item._replace(audio=(normalize_loudness(item.samples(self.rate)), self.rate))
                for item in synthetic
            ]
        return made


def by_speaker(recordings: Sequence[DigitRecording]) -> dict[str, dict[int, list[DigitRecording]]]:
    """Group recordings by speaker and digit."""
    found: dict[str, dict[int, list[DigitRecording]]] = defaultdict(lambda: defaultdict(list))
    for item in recordings:
        found[item.speaker][item.digit].append(item)
    return found


def normalize_loudness(samples: Tensor, level: float = 0.1) -> Tensor:
    """Scale samples to a root mean square of ``level``; silence stays silence.

    Example:
        >>> normalize_loudness(torch.tensor([3.0, -3.0]))
        tensor([ 0.1000, -0.1000])
    """
    return samples * (level / samples.square().mean().sqrt().clamp_min(1e-6))


def join(
    parts: Sequence[Tensor],
    mixing: StringMixing,
    rate: int,
    rng: random.Random,
    generator: torch.Generator,
) -> Tensor:
    """Concatenate recordings with gaps before, between and after them, and add noise."""
    joined = [torch.zeros(round(rng.uniform(*mixing.gap) * rate))]
    for part in parts:
        joined += [part, torch.zeros(round(rng.uniform(*mixing.gap) * rate))]
    samples = torch.cat(joined)
    ratio = rng.uniform(*mixing.noise)
    level = samples.square().mean().sqrt() * 10 ** (-ratio / 20)
    return samples + level * torch.randn(len(samples), generator=generator)
