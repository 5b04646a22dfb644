"""A linear map per variable, plus a seasonal cycle per variable."""

import math
from typing import final

import torch
from torch import Tensor

from recollect.validation import check_positive
from recollect_timeseries.models.backbone import Backbone, ForecasterSizes
from recollect_timeseries.models.channel_linear import ChannelLinear


@final
class LinearMaps(Backbone):
    """y_c = W_c x_c + D_c φ(t), φ(t) = (cos 2πkt/p, sin 2πkt/p) for k = 1 … K, t the first step forecast.

    W_c x_c is NLinear (Zeng et al. 2023, arXiv:2205.13504) with a map for each variable; D_c φ(t) is the
    recurrent cycle of CycleNet (Lin et al. 2024, arXiv:2409.18479) cut off after K harmonics. These have
    mean zero, so no drift is learned; ``constant`` adds 1 to φ, and with it the drift of the training data.
    The last ``fine`` steps are inputs of their own; older steps are averaged over ``coarse`` steps.

    Args:
        sizes: Sizes of the forecaster.
        period: Steps p of the cycle.
        harmonics: Number K; 0 for no cycle.
        constant: Whether to learn a drift.
        fine: Number of recent steps that are not averaged.
        coarse: Number of older steps per average; an incomplete oldest group is dropped.

    Raises:
        ValueError: If ``period``, ``fine`` or ``coarse`` is not positive, or K is not between 0 and p / 2.

    Example:
        >>> maps = LinearMaps(ForecasterSizes(lookback=8, horizon=4, columns=3), period=24, harmonics=2)
        >>> maps(torch.randn(2, 3, 8), torch.zeros(2, dtype=torch.int64)).shape
        torch.Size([2, 3, 4])
    """

    def __init__(
        self,
        sizes: ForecasterSizes,
        period: int = 24,
        harmonics: int = 0,
        constant: bool = False,
        fine: int = 336,
        coarse: int = 4,
    ) -> None:
        super().__init__(sizes)
        check_positive(period=period, fine=fine, coarse=coarse)
        if not 0 <= harmonics <= period // 2:
            raise ValueError(f"harmonics must be between 0 and {period // 2}, got {harmonics}")
        self.period = period
        self.harmonics = harmonics
        self.constant = constant
        self.fine = min(fine, sizes.lookback)
        self.coarse = coarse
        past = len(self.spans)
        self.maps = ChannelLinear(
            sizes.columns, past + 2 * harmonics + constant, sizes.horizon * sizes.quantiles, bias=False
        )
        with torch.no_grad():  # start from the mean of the past
            self.maps.weight.zero_()[:, :past] = (self.spans / self.spans.sum()).unsqueeze(-1)

    @property
    def spans(self) -> Tensor:
        """Number of steps that each past input averages, oldest first."""
        older = (self.sizes.lookback - self.fine) // self.coarse
        parts = ((older, self.coarse), (self.fine, 1))
        return torch.cat([torch.full((count,), float(steps), device="cpu") for count, steps in parts])

    def features(self, past: Tensor, clock: Tensor) -> Tensor:
        """Return the inputs of the maps, ``(C, B, F)``: past, φ and, with ``constant``, 1."""
        turns = torch.arange(1, self.harmonics + 1, device=clock.device)
        angles = 2 * math.pi * ((clock.unsqueeze(-1) * turns) % self.period).to(past.dtype) / self.period
        course = torch.cat([angles.cos(), angles.sin(), past.new_ones(len(past), int(self.constant))], -1)
        by_variable = self._pooled(past).transpose(0, 1)
        return torch.cat([by_variable, course.expand(len(by_variable), -1, -1)], -1)

    def forward(self, past: Tensor, clock: Tensor) -> Tensor:
        """See ``Backbone``."""
        future: Tensor = self.maps(self.features(past, clock))
        return future.transpose(0, 1)

    def _pooled(self, past: Tensor) -> Tensor:
        older = (past.shape[-1] - self.fine) // self.coarse * self.coarse
        begin = past.shape[-1] - self.fine - older
        averaged = past[..., begin : begin + older].reshape(*past.shape[:-1], -1, self.coarse).mean(-1)
        return torch.cat([averaged, past[..., begin + older :]], -1)
