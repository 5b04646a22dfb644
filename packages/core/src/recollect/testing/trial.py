"""Trials: random inputs for a storage, which the laws are checked with."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recollect.state import State, map_state
from recollect.storages.base import Storage
from recollect.storages.slot import SlotStorage

KeyMaker = Callable[[Storage, tuple[int, ...], int, torch.Generator], Tensor]
"""``(storage, batch, count, generator)`` → keys ``(*batch, count, K)``; see ``distinct_keys``."""


class Steps(NamedTuple):
    """The arguments of ``Storage.scan`` besides the state."""

    query: Tensor
    key: Tensor
    value: Tensor
    write_strength: Tensor
    erase_strength: Tensor | None
    mask: Tensor | None

    def at(self, where: slice | Tensor) -> "Steps":
        """Select steps."""
        axes = self.write_strength.dim()
        return self.each(lambda tensor: tensor[..., where] if tensor.dim() == axes else tensor[..., where, :])

    def each(self, change: Callable[[Tensor], Tensor]) -> "Steps":
        """Apply a function to every tensor."""
        return Steps(
            query=change(self.query),
            key=change(self.key),
            value=change(self.value),
            write_strength=change(self.write_strength),
            erase_strength=None if self.erase_strength is None else change(self.erase_strength),
            mask=None if self.mask is None else change(self.mask),
        )

    def floats(self) -> dict[str, Tensor]:
        """Floating-point arguments, by name."""
        named = self._asdict().items()
        return {name: tensor for name, tensor in named if tensor is not None and tensor.is_floating_point()}

    def requiring_grad(self) -> "Steps":
        """Copy the steps to new leaves of the autograd graph."""
        return self._replace(**{n: t.detach().clone().requires_grad_() for n, t in self.floats().items()})


@dataclass(frozen=True)
class Trial:
    """A storage with random inputs.

    Args:
        storage: The storage.
        batch: Batch axes; none, one or several.
        steps: Length T of sequences.
        seed: Seed of all random numbers.
        cuts: Positions in [0, T] that cut a sequence into pieces; a repeated one makes an empty piece.
        mask: Which steps are unmasked, repeated up to the length of the sequence.
        capacity: Number of entries that the storage holds; that of a ``SlotStorage`` by default.
        erases_in_turn: Whether keys are erased one by one, since what is left depends on their order.
        larger: The same storage with many times the slots, for law 14, which is not checked without.
        changes_all: Whether a write or an erase changes the whole state by its algebra.
        non_differentiable: Arguments of ``scan`` without a gradient.
        make_keys: Makes keys that the storage can tell apart.
        tolerance: Maximum error of a read of one entry while entries with dissimilar keys are present.
    """

    storage: Storage
    batch: tuple[int, ...] = (2,)
    steps: int = 7
    seed: int = 0
    cuts: tuple[int, ...] = (1, 1, 4)
    mask: tuple[bool, ...] = (True, False, True, True)
    capacity: int | None = None
    erases_in_turn: bool = False
    larger: Storage | None = None
    changes_all: bool = False
    non_differentiable: frozenset[str] = frozenset()
    make_keys: KeyMaker = field(default_factory=lambda: distinct_keys)
    tolerance: float = 1e-2

    def double(self) -> "Trial":
        """Return the trial in float64, where rounding does not hide errors."""
        return replace(self, storage=copy.deepcopy(self.storage).double())

    @property
    def slots(self) -> SlotStorage[Any] | None:
        """The storage, if it keeps entries apart."""
        return self.storage if isinstance(self.storage, SlotStorage) else None

    def generator(self, salt: int = 0) -> torch.Generator:
        """Make a random number generator."""
        return torch.Generator().manual_seed(self.seed * 1000 + salt)

    def empty(self) -> Any:
        """Return an empty state."""
        return self.storage.initial_state(*self.batch)

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of values and strengths."""
        floating = [tensor.dtype for tensor in leaves(self.empty()) if tensor.is_floating_point()]
        return floating[0] if floating else torch.get_default_dtype()

    def distinct(self, count: int, salt: int = 0) -> Tensor:
        """Dissimilar keys ``(…, count, K)``; the last is dissimilar to all others even past K keys."""
        keys = self.make_keys(self.storage, self.batch, count, self.generator(salt))
        return keys if self.storage.integer_keys else keys.to(self.dtype)

    def values(self, count: int, salt: int = 1) -> Tensor:
        """Values ``(…, count, V)``, none near zero."""
        shape = (*self.batch, count, self.storage.value_size)
        return (torch.rand(shape, generator=self.generator(salt)) + 0.5).to(self.dtype)

    def sequence(self, count: int | None = None, salt: int = 2) -> Steps:
        """T steps over a few recurring keys, exact or noisy, so that writes and erases interact."""
        count = self.steps if count is None else count
        generator = self.generator(salt)
        shape = (*self.batch, count)

        def strengths() -> Tensor:
            return (0.1 + 0.8 * torch.rand(shape, generator=generator)).to(self.dtype)

        return Steps(
            query=self._recurring_keys(shape, generator),
            key=self._recurring_keys(shape, generator),
            value=self.values(count, salt + 1),
            write_strength=strengths(),
            erase_strength=strengths(),
            mask=None,
        )

    def _recurring_keys(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        pool = 4
        chosen = torch.randint(0, pool, shape, generator=generator)
        width = self.storage.key_size
        if self.storage.integer_keys:
            return (chosen.unsqueeze(-1) * 31 + torch.arange(width)).contiguous()
        # The pool depends on the seed only, so that sequences with other salts share the keys.
        centres = torch.randn(pool, width, generator=self.generator(99))
        noise = torch.randn(*shape, width, generator=generator)
        apart = torch.randint(0, 2, (*shape, 1), generator=generator)
        return (centres[chosen] + 0.3 * apart * noise).to(self.dtype)

    def pattern(self, count: int) -> Tensor:
        """Mask of a sequence, ``(count,)``."""
        cycle = self.mask or (True,)
        return torch.tensor([cycle[t % len(cycle)] for t in range(count)], dtype=torch.bool)

    def pieces(self, count: int) -> Iterator[slice]:
        """Pieces of a sequence between ``cuts``."""
        ends = [*sorted(min(cut, count) for cut in self.cuts), count]
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            yield slice(start, end)

    def written_state(self) -> Any:
        """Return a state with some entries."""
        steps = self.sequence(2, salt=20)
        return self.storage.write(self.empty(), steps.key, steps.value, steps.write_strength)


def distinct_keys(storage: Storage, batch: tuple[int, ...], count: int, generator: torch.Generator) -> Tensor:
    """Make orthogonal real keys up to the number of dimensions, or different integers.

    Beyond the number of dimensions keys are random, but the last is still orthogonal to all others. All have
    norm 10, so that a softmax over dot products separates them as one over cosines does.
    """
    width = storage.key_size
    if storage.integer_keys:
        first = torch.randperm(max(count * 7, 64), generator=generator)[:count] + 1
        keys = first.unsqueeze(-1) * 1009 + torch.arange(width) * 7
        return keys.expand(*batch, count, width).clone()
    if width < 2:
        raise ValueError("keys of width 1 are all alike: use a storage with a key_size of at least 4")
    basis, _ = torch.linalg.qr(torch.randn(*batch, width, width, generator=generator, dtype=torch.float64))
    if count <= width:
        return torch.mul(basis[..., :count, :], 10)
    mixed = torch.randn(*batch, count - 1, width - 1, generator=generator, dtype=torch.float64)
    others = torch.nn.functional.normalize(mixed @ basis[..., 1:, :], dim=-1)
    return torch.mul(torch.cat([others, basis[..., :1, :]], -2), 10)


def leaves(state: State) -> list[Tensor]:
    """Return all tensors of a state, in order."""
    found: list[Tensor] = []

    def visit(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    map_state(visit, state)
    return found
