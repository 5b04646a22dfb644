"""Random scores, the baseline of every metric."""

from typing import final

import torch
from torch import Tensor

from recollect.state import State
from recollect_timeseries.models.anomaly_detection import (
    NO_MEMORY,
    Detector,
    DetectorMemories,
    DetectorSizes,
    DetectorState,
)

MIX = (-0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15)
"""Multipliers of SplitMix64 (Steele et al. 2014, OOPSLA), as signed numbers."""


@final
class RandomDetector(Detector):
    """A number in [0, 1) for each point: a hash of its position in the stream.

    Args:
        sizes: Sizes of the detector.
        memories: None: it takes no memory.
        seed: Seed of the hash.
    """

    def __init__(self, sizes: DetectorSizes, memories: DetectorMemories = NO_MEMORY, seed: int = 0) -> None:
        super().__init__(sizes, memories)
        self.seed = seed

    def window(self, channel: int) -> int:
        """Return 1."""
        return 1

    def window_scores(self, windows: Tensor, channel: int, memory: State) -> Tensor:
        """Score windows as if they were the first of a stream."""
        return self._numbers(torch.arange(len(windows), device=windows.device), channel)

    def forward(
        self, values: Tensor, channel: int = 0, state: DetectorState | None = None
    ) -> tuple[Tensor, DetectorState]:
        """See ``Detector``."""
        state = self.initial_state(channel) if state is None else state
        places = state.seen + torch.arange(len(values), device=values.device)
        return self._numbers(places, channel), state._replace(seen=state.seen + len(values))

    def _numbers(self, places: Tensor, channel: int) -> Tensor:
        mixed = places + (channel << 32) + (self.seed << 48) + 1
        for factor, shift in zip(MIX, (30, 27), strict=True):
            mixed = (mixed ^ (mixed >> shift)) * factor
        return ((mixed ^ (mixed >> 31)) & 0xFFFFFF).double() / 0x1000000
