"""A memory of training windows: what came after those that looked like this one."""

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recollect import VectorState, VectorStorage
from recollect_timeseries.models.backbone import ForecasterSizes
from recollect_timeseries.models.channel_linear import ChannelLinear
from recollect_timeseries.models.instance_norm import WindowStatistics, normalize_values, window_statistics

BLOCK = 128
"""Steps of the clock whose windows are looked up together; what overlaps any of them is left out for all."""


class RetrievedWindows(NamedTuple):
    """Which windows were found, for P periods.

    Attributes:
        weights: ``(B, P, k)``, summing to 1, or to 0 where nothing was found.
        origins: ``(B, P, k)`` int64, the clock at which each found window's future begins.
    """

    weights: Tensor
    origins: Tensor


class WindowMemory(nn.Module):
    """Finds training windows by likeness, and adds a linear map of what came after them to the forecast.

    The idea of RAFT (Han et al. 2025, arXiv:2505.04163): for each period g, past and training windows are
    averaged over g steps and centred; the k windows with the highest correlation, over all variables
    together, are read from a ``VectorStorage`` with weights softmax(correlation / τ); their futures, relative
    to their own level, are averaged with these weights, r_g, and Σ_g U_g pool_g(r_g) is added. U begins at
    zero, so that the forecast begins as it was.

    Only training windows are remembered, and none that overlaps the window being forecast, its future
    included, is ever read. The training values themselves travel in the checkpoint.

    Args:
        sizes: What it is made for.
        periods: Steps g that are averaged, one search for each.
        neighbours: Number k of windows that are read.
        temperature: τ; small reads the nearest only.
        stride: Steps between two remembered windows.

    Raises:
        ValueError: If an argument is out of range, or no window fits into the training data.
    """

    values: Tensor
    centre: Tensor
    spread: Tensor

    def __init__(
        self,
        sizes: ForecasterSizes,
        periods: Sequence[int] = (4,),
        neighbours: int = 10,
        temperature: float = 0.1,
        stride: int = 1,
    ) -> None:
        super().__init__()
        windows = (sizes.steps - sizes.lookback - sizes.horizon) // stride + 1 if stride > 0 else 0
        if not 1 <= neighbours <= windows:
            raise ValueError(
                f"neighbours must be between 1 and the {windows} windows there are, got {neighbours}"
            )
        for period in periods:
            if not 1 <= period <= min(sizes.lookback, sizes.horizon):
                raise ValueError(f"periods must be between 1 and lookback and horizon, got {period}")
        self.sizes = sizes
        self.periods = tuple(periods)
        self.neighbours = neighbours
        self.stride = stride
        self.storages = nn.ModuleList(
            VectorStorage(
                (sizes.lookback // period) * sizes.columns,
                1,
                slots=windows,
                similarity="dot",
                sharpness=1 / temperature,
                top_k=neighbours,
            )
            for period in self.periods
        )
        self.fuse = nn.ModuleList(
            ChannelLinear(sizes.columns, sizes.horizon // period, sizes.horizon * sizes.quantiles, bias=False)
            for period in self.periods
        )
        for part in self.fuse:
            nn.init.zeros_(cast(ChannelLinear, part).weight)
        self.register_buffer("values", torch.zeros(sizes.steps, sizes.columns))
        # Levels of the remembered windows, for each variable; made from the values when they are needed.
        self.register_buffer("centre", torch.zeros(0, sizes.columns), persistent=False)
        self.register_buffer("spread", torch.zeros(0, sizes.columns), persistent=False)
        self._states: list[VectorState] = []
        # What is loaded is other values: the storages are to be written anew.
        self.register_load_state_dict_post_hook(lambda *_: self._states.clear())  # type: ignore[no-untyped-call]

    def fit(self, values: Tensor) -> None:
        """Take in the scaled training values ``(steps, C)``."""
        self.values.copy_(values)
        self._states.clear()

    def _windows(self) -> Tensor:
        """The pasts of all remembered windows, ``(N, C, L)``, a view."""
        lookback, horizon = self.sizes.lookback, self.sizes.horizon
        return self.values[: len(self.values) - horizon].unfold(0, lookback, 1)[:: self.stride]

    @torch.no_grad()
    def states(self) -> list[VectorState]:
        """The storages' states, one for each period: every window written once, in order of time."""
        if not self._states:
            windows = self._windows()
            level = window_statistics(windows, self.sizes.normalize)
            self.centre, self.spread = level.centre.squeeze(-1), level.spread.squeeze(-1)
            places = torch.arange(len(windows), device=windows.device, dtype=windows.dtype).unsqueeze(-1)
            for storage, period in zip(self.storages, self.periods, strict=True):
                keys, part = _keys(windows, period), cast(VectorStorage, storage)
                self._states.append(part.write(part.initial_state(), keys, places, inplace=True))
        return self._states

    @torch.no_grad()
    def retrieve(self, past: Tensor, clock: Tensor) -> RetrievedWindows:
        """Look up windows: ``past`` ``(B, L, C)``, ``clock`` ``(B,)``.

        What is left out around a window depends on its clock alone: each is answered alike in any batch.
        """
        weights = past.new_zeros(len(past), len(self.periods), self.neighbours)
        origins = torch.zeros_like(weights, dtype=torch.int64)
        blocks = clock // BLOCK
        for block in sorted(set(blocks.tolist())):
            items = (blocks == block).nonzero().squeeze(-1)
            weights[items], origins[items] = self._retrieve_block(past[items], block * BLOCK)
        return RetrievedWindows(weights, origins)

    def _retrieve_block(self, past: Tensor, begin: int) -> tuple[Tensor, Tensor]:
        """Windows with clocks from ``begin`` on, less than ``BLOCK`` further."""
        reach = self.sizes.lookback + self.sizes.horizon
        stored = torch.arange(self._count(), device=past.device) * self.stride + self.sizes.lookback
        near = (stored > begin - reach) & (stored < begin + BLOCK - 1 + reach)
        reads = []
        for storage, state, period in zip(self.storages, self.states(), self.periods, strict=True):
            apart = state._replace(presence=state.presence.masked_fill(near, 0))
            reads.append(cast(VectorStorage, storage).read(apart, _keys(past.mT, period)))
        weights = torch.stack([cast(Tensor, read.weights) for read in reads], 1)
        slots = torch.stack([cast(Tensor, read.slots) for read in reads], 1)
        return weights.to(past.dtype), slots * self.stride + self.sizes.lookback

    def _count(self) -> int:
        return cast(VectorStorage, self.storages[0]).slots

    def futures(self, retrieved: RetrievedWindows) -> list[Tensor]:
        """What came after, relative to its level, for each period: ``(B, C, H // g)``."""
        self.states()
        steps = torch.arange(self.sizes.horizon, device=self.values.device)
        found = []
        for p, period in enumerate(self.periods):
            origins, weights = retrieved.origins[:, p], retrieved.weights[:, p]
            slots = (origins - self.sizes.lookback) // self.stride
            came = self.values[origins.unsqueeze(-1) + steps]  # (B, k, H, C)
            level = WindowStatistics(self.centre[slots].unsqueeze(-2), self.spread[slots].unsqueeze(-2))
            relative = torch.einsum("bk,bkhc->bch", weights.to(came.dtype), normalize_values(came, level))
            found.append(F.avg_pool1d(relative, period))
        return found

    def forward(self, futures: list[Tensor]) -> Tensor:
        """What is added to the forecast, ``(B, C, H · Q)``."""
        added: Tensor = sum(
            (fuse(came.transpose(0, 1)) for fuse, came in zip(self.fuse, futures, strict=True)),
            torch.zeros((), device="cpu"),  # a single number joins those of any device
        )
        return added.transpose(0, 1)


def _keys(windows: Tensor, period: int) -> Tensor:
    """Windows ``(N, C, L)`` averaged over ``period`` steps, centred, of length 1 over all variables."""
    length = windows.shape[-1] // period * period
    recent = windows[..., windows.shape[-1] - length :]  # what is left over is the oldest
    pooled = F.avg_pool1d(recent, period) if period > 1 else recent
    centred = (pooled - pooled.mean(-1, keepdim=True)).flatten(1)
    return F.normalize(centred, dim=-1)
