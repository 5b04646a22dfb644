"""The recognizer: samples to probabilities of units."""

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

PADDING = 8
"""Zero frames before and after each recording, so that the shortest one has steps; zero is the mean."""

SECONDS_PER_STEP = 0.01 * STRIDE
"""Seconds per step."""

LEAD = 0.01 * PADDING
"""Seconds by which the first step precedes the recording."""


@register_state
class StreamState(NamedTuple):
    """State of a recognizer while speech arrives.

    Attributes:
        samples: ``(B, S)``, samples that are not in a frame yet.
        frames: ``(B, T, F)``, frames that are not in a chunk yet.
        features: State of the running mean.
        encoder: State of the encoder.
    """

    samples: Tensor
    frames: Tensor
    features: FeatureState
    encoder: EncoderState


@final
class Recognizer(AcousticModel):
    """A CTC model: log-mel features, subsampling, encoder, and a distribution over units at each step.

    Args:
        units: Number V of units, including the blank.
        rate: Samples per second.
        encoder: The encoder.
        bins: Number of mel bins.
        channels: Number of channels of the subsampling.
        dropout: Dropout rate of the subsampled features.
        spec_augment: Masking of the features in training; none by default.
        speaker_memory: Memory of speakers, carried from recording to recording; as wide as the encoder.
        speaker_integration: Integration of the speaker memory with the subsampled features.
        augmentation: Augmentation of the mel energies in training; none by default.

    Raises:
        ValueError: If the widths of memory and encoder differ.
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
        """Transcribe recordings ``(B, S)`` of ``lengths`` ``(B,)`` samples.

        Args:
            samples: Samples at the model's rate.
            lengths: Number of samples of each recording.
            speakers: Speaker of each recording; unknown by default.
            speaker_states: States of speakers from earlier recordings.
        """
        frames, counts = self.frames_of(samples, lengths)
        x = self.subsampling(F.pad(frames, (0, 0, PADDING, PADDING)))
        steps = steps_of(counts + 2 * PADDING)
        mask = torch.arange(x.shape[1], device=x.device) < steps.unsqueeze(1)
        states = dict(speaker_states or {})
        if self.speakers is not None:
            x, states = run_in_turn(self.speakers, x, mask, speakers or [None] * len(x), states)
        y, _ = self.encoder(x, mask)
        return AcousticOutput(self._log_probs(y), steps, states)

    def timed(self, word: Word, seconds: float) -> TimedWord:
        """See ``AcousticModel``."""
        start, end = (
            min(max(step * SECONDS_PER_STEP - LEAD, 0.0), seconds) for step in (word.start, word.end)
        )
        return TimedWord(word.text, start, end, word.confidence)

    # --- streaming ------------------------------------------------------------------------------------------

    def initial_state(self, batch: int = 1) -> StreamState:
        """The state before the first sample.

        Raises:
            ValueError: If the encoder attends to whole recordings, or there is a speaker memory.
        """
        if self.speakers is not None:
            raise ValueError("a speaker memory needs whole recordings: it does not support streaming")
        like = self.head.weight
        return StreamState(
            like.new_zeros(batch, 0),
            like.new_zeros(batch, PADDING, self.features.bins),
            self.features.initial_state(batch),
            self.encoder.initial_state(batch),
        )

    def step(self, samples: Tensor, state: StreamState) -> tuple[Tensor, StreamState]:
        """Add samples ``(B, S)``, any number, and return ``(B, T, V)`` for the chunks that are complete."""
        samples = torch.cat([state.samples, samples], 1)
        count = int(self.features.frames(torch.tensor(samples.shape[1], device="cpu")))
        frames, features = state.frames, state.features
        if count:
            lengths = torch.full((len(samples),), samples.shape[1], device=samples.device)
            new, _ = self.features(samples, lengths, features)
            frames = torch.cat([frames, new], 1)
            features = self.features.advance(self.features.logs(samples, lengths)[0], features)
            samples = samples[:, count * self.features.hop :]
        chunk = self.encoder.chunk or 1
        ready = int(steps_of(torch.tensor(frames.shape[1], device="cpu"))) // chunk * chunk
        return self._encode(ready, StreamState(samples, frames, features, state.encoder))

    def finish(self, state: StreamState) -> tuple[Tensor, StreamState]:
        """Return ``(B, T, V)`` for the remaining steps at the end of the recording."""
        frames = F.pad(state.frames, (0, 0, 0, PADDING))
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
