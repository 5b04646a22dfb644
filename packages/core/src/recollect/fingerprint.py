"""A fingerprint of a model's weights, which tells whether two models make the same hidden states."""

import hashlib
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from recollect.augmented import model_state_dict
from recollect.memory_forward import augmented_layers

PROBES = 16
"""Numbers of each tensor that are looked at to see whether a fingerprint is still that of a model."""

_KNOWN: "WeakKeyDictionary[nn.Module, tuple[bytes, str]]" = WeakKeyDictionary()


def model_fingerprint(model: nn.Module) -> str:
    """Return the SHA-256 of a model's own weights and buffers, without those of its memories: 16 hex digits.

    It is computed again when a weight has changed. A change through ``.data`` of a few numbers of a large
    tensor may go unseen, since no version counts it.

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
    tensors = {name: tensor.detach() for name, tensor in state.items() if isinstance(tensor, torch.Tensor)}
    glance = _glance(tensors)
    known = _KNOWN.get(model)
    if known is None or known[0] != glance:
        known = _KNOWN[model] = glance, _digest(tensors)
    return known[1]


def _glance(tensors: dict[str, Tensor]) -> bytes:
    """What changes when weights do: where they are, their versions, and a few numbers of each."""
    places = [(name, tensor.data_ptr(), tensor._version, tensor.shape) for name, tensor in tensors.items()]
    probes = [tensor.flatten()[:: max(1, tensor.numel() // PROBES)].double() for tensor in tensors.values()]
    probe = torch.cat(probes).cpu().numpy().tobytes() if probes else b""
    return repr(places).encode() + probe


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in tensors.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
