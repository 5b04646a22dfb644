"""The base of every detector: window by window, as one pass or as a stream."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recollect.state import State, register_state

CHUNK = 2048
"""Windows that are scored at once."""


class DetectorSizes(NamedTuple):
    """What a detector is made for.

    Attributes:
        channels: Number G of channels, each with a model of its own.
        window: Number W of steps.
        columns: Number C of values a step.
        periods: For each channel the steps after which it repeats itself.
    """

    channels: int
    window: int
    columns: int
    periods: Sequence[int]


@register_state
class DetectorState(NamedTuple):
    """What is carried from one point of a stream to the next.

    Attributes:
        recent: ``(W − 1, C)``, the last steps, the newest last.
        scores: ``(S − 1,)``, the last windows' scores before they were averaged.
        seen: ``()`` int64, how many steps there have been.
        memory: What is normal, where the detector remembers that apart from its parameters.
    """

    recent: Tensor
    scores: Tensor
    seen: Tensor
    memory: State


class Detector(nn.Module, ABC):
    """Gives each point a score, higher for what is less like normal, from what came up to that point.

    The window of W steps that ends with a point is scored, s_t = score(x_{t−W+1}, …, x_t), and the last S of
    these are averaged, a_t = Σ_{i<S} s_{t−i} / S. Before there is a whole window the score is zero, and it is
    left out of the average. Nothing depends on how a series is cut: the state is carried.

    Args:
        sizes: What it is made for.
        span: Number S of scores that are averaged.

    Raises:
        ValueError: If ``span`` is not positive.
    """

    threshold: Tensor

    def __init__(self, sizes: DetectorSizes, span: int = 1) -> None:
        super().__init__()
        if span < 1:
            raise ValueError(f"span must be at least 1, got {span}")
        self.sizes = sizes
        self.span = span
        self.register_buffer("threshold", torch.full((sizes.channels,), torch.inf))

    # --- what a subclass implements -------------------------------------------------------------------------

    @abstractmethod
    def window_scores(self, windows: Tensor, channel: int, memory: State) -> Tensor:
        """Scores ``(n,)`` of windows ``(n, W, C)``, those of one channel in order of time."""

    def window(self, channel: int) -> int:
        """Number W of steps in a window of this channel."""
        return self.sizes.window

    def fit(self, train: Sequence[Tensor], normal: Sequence[Tensor]) -> None:
        """Learn what has a closed form, before descent begins.

        Args:
            train: For each channel ``(N_g, C)``, without validation.
            normal: The same with validation after it.
        """

    def loss(self, windows: Tensor) -> Tensor:
        """What is to be descended, of windows ``(B, G, W, C)``: zero where nothing is."""
        return windows.new_zeros(())

    def memory(self, channel: int) -> State:
        """What a stream of this channel knows at its beginning."""
        return ()

    def validation_scores(self, train: Tensor, normal: Tensor, channel: int) -> Tensor:
        """Scores of the windows that end in validation: in what ``normal`` has and ``train`` has not."""
        begin = max(len(train) - self.window(channel) + 1, 0)
        return self._scores(
            sliding_windows(normal[begin:], self.window(channel)), channel, self.memory(channel)
        )

    # --- what callers use -----------------------------------------------------------------------------------

    def initial_state(self, channel: int = 0) -> DetectorState:
        """Nothing has been seen."""
        like = self.threshold
        return DetectorState(
            recent=like.new_zeros(self.window(channel) - 1, self.sizes.columns),
            scores=like.new_zeros(self.span - 1),
            seen=torch.zeros((), dtype=torch.int64, device=like.device),
            memory=self.memory(channel),
        )

    @torch.no_grad()
    def forward(
        self, values: Tensor, channel: int = 0, state: DetectorState | None = None
    ) -> tuple[Tensor, DetectorState]:
        """T points that follow on those of ``state``.

        Args:
            values: ``(T, C)``, scaled.
            channel: Whose they are.
            state: Where to begin; an initial state by default.

        Returns:
            Scores ``(T,)`` and the state after the last point.

        Raises:
            ValueError: If the number of columns is another.
        """
        if values.ndim != 2 or values.shape[1] != self.sizes.columns:
            raise ValueError(f"values must be (T, {self.sizes.columns}), got {tuple(values.shape)}")
        state = self.initial_state(channel) if state is None else state
        if not len(values):
            return values.new_zeros(0), state
        window, steps = self.window(channel), len(values)
        seen = torch.cat([state.recent, values])
        whole = state.seen + torch.arange(1, steps + 1, device=values.device) - (window - 1)  # windows so far
        raw = self._scores(seen.unfold(0, window, 1).mT, channel, state.memory)
        raw = torch.cat([state.scores, torch.where(whole > 0, raw, 0)])
        averaged = raw.unfold(0, self.span, 1).sum(-1) / whole.clamp(1, self.span)
        return averaged, DetectorState(
            recent=seen[len(seen) - (window - 1) :],
            scores=raw[len(raw) - (self.span - 1) :],
            seen=state.seen + steps,
            memory=state.memory,
        )

    @torch.no_grad()
    def calibrate(self, train: Sequence[Tensor], normal: Sequence[Tensor], quantile: float) -> None:
        """Set each channel's threshold to a quantile of what validation, which is normal, scores."""
        for g, (past, whole) in enumerate(zip(train, normal, strict=True)):
            scores = self.validation_scores(past, whole, g)
            summed = F.pad(scores, (self.span - 1, 0)).unfold(0, self.span, 1).sum(-1)
            counts = torch.arange(1, len(scores) + 1, device=scores.device).clamp(max=self.span)
            self.threshold[g] = torch.quantile(summed / counts, quantile)

    def _scores(self, windows: Tensor, channel: int, memory: State) -> Tensor:
        if not len(windows):
            return windows.new_zeros(0)
        parts = (windows[i : i + CHUNK] for i in range(0, len(windows), CHUNK))
        return torch.cat([self.window_scores(part, channel, memory) for part in parts])


def sliding_windows(values: Tensor, window: int) -> Tensor:
    """All windows of ``values`` ``(T, C)``: ``(T − W + 1, W, C)``, a view."""
    return values.unfold(0, window, 1).mT
