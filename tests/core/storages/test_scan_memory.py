"""Law 14: what a scan keeps for the backward pass grows with T + N, not with T · N."""

import pytest
import torch

from recollect import VectorStorage
from recollect.storages import vector

K = V = 8
N = 256

POLICIES = {
    "ring": {},
    "ring-erase": {},
    "ring-top-k": {"top_k": 4},
    "lru": {"policy": "lru"},
    "lru-erase": {"policy": "lru"},
    "content": {"policy": "content"},
}


def saved_elements(storage: VectorStorage, steps: int, erase: bool) -> int:
    """Number of elements of the distinct tensors that autograd saves in a scan."""
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, steps, size).requires_grad_() for size in (K, K, V))
    strength = torch.full((1, steps), 0.5) if erase else None
    saved: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        saved[tensor.untyped_storage().data_ptr()] = (
            tensor.untyped_storage().nbytes() // tensor.element_size()
        )
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output, _ = storage.scan(storage.initial_state(1), query, key, value, None, strength)
    output.sum().backward()
    assert all(leaf.grad is not None and leaf.grad.isfinite().all() for leaf in (query, key, value))
    return sum(saved.values())


@pytest.mark.parametrize("name", POLICIES)
def test_what_a_scan_saves_grows_with_its_length_alone(name: str, monkeypatch):
    monkeypatch.setattr(vector, "MAX_SCAN_BLOCK", 64)
    monkeypatch.setattr(vector, "MIN_SCAN_BLOCK", 64)
    storage, erase = VectorStorage(K, V, slots=N, **POLICIES[name]), name.endswith("erase")
    short, long = (saved_elements(storage, steps, erase) for steps in (128, 512))
    grown = (long - short) / (512 - 128)  # elements for each step
    assert grown < N, f"{grown:.0f} elements are saved for each step, of a store of {N} × {K + V}"
