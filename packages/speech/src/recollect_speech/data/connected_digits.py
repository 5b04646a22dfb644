"""Connected digits, made of the recordings of the Free Spoken Digit Dataset."""

import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, final

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
    """How recordings become one.

    Attributes:
        gap: Silence between two of them, in seconds, at least and at most.
        noise: Ratio of the whole to white noise, in dB, at least and at most.
    """

    gap: tuple[float, float] = (0.02, 0.4)
    noise: tuple[float, float] = (15.0, 40.0)


@final
class ConnectedDigitsData(RecognitionData):
    """Strings of recordings of one speaker, with random gaps and noise; everything is drawn by ``seed``.

    Splits share neither recordings (as in ``FsddData``) nor strings of digits. Recordings are brought to the
    same loudness before they are joined, as those of one speaker differ by more than 20 dB.

    Args:
        held_out_speaker: A speaker who is heard in the test alone, and then only they are.
        train: Strings to learn from.
        synthetic: Strings of eSpeak NG that are learnt from besides.
        val: Strings to choose by.
        test: Strings to report on.
        min_digits: Digits of a string at least.
        max_digits: Digits of a string at most.
        mixing: Gaps and noise.
        rate: As in ``RecognitionData``.
        units: As in ``RecognitionData``.
        subwords: As in ``RecognitionData``.
        ngram: As in ``RecognitionData``.
        speeds: As in ``RecognitionData``.
        noise: As in ``RecognitionData``; beside that of ``mixing``.
        path: As in ``RecognitionData``.
        batch_size: As in ``RecognitionData``.
        num_workers: As in ``RecognitionData``.
        seed: As in ``RecognitionData``.

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
        subwords: int = 256,
        ngram: int = 0,
        speeds: tuple[float, ...] = (1.0,),
        noise: tuple[float, float] | None = None,
        path: Path | None = None,
        batch_size: int = 16,
        num_workers: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(rate, units, subwords, ngram, speeds, noise, path, batch_size, num_workers, seed)
        if min(train, val, test) < 1:
            raise ValueError(f"train, val and test must be positive, got {train}, {val} and {test}")
        if synthetic < 0:
            raise ValueError(f"synthetic must not be negative, got {synthetic}")
        if not 1 <= min_digits <= max_digits:
            raise ValueError(f"no string has {min_digits} to {max_digits} digits")
        self.held_out_speaker = held_out_speaker
        self.counts: dict[Split, int] = {"train": train, "val": val, "test": test}
        self.synthetic = synthetic
        self.digits = (min_digits, max_digits)
        self.mixing = mixing

    def prepare_data(self) -> None:
        """Download what is missing; predicting from a checkpoint needs none of it."""
        if self.trainer is None or not self.trainer.predicting:
            prepare()

    def read(self, split: Split) -> list[Utterance]:
        """Strings of the recordings of a split."""
        chance = random.Random(f"{split} {self.seed}")
        generator = torch.Generator().manual_seed(chance.randrange(2**32))
        found = by_speaker(choose(read_recordings(), split, self.held_out_speaker))
        made = []
        for number in range(self.counts[split]):
            speaker = chance.choice(sorted(found))
            digits = draw_string(split, *self.digits, chance)
            parts = [
                normalize_loudness(read_audio(Clip(chance.choice(found[speaker][digit]).path), self.rate))
                for digit in digits
            ]
            samples = join(parts, self.mixing, self.rate, chance, generator)
            made.append(Utterance((samples, self.rate), words(digits), f"{split}-{number}", speaker))
        if split == "train":
            said = synthesize_digit_strings("train", self.synthetic, self.digits, self.rate, self.seed)
            made += [
                item._replace(audio=(normalize_loudness(item.samples(self.rate)), self.rate)) for item in said
            ]
        return made


def by_speaker(recordings: Sequence[DigitRecording]) -> dict[str, dict[int, list[DigitRecording]]]:
    """Recordings by speaker and digit."""
    found: dict[str, dict[int, list[DigitRecording]]] = defaultdict(lambda: defaultdict(list))
    for item in recordings:
        found[item.speaker][item.digit].append(item)
    return found


def normalize_loudness(samples: Tensor, level: float = 0.1) -> Tensor:
    """Samples of a root mean square of ``level``; silence stays silence.

    Example:
        >>> normalize_loudness(torch.tensor([3.0, -3.0]))
        tensor([ 0.1000, -0.1000])
    """
    return samples * (level / samples.square().mean().sqrt().clamp_min(1e-6))


def join(
    parts: Sequence[Tensor],
    mixing: StringMixing,
    rate: int,
    chance: random.Random,
    generator: torch.Generator,
) -> Tensor:
    """Recordings one after another, with gaps before, between and after them, and noise over all."""
    joined = [torch.zeros(round(chance.uniform(*mixing.gap) * rate))]
    for part in parts:
        joined += [part, torch.zeros(round(chance.uniform(*mixing.gap) * rate))]
    samples = torch.cat(joined)
    ratio = chance.uniform(*mixing.noise)
    level = samples.square().mean().sqrt() * 10 ** (-ratio / 20)
    return samples + level * torch.randn(len(samples), generator=generator)
