"""A fingerprint of a model's weights, which tells whether two models make the same hidden states."""

import hashlib

import torch
from torch import nn

from recollect.augmented import model_state_dict
from recollect.memory_forward import augmented_layers


def model_fingerprint(model: nn.Module) -> str:
    """Return the SHA-256 of a model's own weights and buffers, without those of its memories: 16 hex digits.

    Example:
        >>> layer = nn.Linear(1, 1)
        >>> before = model_fingerprint(layer)
        >>> before == model_fingerprint(layer)
        True
        >>> _ = nn.init.ones_(layer.weight)
        >>> before == model_fingerprint(layer)
        False
    """
    state = model_state_dict(model) if augmented_layers(model) else model.state_dict()
    digest = hashlib.sha256()
    for name, tensor in state.items():
        if isinstance(tensor, torch.Tensor):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
