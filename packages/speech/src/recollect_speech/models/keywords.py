"""Keyword spotting: samples to word probabilities, one word per recording."""

from collections.abc import Mapping, Sequence
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recollect import ExampleMemory
from recollect.memories.example import MIN_LOG_PROBABILITY
from recollect.state import State
from recollect_speech.models.acoustic_model import AcousticModel, AcousticOutput
from recollect_speech.models.alignment import Word
from recollect_speech.models.augmentation import SpecAugment, SpectrumAugmentation
from recollect_speech.models.keyword_encoder import KeywordEncoder
from recollect_speech.models.speaker_states import run_in_turn
from recollect_speech.types import TimedWord


@final
class KeywordSpotter(AcousticModel):
    """Log-mel features, an encoder, and a distribution over words; each recording is one step.

    Args:
        units: Number V of units, including the blank, whose probability is zero.
        rate: Samples per second.
        encoder: The encoder.
        memory: Memory of each speaker's words, for at least V − 1 classes; not used in training.
        spec_augment: Masking of the features in training; none by default.
        augmentation: Augmentation of the mel energies in training; none by default.

    Example:
        >>> model = KeywordSpotter(4, 8000, KeywordEncoder(bins=20, channels=2, size=8)).eval()
        >>> model(torch.randn(2, 8000), torch.tensor([8000, 500])).log_probs.shape
        torch.Size([2, 1, 4])
    """

    def __init__(
        self,
        units: int,
        rate: int,
        encoder: KeywordEncoder,
        memory: ExampleMemory | None = None,
        spec_augment: SpecAugment | None = None,
        augmentation: SpectrumAugmentation | None = None,
    ) -> None:
        super().__init__(rate, encoder.bins, "utterance", spec_augment, augmentation)
        self.encoder = encoder
        self.head = nn.Linear(encoder.size, units - 1)
        self.memory = memory

    def forward(
        self,
        samples: Tensor,
        lengths: Tensor,
        speakers: Sequence[str | None] = (),
        speaker_states: Mapping[str, State] | None = None,
    ) -> AcousticOutput:
        """As in ``Recognizer``, with one step per recording."""
        states = dict(speaker_states or {})
        if self.memory is None or self.training:
            found = self.alone(samples, lengths).unsqueeze(1)
        else:
            x = self.encoder(*self.frames_of(samples, lengths)).unsqueeze(1)
            step = torch.ones(len(x), 1, dtype=torch.bool, device=x.device)
            found, states = run_in_turn(
                SpeakerTemplates(self.head, self.memory), x, step, speakers or [None] * len(x), states
            )
        return AcousticOutput(
            F.pad(found, (1, 0), value=MIN_LOG_PROBABILITY), torch.ones_like(lengths), states
        )

    def alone(self, samples: Tensor, lengths: Tensor) -> Tensor:
        """Log-probabilities ``(B, V − 1)`` of the words without the memory."""
        scores: Tensor = self.head(self.encoder(*self.frames_of(samples, lengths)))
        return scores.float().log_softmax(-1)

    def timed(self, word: Word, seconds: float) -> TimedWord:
        """The word spans the whole recording."""
        return TimedWord(word.text, 0.0, seconds, word.confidence)


@final
class SpeakerTemplates:
    """Classify words by templates that adapt to the speaker at test time.

    The template of a word is the mean of its row of the linear layer and of the speaker's earlier vectors
    that this layer assigns to it, all of unit length; p(word | x) ∝ exp(s cos(x, template)). It needs neither
    gradients nor labels (T3A; Iwasawa & Matsuo 2021, NeurIPS, algorithm 1, which keeps confident predictions
    only). Each recording is first classified, then written.

    Args:
        head: The linear layer.
        memory: Memory of the speaker's words, read as prototypes; classes are words.
    """

    def __init__(self, head: nn.Linear, memory: ExampleMemory) -> None:
        self.head = head
        self.memory = memory

    def initial_state(self, *batch: int) -> State:
        """The state of a new speaker."""
        like = self.head.weight
        return self.memory.initial_state(*batch, device=like.device, dtype=like.dtype)

    def __call__(self, x: Tensor, state: State, *, step_mask: Tensor) -> tuple[Tensor, State]:
        """Vectors ``(B, T, D)`` → log-probabilities ``(B, T, V)``; each is read before it is written."""
        label = self.head(x).argmax(-1)
        x = F.normalize(x, dim=-1)
        found = self.memory.classify(state, x, F.normalize(self.head.weight, dim=-1)).log_probability
        return found, self.memory.write(state, x, step_mask, label)
