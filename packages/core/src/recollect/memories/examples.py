"""A memory of labelled examples, read by class."""

import math
from typing import Literal, NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recollect.state import State
from recollect.storages.base import Storage
from recollect.storages.results import Read

Reading = Literal["matching", "prototypes"]
"""How examples are read."""

NEVER = math.log(torch.finfo(torch.float32).tiny)
"""Logarithm of the probability of what never happens: finite, so that its gradient is zero and a number."""


class Answer(NamedTuple):
    """What a memory of examples says of Q queries.

    Attributes:
        log_probability: ``(…, Q, C)``; ``NEVER`` for a class without examples.
        read: Which examples were compared, and with what weight; ``None`` where they were read as prototypes.
    """

    log_probability: Tensor
    read: Read | None


@final
class ExampleMemory(nn.Module):
    """p(c | x) from the examples (x_i, y_i) that were written, whose classes need not be known in training.

    ``"matching"`` reads the examples (Vinyals et al. 2016, arXiv:1606.04080, equation 1): p(c | x) = Σ_i a_i
    1[y_i = c], with the storage's attention a. ``"prototypes"`` reads their means μ_c (Snell et al. 2017,
    arXiv:1703.05175, equation 2): p(c | x) ∝ exp(s · similarity(x, μ_c)), where the similarity is −‖x − μ_c‖²
    or the cosine. Either way nothing about a class is learnt but what was written, and what is erased is
    gone.

    Args:
        storage: Where examples are kept: its keys are features, its values classes, one-hot, so that its
            ``value_size`` is the number C of classes at most.
        reading: How they are read.
        similarity: Of prototypes and queries: ``"euclidean"`` or ``"cosine"``.
        sharpness: s of prototypes at the beginning: 1 for Euclidean and 10 for cosine similarity by default.
        learn_sharpness: Whether s is a parameter.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> from recollect import VectorStorage
        >>> memory = ExampleMemory(VectorStorage(key_size=2, value_size=3, slots=8))
        >>> state = memory.write(memory.initial_state(), torch.eye(2), torch.tensor([2, 0]))
        >>> memory.read(state, torch.tensor([[1.0, 0.1]])).log_probability.exp().round(decimals=2)
        tensor([[0., 0., 1.]])
    """

    def __init__(
        self,
        storage: Storage,
        reading: Reading = "matching",
        similarity: Literal["euclidean", "cosine"] = "euclidean",
        sharpness: float | None = None,
        learn_sharpness: bool = False,
    ) -> None:
        super().__init__()
        if reading not in ("matching", "prototypes"):
            raise ValueError(f'reading must be "matching" or "prototypes", got {reading!r}')
        if similarity not in ("euclidean", "cosine"):
            raise ValueError(f'similarity must be "euclidean" or "cosine", got {similarity!r}')
        if sharpness is not None and sharpness <= 0:
            raise ValueError(f"sharpness must be positive, got {sharpness}")
        if storage.integer_keys:
            raise ValueError("examples have features for keys; this storage takes integer keys")
        self.storage = storage
        self.reading: Reading = reading
        self.similarity = similarity
        if sharpness is None:
            sharpness = 1.0 if similarity == "euclidean" else 10.0
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(sharpness)), requires_grad=learn_sharpness)

    @property
    def classes(self) -> int:
        """Number C of classes at most."""
        return self.storage.value_size

    def initial_state(
        self, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """No examples."""
        state: State = self.storage.initial_state(*batch, device=device, dtype=dtype)
        return state

    def write(self, state: State, x: Tensor, label: Tensor, mask: Tensor | None = None) -> State:
        """Remember W examples.

        Args:
            state: What is remembered; unchanged.
            x: Features ``(…, W, D)``.
            label: ``(…, W)`` int64, below C.
            mask: ``(…, W)`` bool; an example where it is false is not written.
        """
        state = self.storage.write(state, x, F.one_hot(label, self.classes).to(x.dtype), None, mask)
        return state

    def place(self, state: State, x: Tensor, label: Tensor) -> tuple[State, Tensor]:
        """As ``write``; also the slots ``(…, W)`` where the examples stand."""
        return self.storage.place(state, x, F.one_hot(label, self.classes).to(x.dtype))

    def read(self, state: State, x: Tensor, known: Tensor | None = None) -> Answer:
        """Classify queries.

        Args:
            state: What is remembered.
            x: Features of Q queries ``(…, Q, D)``.
            known: ``(C, D)``, an example of each class that counts besides what was written, and is never
                forgotten: the rows of a linear layer for instance (T3A; Iwasawa & Matsuo 2021, NeurIPS,
                equation 5). For prototypes only.

        Raises:
            ValueError: If something is ``known`` and examples are read by matching.
        """
        if self.reading == "matching":
            if known is not None:
                raise ValueError("known examples are read as prototypes, not by matching")
            read = self.storage.read(state, x)
            return Answer(read.value.float().clamp_min(math.exp(NEVER)).log(), read)
        return Answer(self._near_prototypes(state, x, known).clamp_min(NEVER), None)

    def erase(self, state: State, label: int) -> tuple[State, Tensor]:
        """Forget a class: every example that was written with ``label``, and no other.

        What is left is written to an empty state in the order of its places. Erasing by content would also
        take examples of other classes whose features are all but the same.

        Returns:
            The new state, and ``(…, N)`` the slot where each entry is now; −1 for those that are gone.
        """
        entries = self.storage.entries(state)
        kept = (entries.values[..., label] <= 0) & (entries.filled > 0)
        empty = self.storage.initial_state(
            *kept.shape[:-1], device=entries.keys.device, dtype=entries.keys.dtype
        )
        return self.storage.place(empty, entries.keys, entries.values, entries.filled * kept, kept)

    def _near_prototypes(self, state: State, x: Tensor, known: Tensor | None) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # distances are differences of large numbers
            entries = self.storage.entries(state)
            shares = (entries.values * entries.filled.unsqueeze(-1)).float()  # (…, N, C)
            counts = shares.sum(-2)  # (…, C)
            tiny = torch.finfo(counts.dtype).tiny
            totals = shares.mT @ entries.keys.float()  # (…, C, D)
            if known is not None:
                totals, counts = totals + known.float(), counts + 1
            means = totals / counts.clamp_min(tiny).unsqueeze(-1)
            near = nearness(x.float(), means, self.similarity) * self.log_sharpness.exp()
            present = counts.unsqueeze(-2) > 0
            # Without any class the softmax is not a number.
            near = near.masked_fill(~present & present.any(-1, keepdim=True), -torch.inf)
            return near.log_softmax(-1).masked_fill(~present, -torch.inf)


def nearness(x: Tensor, means: Tensor, similarity: Literal["euclidean", "cosine"]) -> Tensor:
    """How near queries ``(…, Q, D)`` are to means ``(…, C, D)``: ``(…, Q, C)``, −‖x − μ‖² or the cosine.

    Example:
        >>> nearness(torch.tensor([[3.0, 4.0]]), torch.eye(2), "euclidean")
        tensor([[-20., -18.]])
    """
    if similarity == "cosine":
        return F.normalize(x, dim=-1) @ F.normalize(means, dim=-1).mT
    # Multiplied out, so that no (…, Q, C, D) has to be kept.
    squares = x.square().sum(-1).unsqueeze(-1) + means.square().sum(-1).unsqueeze(-2)
    return 2 * x @ means.mT - squares
