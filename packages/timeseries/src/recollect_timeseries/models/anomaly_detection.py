"""Base class of anomaly detectors, which score whole series or streams."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recollect.state import State, register_state

CHUNK = 2048
"""Number of windows scored at once."""


class DetectorSizes(NamedTuple):
    """Sizes of a detector.

    Attributes:
        channels: Number G of channels, each with a model of its own.
        window: Number W of steps in a window.
        columns: Number C of values per step.
        periods: Period of each channel, in steps.
    """

    channels: int
    window: int
    columns: int
    periods: Sequence[int]


class DetectorMemories(NamedTuple):
    """Builders of a detector's memories; ``None`` for none.

    Attributes:
        patches: Builds a memory of normal patches, given the sizes of the detector.
        prototypes: Builds a memory of learned prototypes, given the number of channels and their width.
    """

    patches: Callable[[DetectorSizes], nn.Module] | None = None
    prototypes: Callable[[int, int], nn.Module] | None = None


NO_MEMORY = DetectorMemories()


@register_state
class DetectorState(NamedTuple):
    """State of a stream between two points.

    Attributes:
        recent: ``(W − 1, C)``, the most recent steps, newest last.
        scores: ``(S − 1,)``, the most recent window scores, before averaging.
        seen: ``()`` int64, number of steps so far.
        memory: State of the detector's memory of normal data, if it has one.
    """

    recent: Tensor
    scores: Tensor
    seen: Tensor
    memory: State


class Detector(nn.Module, ABC):
    """Scores each point from the steps up to it; higher is more anomalous.

    The window of W steps that ends with a point is scored, s_t = score(x_{t−W+1}, …, x_t), and the last S of
    these are averaged, a_t = Σ_{i<S} s_{t−i} / S. Before the first whole window the score is zero and
    left out of the average. The state carries over, so the scores do not depend on how a series is split.

    Args:
        sizes: Sizes of the detector.
        memories: Its memories.
        span: Number S of scores to average.

    Raises:
        ValueError: If ``span`` is not positive, or memories are given to a detector that takes none.
    """

    takes_memories: bool = False
    """Whether the detector can have memories."""

    threshold: Tensor

    def __init__(self, sizes: DetectorSizes, memories: DetectorMemories = NO_MEMORY, span: int = 1) -> None:
        super().__init__()
        if span < 1:
            raise ValueError(f"span must be at least 1, got {span}")
        if memories != NO_MEMORY and not self.takes_memories:
            raise ValueError(f"{type(self).__name__} takes no memory")
        self.sizes = sizes
        self.span = span
        self.register_buffer("threshold", torch.full((sizes.channels,), torch.inf))

    # --- abstract methods -----------------------------------------------------------------------------------

    @abstractmethod
    def window_scores(self, windows: Tensor, channel: int, memory: State) -> Tensor:
        """Score windows ``(n, W, C)`` of one channel, in order of time: ``(n,)``."""

    def window(self, channel: int) -> int:
        """Return the number W of steps in a window of this channel."""
        return self.sizes.window

    def fit(self, train: Sequence[Tensor], normal: Sequence[Tensor]) -> None:
        """Fit the closed-form parts, before training.

        Args:
            train: Normal data ``(N_g, C)`` of each channel, without the validation part.
            normal: The same followed by the validation part.
        """

    def loss(self, windows: Tensor) -> Tensor:
        """Return the training loss of windows ``(B, G, W, C)``; zero if there is nothing to train."""
        return windows.new_zeros(())

    def memory(self, channel: int) -> State:
        """Return the initial memory state of a stream of this channel."""
        return ()

    def validation_scores(self, train: Tensor, normal: Tensor, channel: int) -> Tensor:
        """Score the windows that end in the validation part, which ``normal`` has and ``train`` lacks."""
        begin = max(len(train) - self.window(channel) + 1, 0)
        return self._scores(
            sliding_windows(normal[begin:], self.window(channel)), channel, self.memory(channel)
        )

    # --- public methods -------------------------------------------------------------------------------------

    def initial_state(self, channel: int = 0) -> DetectorState:
        """Return the state before the first point."""
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
        """Score T points that continue the stream of ``state``.

        Args:
            values: ``(T, C)``, scaled.
            channel: Their channel.
            state: State of the stream; the initial state by default.

        Returns:
            Scores ``(T,)`` and the state after the last point.

        Raises:
            ValueError: If the number of columns differs.
        """
        if values.ndim != 2 or values.shape[1] != self.sizes.columns:
            raise ValueError(f"values must be (T, {self.sizes.columns}), got {tuple(values.shape)}")
        state = self.initial_state(channel) if state is None else state
        if not len(values):
            return values.new_zeros(0), state
        window, steps = self.window(channel), len(values)
        seen = torch.cat([state.recent, values])
        whole = (
            state.seen + torch.arange(1, steps + 1, device=values.device) - (window - 1)
        )  # number of whole windows so far
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
        """Set each channel's threshold to a quantile of the scores of its normal validation part."""
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
    """Return all windows of ``values`` ``(T, C)`` as a view: ``(T − W + 1, W, C)``."""
    return values.unfold(0, window, 1).mT
