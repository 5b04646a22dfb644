"""How many features a layer takes and gives, as far as it says so itself."""

from typing import NamedTuple

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd


class Sizes(NamedTuple):
    """Number of features of a layer's first input and first output."""

    in_size: int
    out_size: int


KEEPS_WIDTH = (
    nn.ReLU,
    nn.GELU,
    nn.SiLU,
    nn.Tanh,
    nn.Sigmoid,
    nn.LeakyReLU,
    nn.ELU,
    nn.Identity,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.AvgPool2d,
)


def sizes_of(layer: nn.Module) -> Sizes | None:
    """Sizes of the layers of ``torch.nn`` and of sequences of them; ``None`` where a layer does not tell."""
    match layer:
        case nn.Linear():
            return Sizes(layer.in_features, layer.out_features)
        case _ConvNd():
            return Sizes(layer.in_channels, layer.out_channels)
        case nn.RNNBase():
            return Sizes(layer.input_size, (layer.proj_size or layer.hidden_size) * (1 + layer.bidirectional))
        case nn.RNNCellBase():
            return Sizes(layer.input_size, layer.hidden_size)
        case nn.MultiheadAttention():
            return Sizes(layer.embed_dim, layer.embed_dim)
        case nn.TransformerEncoderLayer() | nn.TransformerDecoderLayer():
            return sizes_of(layer.self_attn)
        case nn.TransformerEncoder() | nn.TransformerDecoder():
            return sizes_of(layer.layers[0])
        case nn.Embedding():
            return Sizes(layer.embedding_dim, layer.embedding_dim)
        case nn.LayerNorm() | nn.RMSNorm():
            return Sizes(layer.normalized_shape[-1], layer.normalized_shape[-1])
        case _BatchNorm():
            return Sizes(layer.num_features, layer.num_features)
        case nn.Sequential():
            return _sizes_of_sequence(layer)
    return None


def _sizes_of_sequence(layers: nn.Sequential) -> Sizes | None:
    telling = [part for part in layers if not isinstance(part, KEEPS_WIDTH)]
    sizes = [sizes_of(part) for part in telling]
    if not sizes or sizes[0] is None or sizes[-1] is None:
        return None
    return Sizes(sizes[0].in_size, sizes[-1].out_size)
