"""Transcribing speech while it arrives."""

from typing import Self, final

import torch
from torch import Tensor

from recollect.training import TrainedRun
from recollect.training.errors import ArgumentError
from recollect_speech.data.recognition import RecognitionData
from recollect_speech.data.units import Units
from recollect_speech.models.recognition import Recognizer, StreamState
from recollect_speech.models.subsampling import REACH, STRIDE
from recollect_speech.types import BLANK


@final
class Transcriber:
    """Samples in, text out, at any pace: the words are those of the whole recording heard at once.

    Args:
        model: With an encoder that has ``chunk``.
        units: What it writes.

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
        self.state: StreamState = model.begin()
        self._heard: list[int] = []
        self._last = BLANK

    @classmethod
    def of(cls, run: TrainedRun) -> Self:
        """One for a trained run, which ``recollect.training.load_run`` gives.

        Raises:
            ArgumentError: If it is a run of another task.
        """
        if not isinstance(run.task.model, Recognizer) or not isinstance(run.data, RecognitionData):
            raise ArgumentError(f"a run of Recognition is needed, not of {type(run.task).__name__}")
        return cls(run.task.model, run.data.units)

    @property
    def latency(self) -> float:
        """Seconds from the middle of a step to the end of its chunk, at most; computing comes on top."""
        assert self.model.encoder.chunk is not None
        frames = STRIDE * (self.model.encoder.chunk - 1) + REACH // 2
        return 0.01 * frames + 0.0125  # to the end of the last frame from its middle

    @torch.no_grad()
    def push(self, samples: Tensor) -> str:
        """Hear samples ``(S,)`` of the model's rate, any number; the text so far."""
        log_probs, self.state = self.model.hear(samples.unsqueeze(0), self.state)
        return self._write(log_probs)

    @torch.no_grad()
    def finish(self) -> str:
        """Nothing more will come: the text. What follows begins a new one."""
        log_probs, _ = self.model.finish(self.state)
        text = self._write(log_probs)
        self.state, self._heard, self._last = self.model.begin(), [], BLANK
        return text

    def _write(self, log_probs: Tensor) -> str:
        for unit in log_probs[0].argmax(-1).tolist():
            if unit not in (BLANK, self._last):
                self._heard.append(unit)
            self._last = unit
        return self.units.decode(self._heard)
