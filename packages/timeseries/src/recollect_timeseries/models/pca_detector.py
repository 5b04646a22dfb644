"""PCA of windows or columns, a strong baseline."""

from collections.abc import Sequence
from typing import cast, final

import torch
from torch import Tensor

from recollect.state import State
from recollect_timeseries.models.anomaly_detection import (
    NO_MEMORY,
    Detector,
    DetectorMemories,
    DetectorSizes,
    sliding_windows,
)


@final
class PcaDetector(Detector):
    """PCA and Sub-PCA as TSB-AD defines them (Liu & Paparrizos 2024, NeurIPS, after Shyu et al. 2003).

    A window's values are standardised; with v_i the principal directions and r_i the share of variance that
    each explains, s(w) = Σ_i ‖w − v_i‖ / r_i over the first of them. In Sub-PCA a window is a period of the
    series; in PCA it is one step with all its columns.

    Args:
        sizes: Sizes of the detector.
        memories: None: it takes no memory.
        windows: Use Sub-PCA instead of PCA.
        variance: Share of the variance that the kept directions explain; 1 keeps all.
        span: As in ``Detector``.

    Raises:
        ValueError: If ``variance`` is out of range.
    """

    def __init__(
        self,
        sizes: DetectorSizes,
        memories: DetectorMemories = NO_MEMORY,
        windows: bool = True,
        variance: float = 1.0,
        span: int = 1,
    ) -> None:
        super().__init__(sizes, memories, span)
        if not 0 < variance <= 1:
            raise ValueError(f"variance must be above 0 and at most 1, got {variance}")
        self.windows = windows
        self.variance = variance
        for g in range(sizes.channels):
            width = self.window(g) * sizes.columns
            self.register_buffer(f"mean_{g}", torch.zeros(width))
            self.register_buffer(f"std_{g}", torch.ones(width))
            self.register_buffer(f"directions_{g}", torch.zeros(width, width))
            self.register_buffer(f"weights_{g}", torch.zeros(width))

    def window(self, channel: int) -> int:
        """Return the period, or 1."""
        return self.sizes.periods[channel] if self.windows else 1

    @torch.no_grad()
    def fit(self, train: Sequence[Tensor], normal: Sequence[Tensor]) -> None:
        """Fit the principal directions to all normal data."""
        for g, values in enumerate(normal):
            window = self.window(g)
            if len(values) <= window:
                raise ValueError(f"channel {g} has {len(values)} steps, no more than its period of {window}")
            patches = sliding_windows(values, window).flatten(1).double()
            mean, std = patches.mean(0), patches.std(0, correction=0)
            varies = std > 1e-9
            scaled = torch.where(varies, (patches - mean) / std, 0)
            shares, directions = torch.linalg.eigh(scaled.T @ scaled / len(scaled))
            shares, directions = shares.flip(0).clamp_min(0), directions.flip(1)
            largest = directions.gather(0, directions.abs().argmax(0, keepdim=True))
            directions = directions * largest.sign()  # fix the sign of each direction
            total = shares.sum().clamp_min(1e-12)
            kept = (shares / total).cumsum(0) - shares / total < self.variance - 1e-9
            kept &= shares > 1e-9 * total  # directions without variance are arbitrary
            found = {
                "mean": mean,
                "std": torch.where(varies, std, torch.inf),  # drops constant values
                "directions": directions,
                "weights": torch.where(kept, total / shares, 0),
            }
            for name, part in found.items():
                getattr(self, f"{name}_{g}").copy_(part)

    def window_scores(self, windows: Tensor, channel: int, memory: State) -> Tensor:
        """See ``Detector``."""
        mean, std, directions, weights = (
            cast(Tensor, getattr(self, f"{name}_{channel}"))
            for name in ("mean", "std", "directions", "weights")
        )
        scaled = (windows.flatten(1) - mean) / std
        squares = scaled.square().sum(-1, keepdim=True) - 2 * (scaled @ directions) + 1
        return squares.clamp_min(0).sqrt() @ weights
