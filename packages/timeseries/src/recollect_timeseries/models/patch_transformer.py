"""A Transformer over patches of the past."""

from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recollect_timeseries.models.backbone import Backbone, ForecasterSizes


@final
class PatchTransformer(Backbone):
    """Patch embedding, Transformer encoder and linear head, for each variable.

    PatchTST (Nie et al. 2023, arXiv:2211.14730, section 3.1), with pre-layer normalisation instead of
    batch normalisation. The last value is repeated for one more stride, as in the paper.

    Args:
        sizes: Sizes of the forecaster.
        patch: Steps in a patch.
        stride: Steps between two patches.
        width: Width D.
        layers: Layers of the encoder.
        heads: Heads of its attention.
        hidden: Width of its feed-forward part.
        dropout: Dropout rate of the encoder and before the head.

    Raises:
        ValueError: If a patch is longer than the past.
    """

    memory_at = "encoder"

    def __init__(
        self,
        sizes: ForecasterSizes,
        patch: int = 16,
        stride: int = 8,
        width: int = 64,
        layers: int = 2,
        heads: int = 4,
        hidden: int = 128,
        dropout: float = 0.2,
    ) -> None:
        super().__init__(sizes)
        if not 1 <= patch <= sizes.lookback or stride < 1:
            raise ValueError(
                f"patch must be between 1 and lookback ({sizes.lookback}) and stride positive, "
                f"got {patch} and {stride}"
            )
        self.patch = patch
        self.stride = stride
        self.width = width
        patches = (sizes.lookback + stride - patch) // stride + 1
        self.embed = nn.Linear(patch, width)
        self.position_embedding = nn.Parameter(0.02 * torch.randn(patches, width))
        layer = nn.TransformerEncoderLayer(
            width, heads, hidden, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(patches * width, sizes.horizon * sizes.quantiles)

    def forward(self, past: Tensor, clock: Tensor) -> Tensor:
        """See ``Backbone``."""
        series = F.pad(past.flatten(0, 1), (0, self.stride), mode="replicate")
        patches = series.unfold(-1, self.patch, self.stride)  # (B · C, patches, patch)
        encoded: Tensor = self.encoder(self.embed(patches) + self.position_embedding)
        future: Tensor = self.head(self.dropout(encoded.flatten(1)))
        return future.view(*past.shape[:2], -1)

    @property
    def memory_sizes(self) -> tuple[int, int]:
        """The encoder's width, twice."""
        return self.width, self.width
