"""From samples to probabilities of units."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recollect import Concatenation, Integration, Memory
from recollect.state import State, register_state
from recollect_speech.models.acoustic_model import AcousticModel, AcousticOutput
from recollect_speech.models.alignment import Word
from recollect_speech.models.augmentation import SpecAugment, SpectrumAugmentation
from recollect_speech.models.encoder import Encoder, EncoderState
from recollect_speech.models.features import FeatureState
from recollect_speech.models.speaker_states import run_in_turn
from recollect_speech.models.subsampling import REACH, STRIDE, Subsampling, steps_of
from recollect_speech.types import TimedWord

MARGIN = 8
"""Frames of nothing, which is the mean, before and after each recording: the shortest one makes steps."""

STEP = 0.01 * STRIDE
"""Seconds from one step to the next."""

EARLY = 0.01 * MARGIN
"""Seconds that a recording's first step begins before it."""


@register_state
class StreamState(NamedTuple):
    """What a recognizer goes on from while speech arrives.

    Attributes:
        samples: ``(B, S)``, those that do not make a frame yet.
        frames: ``(B, T, F)``, those that do not make a chunk yet.
        features: Of the running mean.
        encoder: Of the layers and their memory.
    """

    samples: Tensor
    frames: Tensor
    features: FeatureState
    encoder: EncoderState


@final
class Recognizer(AcousticModel):
    """Log-mel features, subsampling, encoder, and a distribution over units at each step, for CTC.

    Args:
        units: Number V of units, the blank among them.
        rate: Samples a second.
        encoder: What listens.
        bins: Mel bins.
        channels: Channels of the subsampling.
        dropout: Share of the subsampled features that is dropped in training.
        spec_augment: What is hidden in training; nothing by default.
        speaker_memory: What remembers speakers from recording to recording; of the encoder's width.
        speaker_integration: How it joins the subsampled features.
        augmentation: What is made of energies in training; nothing by default.

    Raises:
        ValueError: If the memory's width is not the encoder's.
    """

    def __init__(
        self,
        units: int,
        rate: int,
        encoder: Encoder,
        bins: int = 64,
        channels: int = 32,
        dropout: float = 0.1,
        spec_augment: SpecAugment | None = None,
        speaker_memory: Memory | None = None,
        speaker_integration: type[Integration] = Concatenation,
        augmentation: SpectrumAugmentation | None = None,
    ) -> None:
        super().__init__(
            rate, bins, "utterance" if encoder.chunk is None else "running", spec_augment, augmentation
        )
        if speaker_memory is not None and speaker_memory.model_size != encoder.size:
            raise ValueError(
                f"the speaker memory's model_size must be {encoder.size}, got {speaker_memory.model_size}"
            )
        self.subsampling = Subsampling(bins, channels, encoder.size, dropout)
        self.speakers = None if speaker_memory is None else speaker_integration(nn.Identity(), speaker_memory)
        self.encoder = encoder
        self.head = nn.Linear(encoder.size, units)

    def forward(
        self,
        samples: Tensor,
        lengths: Tensor,
        speakers: Sequence[str | None] = (),
        speaker_states: Mapping[str, State] | None = None,
    ) -> AcousticOutput:
        """Recordings ``(B, S)``, of which ``lengths`` ``(B,)`` samples count.

        Args:
            samples: At the model's rate.
            lengths: Of each recording.
            speakers: Who speaks in each; nobody knows by default.
            speaker_states: What is remembered of speakers from before.
        """
        frames, counts = self.frames_of(samples, lengths)
        x = self.subsampling(F.pad(frames, (0, 0, MARGIN, MARGIN)))
        steps = steps_of(counts + 2 * MARGIN)
        mask = torch.arange(x.shape[1], device=x.device) < steps.unsqueeze(1)
        states = dict(speaker_states or {})
        if self.speakers is not None:
            x, states = run_in_turn(self.speakers, x, mask, speakers or [None] * len(x), states)
        y, _ = self.encoder(x, mask)
        return AcousticOutput(self._log_probs(y), steps, states)

    def timed(self, word: Word, seconds: float) -> TimedWord:
        """See ``AcousticModel``."""
        start, end = (min(max(step * STEP - EARLY, 0.0), seconds) for step in (word.start, word.end))
        return TimedWord(word.text, start, end, word.confidence)

    # --- as speech arrives ----------------------------------------------------------------------------------

    def begin(self, batch: int = 1) -> StreamState:
        """Nothing has been heard.

        Raises:
            ValueError: If the encoder attends to whole recordings, or speakers are remembered by whole ones.
        """
        if self.speakers is not None:
            raise ValueError("a speaker memory takes whole recordings: it cannot be used as speech arrives")
        like = self.head.weight
        return StreamState(
            like.new_zeros(batch, 0),
            like.new_zeros(batch, MARGIN, self.features.bins),
            self.features.initial_state(batch),
            self.encoder.initial_state(batch),
        )

    def hear(self, samples: Tensor, state: StreamState) -> tuple[Tensor, StreamState]:
        """More samples ``(B, S)``, any number → ``(B, T, V)`` of the chunks that are complete now."""
        samples = torch.cat([state.samples, samples], 1)
        count = int(self.features.frames(torch.tensor(samples.shape[1], device="cpu")))
        frames, features = state.frames, state.features
        if count:
            lengths = torch.full((len(samples),), samples.shape[1], device=samples.device)
            new, _ = self.features(samples, lengths, features)
            frames = torch.cat([frames, new], 1)
            features = self.features.heard(self.features.logs(samples, lengths)[0], features)
            samples = samples[:, count * self.features.hop :]
        chunk = self.encoder.chunk or 1
        ready = int(steps_of(torch.tensor(frames.shape[1], device="cpu"))) // chunk * chunk
        return self._encode(ready, StreamState(samples, frames, features, state.encoder))

    def finish(self, state: StreamState) -> tuple[Tensor, StreamState]:
        """No more will come: ``(B, T, V)`` of what is left."""
        frames = F.pad(state.frames, (0, 0, 0, MARGIN))
        ready = int(steps_of(torch.tensor(frames.shape[1], device="cpu")))
        return self._encode(ready, state._replace(frames=frames))

    def _encode(self, steps: int, state: StreamState) -> tuple[Tensor, StreamState]:
        frames = state.frames
        if steps == 0:
            return frames.new_zeros(len(frames), 0, self.head.out_features), state
        x = self.subsampling(frames[:, : STRIDE * (steps - 1) + REACH])
        y, encoder = self.encoder(x, x.new_ones(x.shape[:2], dtype=torch.bool), state.encoder)
        state = state._replace(frames=frames[:, STRIDE * steps :], encoder=encoder)
        return self._log_probs(y), state

    def _log_probs(self, y: Tensor) -> Tensor:
        scores: Tensor = self.head(y)
        return scores.float().log_softmax(-1)
