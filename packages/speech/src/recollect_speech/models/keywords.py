"""From samples to the probability of each word, where a recording holds one."""

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
    """Log-mel features, an encoder of words, and a distribution over words: a recording is one step.

    Args:
        units: Number V of units, the blank among them, which is never heard.
        rate: Samples a second.
        encoder: What listens.
        memory: What a speaker's words sound like, for at least V − 1 words; read once training is over.
        spec_augment: What is hidden in training; nothing by default.
        augmentation: What is made of energies in training; nothing by default.

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
        """As ``Recognizer``; there is one step for each recording."""
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
        """Log-probabilities ``(B, V − 1)`` of the words, whoever speaks."""
        scores: Tensor = self.head(self.encoder(*self.frames_of(samples, lengths)))
        return scores.float().log_softmax(-1)

    def timed(self, word: Word, seconds: float) -> TimedWord:
        """It takes the whole recording."""
        return TimedWord(word.text, 0.0, seconds, word.confidence)


@final
class SpeakerTemplates:
    """Words as their speaker says them: near the mean of those of theirs that were recognized before.

    The template of a word is the mean of its row of the linear layer and of the speaker's earlier vectors for
    which that layer would have it, all of length one; p(word | x) ∝ exp(s cos(x, template)). No gradient, no
    label (T3A; Iwasawa & Matsuo 2021, NeurIPS, algorithm 1, which keeps the surest words only). A recording
    is read with what those before it have left, and then leaves its own vector.

    Args:
        head: The linear layer.
        memory: Where a speaker's words are kept, read as prototypes; the word is the class.
    """

    def __init__(self, head: nn.Linear, memory: ExampleMemory) -> None:
        self.head = head
        self.memory = memory

    def initial_state(self, *batch: int) -> State:
        """The speaker has not been heard."""
        like = self.head.weight
        return self.memory.initial_state(*batch, device=like.device, dtype=like.dtype)

    def __call__(self, x: Tensor, state: State, *, step_mask: Tensor) -> tuple[Tensor, State]:
        """Vectors ``(B, T, D)``, read before they are written → log-probabilities ``(B, T, V)``."""
        label = self.head(x).argmax(-1)
        x = F.normalize(x, dim=-1)
        found = self.memory.read(state, x, F.normalize(self.head.weight, dim=-1)).log_probability
        return found, self.memory.write(state, x, label, step_mask)
