"""A memory of normal patches for anomaly detection."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recollect import VectorState, VectorStorage
from recollect.state import PersistentState, map_state
from recollect_timeseries.models.anomaly_detection import DetectorSizes, sliding_windows


class PatchMemory(nn.Module):
    """Normal windows in a ``VectorStorage``; the score is the distance to the read value.

    PatchCore (Roth et al. 2022, arXiv:2106.08265) for time series. A window w becomes a patch e = R w, with
    R = I where a window has at most E values, else a random orthogonal projection, which keeps distances. Of
    the patches of each channel a coreset is kept, chosen greedily so that no patch is far from it (equation 3
    there), and s(w) = ‖e − read(e)‖ / √E. Keys are [k; −‖k‖²/2c] and queries [e; c], whose product is
    (‖e‖² − ‖e − k‖²)/2, so that the nearest patch is read.

    Args:
        sizes: Sizes of the detector.
        size: Largest width E of a patch.
        coreset: Number of patches stored per channel.
        slots: Capacity per channel; later writes beyond it replace the oldest patches.
        neighbours: Number of patches to read, weighted by softmax.

    Raises:
        ValueError: If the coreset does not fit into the slots, or a number is not positive.
    """

    project: Tensor

    def __init__(
        self,
        sizes: DetectorSizes,
        size: int = 64,
        coreset: int = 512,
        slots: int = 1024,
        neighbours: int = 1,
    ) -> None:
        super().__init__()
        if not 1 <= coreset <= slots:
            raise ValueError(f"coreset must be between 1 and slots ({slots}), got {coreset}")
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size}")
        width = sizes.window * sizes.columns
        self.size = min(size, width)
        self.coreset = coreset
        narrower = self.size < width
        basis = torch.linalg.qr(torch.randn(width, self.size))[0] if narrower else torch.eye(width)
        self.register_buffer("project", basis * (width / self.size) ** 0.5)
        self.storage = VectorStorage(
            self.size + 1,
            self.size,
            slots=slots,
            similarity="dot",
            sharpness=1.0,
            top_k=neighbours,
            match_start=0.998,
        )
        self.normal = PersistentState(self.storage.initial_state(sizes.channels))

    def embed(self, windows: Tensor) -> Tensor:
        """Project windows ``(n, W, C)`` to patches ``(n, E)``."""
        return windows.flatten(1) @ self.project

    def state(self, channel: int) -> VectorState:
        """Return the storage state of a channel."""
        return map_state(lambda part: part[channel], self.normal.get())

    @torch.no_grad()
    def fit(self, normal: Sequence[Tensor]) -> None:
        """Store a coreset of the windows of each channel's series ``(N_g, C)``, replacing earlier ones."""
        window = len(self.project) // normal[0].shape[1]
        states = []
        for values in normal:
            patches = self.embed(sliding_windows(values, window))
            patches = patches[coreset(patches, self.coreset)]
            states.append(self.write(self.storage.initial_state(), patches))
        self.normal.set(map_state(lambda *parts: torch.stack(parts), *states))

    def write(self, state: VectorState, patches: Tensor) -> VectorState:
        """Add patches ``(n, E)``."""
        return self.storage.write(state, self._keys(patches), patches)

    def erase(self, state: VectorState, patches: Tensor, radius: float) -> VectorState:
        """Remove what lies within ``radius`` (in units of the score) of patches ``(n, E)``."""
        entries = self.storage.entries(state)
        apart = torch.cdist(entries.values, patches).amin(-1) / self._constant
        return self.storage.erase(state, entries.keys, mask=(apart <= radius) & (entries.filled > 0))

    def score(self, patches: Tensor, state: VectorState) -> Tensor:
        """Return the distances ``(n,)`` of patches ``(n, E)`` to the values read for them."""
        query = torch.cat([patches, patches.new_full((len(patches), 1), self._constant)], -1)
        read = self.storage.read(state, query).value
        distance: Tensor = (patches - read).norm(dim=-1) / self._constant
        return distance

    @property
    def _constant(self) -> float:
        return math.sqrt(self.size)

    def _keys(self, patches: Tensor) -> Tensor:
        halved = patches.square().sum(-1, keepdim=True) / (-2 * self._constant)
        return torch.cat([patches, halved], -1)


def coreset(patches: Tensor, count: int) -> Tensor:
    """Select ``count`` of the patches ``(n, E)`` by farthest-point sampling; all if there are fewer.

    Example:
        >>> coreset(torch.tensor([[0.0], [0.1], [5.0], [5.1], [9.0]]), 3).tolist()
        [0, 2, 4]
    """
    if len(patches) <= count:
        return torch.arange(len(patches), device=patches.device)
    chosen = [0]
    apart = (patches - patches[0]).square().sum(-1)
    squares = patches.square().sum(-1)
    while len(chosen) < count:
        chosen.append(int(apart.argmax()))
        newest = patches[chosen[-1]]
        apart = torch.minimum(apart, squares - 2 * (patches @ newest) + newest.square().sum())
    return torch.tensor(sorted(chosen), device=patches.device)
