"""Number of input and output features of the layers of ``torch.nn``."""

from typing import NamedTuple

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from recollect.integrations.layout import POINTWISE


class FeatureSizes(NamedTuple):
    """Number of features of a layer's first input and first output."""

    in_size: int
    out_size: int


def feature_sizes(layer: nn.Module) -> FeatureSizes | None:
    """Feature sizes of a layer of ``torch.nn`` or a sequence of them; ``None`` if they are unknown."""
    match layer:
        case nn.Linear():
            return FeatureSizes(layer.in_features, layer.out_features)
        case _ConvNd():
            return FeatureSizes(layer.in_channels, layer.out_channels)
        case nn.RNNBase():
            return FeatureSizes(
                layer.input_size, (layer.proj_size or layer.hidden_size) * (1 + layer.bidirectional)
            )
        case nn.RNNCellBase():
            return FeatureSizes(layer.input_size, layer.hidden_size)
        case nn.MultiheadAttention():
            return FeatureSizes(layer.embed_dim, layer.embed_dim)
        case nn.TransformerEncoderLayer() | nn.TransformerDecoderLayer():
            return feature_sizes(layer.self_attn)
        case nn.TransformerEncoder() | nn.TransformerDecoder():
            return feature_sizes(layer.layers[0])
        case nn.Embedding():
            return FeatureSizes(layer.embedding_dim, layer.embedding_dim)
        case nn.LayerNorm() | nn.RMSNorm():
            return FeatureSizes(layer.normalized_shape[-1], layer.normalized_shape[-1])
        case _BatchNorm():
            return FeatureSizes(layer.num_features, layer.num_features)
        case nn.Sequential():
            return _sequence_sizes(layer)
    return None


def _sequence_sizes(layers: nn.Sequential) -> FeatureSizes | None:
    layers_with_width = [part for part in layers if not isinstance(part, POINTWISE)]
    sizes = [feature_sizes(part) for part in layers_with_width]
    if not sizes or sizes[0] is None or sizes[-1] is None:
        return None
    return FeatureSizes(sizes[0].in_size, sizes[-1].out_size)
