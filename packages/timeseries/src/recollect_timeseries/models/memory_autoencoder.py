"""An autoencoder that reconstructs windows from a memory of normal prototypes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recollect import Read, VectorState, VectorStorage
from recollect_timeseries.models.anomaly_detection import DetectorSizes
from recollect_timeseries.models.channel_linear import ChannelLinear


@dataclass(frozen=True)
class AutoencoderConfig:
    """Configuration of a ``MemoryAutoencoder``.

    Args:
        hidden: Width of the hidden layer on either side.
        code: Width of the code z.
        sparsity: Weight α of the entropy.

    Raises:
        ValueError: If a number is out of range.
    """

    hidden: int = 64
    code: int = 16
    sparsity: float = 2e-4

    def __post_init__(self) -> None:
        """Validate the values."""
        if min(self.hidden, self.code) < 1:
            raise ValueError(f"hidden and code must be at least 1, got {self.hidden} and {self.code}")


class ChannelPrototypes(nn.Module):
    """ẑ = Σ_i softmax_i(β cos(z, m_i)) m_i over the nearest of the learned items m of a channel.

    The items are read from a ``VectorStorage``; reading only the nearest replaces MemAE's shrinkage of small
    weights.

    Args:
        channels: Number G of channels, each with items of its own.
        size: Width E of codes and items.
        prototypes: Number m of items per channel.
        nearest: Number of items to read.

    Raises:
        ValueError: If ``nearest`` is out of range.
    """

    def __init__(self, channels: int, size: int, prototypes: int = 64, nearest: int = 8) -> None:
        super().__init__()
        if not 1 <= nearest <= prototypes:
            raise ValueError(f"nearest must be between 1 and prototypes ({prototypes}), got {nearest}")
        self.storage = VectorStorage(
            size, size, slots=prototypes, sharpness=10.0, learn_sharpness=True, top_k=nearest
        )
        self.items = nn.Parameter(torch.randn(channels, prototypes, size))

    def forward(self, code: Tensor, channel: int | None = None) -> Read:
        """Read for codes ``(G, B, E)``; with ``channel``, G = 1."""
        items = self.items if channel is None else self.items[channel : channel + 1]
        there = torch.ones_like(items[..., 0])
        never = torch.zeros_like(there, dtype=torch.int64)
        return self.storage.read(VectorState(items, items, there, never, never[:, 0], never[:, 0]), code)


@final
class MemoryAutoencoder(nn.Module):
    """z = encode(w); ẑ = memory(z); ŵ = decode(ẑ). Without a memory, ẑ = z.

    Since ŵ is decoded from remembered items only, anomalies are reconstructed badly (MemAE, Gong et al. 2019,
    arXiv:1904.02639; MEMTO, Song et al. 2023, arXiv:2312.02530). The loss is ‖w − ŵ‖² / width + α · entropy
    of the weights (equation 9 of MemAE). Each channel has its own weights and items.

    Args:
        sizes: Sizes of the detector.
        config: Sizes of the autoencoder.
        memory: Builds its memory, given the number of channels and the width of codes; none by default.
    """

    def __init__(
        self,
        sizes: DetectorSizes,
        config: AutoencoderConfig | None = None,
        memory: Callable[[int, int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        config = config or AutoencoderConfig()
        hidden, size = config.hidden, config.code
        width, channels = sizes.window * sizes.columns, sizes.channels
        self.sparsity = config.sparsity
        self.encode = nn.ModuleList(
            [ChannelLinear(channels, width, hidden), ChannelLinear(channels, hidden, size)]
        )
        self.decode = nn.ModuleList(
            [ChannelLinear(channels, size, hidden), ChannelLinear(channels, hidden, width)]
        )
        self.memory = None if memory is None else memory(channels, size)

    def forward(self, windows: Tensor, channel: int | None = None) -> tuple[Tensor, Read | None]:
        """Reconstruct windows ``(G, B, W, C)``; also return the read. With ``channel``, G = 1."""
        code = self._layers(self.encode, windows.flatten(2), channel)
        read = None if self.memory is None else self.memory(code, channel)
        reconstruction = self._layers(self.decode, code if read is None else read.value, channel)
        return reconstruction.view_as(windows), read

    def loss(self, windows: Tensor) -> Tensor:
        """Return the loss of windows ``(B, G, W, C)``, averaged over channels."""
        windows = windows.transpose(0, 1)
        reconstruction, read = self(windows)
        loss = F.mse_loss(reconstruction, windows)
        if read is not None and read.weights is not None:
            loss = loss + self.sparsity * torch.special.entr(read.weights).sum(-1).mean()
        return loss

    def score(self, windows: Tensor, channel: int) -> Tensor:
        """Return √(‖w − ŵ‖² / width) of windows ``(n, W, C)`` of one channel: ``(n,)``."""
        reconstruction, _ = self(windows.unsqueeze(0), channel)
        error: Tensor = (reconstruction[0] - windows).square().flatten(1).mean(-1).sqrt()
        return error

    def _layers(self, layers: nn.ModuleList, x: Tensor, channel: int | None) -> Tensor:
        first, second = layers
        y: Tensor = second(F.gelu(first(x, channel)), channel)
        return y
