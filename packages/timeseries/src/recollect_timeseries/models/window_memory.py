"""Retrieval of similar training windows and their futures."""

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recollect import VectorState, VectorStorage
from recollect.state import PersistentState
from recollect_timeseries.models.backbone import ForecasterSizes
from recollect_timeseries.models.channel_linear import ChannelLinear
from recollect_timeseries.models.instance_norm import WindowStatistics, normalize_values, window_statistics

BLOCK = 128
"""Steps whose windows are searched together; training windows that overlap any of them are excluded."""


class RetrievedWindows(NamedTuple):
    """The retrieved windows for P periods.

    Attributes:
        weights: ``(B, P, k)``, summing to 1, or to 0 without a match.
        origins: ``(B, P, k)`` int64, the first future step of each window.
    """

    weights: Tensor
    origins: Tensor


class WindowMemory(nn.Module):
    """Retrieves similar training windows and adds a linear map of their futures to the forecast.

    After RAFT (Han et al. 2025, arXiv:2505.04163): for each period g, past and training windows are
    averaged over g steps and centred; the k windows with the highest correlation, over all variables
    together, are read from a ``VectorStorage`` with weights softmax(correlation / τ); their futures, relative
    to their own level, are averaged with these weights, r_g, and Σ_g U_g pool_g(r_g) is added. U starts at
    zero, so the forecast is unchanged at first.

    Only training windows are stored, and windows that overlap the forecast window or its future are never
    read. The checkpoint contains the training values.

    Args:
        sizes: Sizes of the forecaster.
        periods: Averaging widths g in steps, one search each.
        neighbours: Number k of windows to read.
        temperature: τ; small values read the nearest window only.
        stride: Steps between two stored windows.

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
        self.out_proj = nn.ModuleList(
            ChannelLinear(sizes.columns, sizes.horizon // period, sizes.horizon * sizes.quantiles, bias=False)
            for period in self.periods
        )
        for part in self.out_proj:
            nn.init.zeros_(cast(ChannelLinear, part).weight)
        self.register_buffer("values", torch.zeros(sizes.steps, sizes.columns))
        # Statistics of the stored windows per variable, computed from the values when needed.
        self.register_buffer("centre", torch.zeros(0, sizes.columns), persistent=False)
        self.register_buffer("spread", torch.zeros(0, sizes.columns), persistent=False)
        self.indexes = nn.ModuleList(
            PersistentState(cast(VectorStorage, storage).initial_state(), persistent=False)
            for storage in self.storages
        )
        self._indexed = False
        self.register_load_state_dict_post_hook(lambda *_: self._outdate())  # type: ignore[no-untyped-call]

    def fit(self, values: Tensor) -> None:
        """Store the scaled training values ``(steps, C)``."""
        self.values.copy_(values)
        self._outdate()

    def _outdate(self) -> None:
        """Have the windows written again before the next read, since the values have changed."""
        self._indexed = False

    def _windows(self) -> Tensor:
        """Return the pasts of all stored windows as a view: ``(N, C, L)``."""
        lookback, horizon = self.sizes.lookback, self.sizes.horizon
        return self.values[: len(self.values) - horizon].unfold(0, lookback, 1)[:: self.stride]

    @torch.no_grad()
    def states(self) -> list[VectorState]:
        """Return one storage state per period, with every window written once in order of time."""
        if not self._indexed:
            windows = self._windows()
            level = window_statistics(windows, self.sizes.normalize)
            self.centre, self.spread = level.centre.squeeze(-1), level.spread.squeeze(-1)
            places = torch.arange(len(windows), device=windows.device, dtype=windows.dtype).unsqueeze(-1)
            for storage, index, period in zip(self.storages, self.indexes, self.periods, strict=True):
                keys, part = _keys(windows, period), cast(VectorStorage, storage)
                state = part.write(part.initial_state(), keys, places, inplace=True)
                cast(PersistentState[VectorState], index).set(state)
            self._indexed = True
        return [cast(PersistentState[VectorState], index).get() for index in self.indexes]

    @torch.no_grad()
    def retrieve(self, past: Tensor, clock: Tensor) -> RetrievedWindows:
        """Retrieve windows similar to ``past`` ``(B, L, C)`` at ``clock`` ``(B,)``.

        Exclusion depends on the clock alone, so the result does not depend on the rest of the batch.
        """
        weights = past.new_zeros(len(past), len(self.periods), self.neighbours)
        origins = torch.zeros_like(weights, dtype=torch.int64)
        blocks = clock // BLOCK
        for block in sorted(set(blocks.tolist())):
            items = (blocks == block).nonzero().squeeze(-1)
            weights[items], origins[items] = self._retrieve_block(past[items], block * BLOCK)
        return RetrievedWindows(weights, origins)

    def _retrieve_block(self, past: Tensor, begin: int) -> tuple[Tensor, Tensor]:
        """Retrieve for windows with clocks in ``[begin, begin + BLOCK)``."""
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
        """Return the normalised mean future for each period: ``(B, C, H // g)``."""
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
        """Return the contribution to the forecast, ``(B, C, H · Q)``."""
        added: Tensor = sum(
            (proj(came.transpose(0, 1)) for proj, came in zip(self.out_proj, futures, strict=True)),
            torch.zeros((), device="cpu"),  # a scalar combines with any device
        )
        return added.transpose(0, 1)


def _keys(windows: Tensor, period: int) -> Tensor:
    """Average windows ``(N, C, L)`` over ``period`` steps, centre and normalise them over all variables."""
    length = windows.shape[-1] // period * period
    recent = windows[..., windows.shape[-1] - length :]  # drop the oldest remainder
    pooled = F.avg_pool1d(recent, period) if period > 1 else recent
    centred = (pooled - pooled.mean(-1, keepdim=True)).flatten(1)
    return F.normalize(centred, dim=-1)
