"""Streaming recognition: transcribe speech while it arrives."""

from typing import Self, final

import torch
from torch import Tensor

from recollect.training import TrainedRun
from recollect.training.errors import ArgumentError
from recollect_speech.data.units import Units
from recollect_speech.models.recognition import Recognizer, StreamState
from recollect_speech.models.subsampling import REACH, STRIDE
from recollect_speech.tasks.recognition import Recognition
from recollect_speech.types import BLANK


@final
class Transcriber:
    """Transcribe samples as they arrive; the text is that of the whole recording.

    Args:
        model: A recognizer whose encoder has ``chunk``.
        units: Its units.

    Raises:
        ValueError: If the model needs whole recordings.

    Example:
        >>> from recollect_speech.data.units import Symbols
        >>> from recollect_speech.models.encoder import Encoder
        >>> model = Recognizer(3, 8000, Encoder(size=16, layers=1, heads=2, hidden=16, chunk=4, left=8))
        >>> transcriber = Transcriber(model, Symbols("words", ["one", "two"]))
        >>> for samples in torch.zeros(8000).split(1000):
        ...     _ = transcriber.push(samples)
        >>> text = transcriber.finish()
    """

    def __init__(self, model: Recognizer, units: Units) -> None:
        self.model = model.eval()
        self.units = units
        self.state: StreamState = model.initial_state()
        self._units: list[int] = []
        self._last = BLANK

    @classmethod
    def of(cls, run: TrainedRun) -> Self:
        """A transcriber for a run that ``recollect.training.load_run`` loaded.

        Raises:
            ArgumentError: If it is a run of another task.
        """
        if not isinstance(run.task, Recognition):
            raise ArgumentError(f"streaming needs a run of Recognition, got one of {type(run.task).__name__}")
        return cls(run.task.model, run.task.data.units)

    @property
    def latency(self) -> float:
        """Maximum delay in seconds from the middle of a step to the end of its chunk, without computation."""
        assert self.model.encoder.chunk is not None
        frames = STRIDE * (self.model.encoder.chunk - 1) + REACH // 2
        return 0.01 * frames + 0.0125  # from the middle of the last frame to its end

    @torch.no_grad()
    def push(self, samples: Tensor) -> str:
        """Add samples ``(S,)`` at the model's rate, any number, and return the text so far."""
        log_probs, self.state = self.model.step(samples.unsqueeze(0), self.state)
        return self._append(log_probs)

    @torch.no_grad()
    def finish(self) -> str:
        """Return the text at the end of the recording and reset the transcriber."""
        log_probs, _ = self.model.finish(self.state)
        text = self._append(log_probs)
        self.state, self._units, self._last = self.model.initial_state(), [], BLANK
        return text

    def _append(self, log_probs: Tensor) -> str:
        for unit in log_probs[0].argmax(-1).tolist():
            if unit not in (BLANK, self._last):
                self._units.append(unit)
            self._last = unit
        return self.units.decode(self._units)
