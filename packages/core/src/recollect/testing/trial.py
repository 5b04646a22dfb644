"""One random experiment on a storage: what the laws are checked with."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recollect.state import State, map_state
from recollect.storages.base import Storage

KeyMaker = Callable[[Storage, tuple[int, ...], int, torch.Generator], Tensor]
"""``(storage, batch, count, generator)`` → keys ``(*batch, count, K)``; see ``distinct_keys``."""


class Steps(NamedTuple):
    """The arguments of ``Storage.scan``, without the state."""

    query: Tensor
    key: Tensor
    value: Tensor
    write_strength: Tensor
    erase_strength: Tensor | None
    mask: Tensor | None

    def at(self, where: slice | Tensor) -> "Steps":
        """Some of the steps."""
        axes = self.write_strength.dim()
        return self.each(lambda tensor: tensor[..., where] if tensor.dim() == axes else tensor[..., where, :])

    def each(self, change: Callable[[Tensor], Tensor]) -> "Steps":
        """The same steps with every tensor changed alike."""
        return Steps(
            query=change(self.query),
            key=change(self.key),
            value=change(self.value),
            write_strength=change(self.write_strength),
            erase_strength=None if self.erase_strength is None else change(self.erase_strength),
            mask=None if self.mask is None else change(self.mask),
        )

    def floats(self) -> dict[str, Tensor]:
        """The arguments that can have a gradient, by name."""
        named = self._asdict().items()
        return {name: tensor for name, tensor in named if tensor is not None and tensor.is_floating_point()}

    def requiring_grad(self) -> "Steps":
        """The same numbers as new leaves of the autograd graph."""
        return self._replace(**{n: t.detach().clone().requires_grad_() for n, t in self.floats().items()})


@dataclass(frozen=True)
class Trial:
    """One random experiment.

    Args:
        storage: What is tried.
        batch: Batch axes; none, one or several.
        steps: How many steps, writes or erases T a sequence has.
        seed: Of all random numbers.
        cuts: Where a sequence is cut into pieces, each in [0, T]; a repeated one makes an empty piece.
        mask: Which steps are real, read in a circle where it is shorter than the sequence.
        capacity: How many entries the storage holds; the number of its ``entries`` by default.
        without: Verbs that the storage does not offer (``"erase"``, ``"entries"``, ``"update"``): they must
            raise ``NotImplementedError`` in its name, and the laws about them are left out.
        without_gradient: Arguments of ``scan`` that its reads are not differentiable in.
        make_keys: Makes keys that the storage tells apart.
        tolerance: How far a read may be from the value of the one entry that it asks for, when entries with
            dissimilar keys stand beside it.
    """

    storage: Storage
    batch: tuple[int, ...] = (2,)
    steps: int = 7
    seed: int = 0
    cuts: tuple[int, ...] = (1, 1, 4)
    mask: tuple[bool, ...] = (True, False, True, True)
    capacity: int | None = None
    without: frozenset[str] = frozenset()
    without_gradient: frozenset[str] = frozenset()
    make_keys: KeyMaker = field(default_factory=lambda: distinct_keys)
    tolerance: float = 1e-2

    def wide(self) -> "Trial":
        """The same trial in float64, where only a wrong formula makes a difference."""
        return replace(self, storage=copy.deepcopy(self.storage).double())

    def offers(self, verb: str) -> bool:
        """Whether the storage has this verb."""
        return verb not in self.without

    def generator(self, salt: int = 0) -> torch.Generator:
        """A generator of this trial's random numbers."""
        return torch.Generator().manual_seed(self.seed * 1000 + salt)

    def empty(self) -> Any:
        """A state with nothing in it."""
        return self.storage.initial_state(*self.batch)

    @property
    def dtype(self) -> torch.dtype:
        """Of values and strengths."""
        floating = [tensor.dtype for tensor in leaves(self.empty()) if tensor.is_floating_point()]
        return floating[0] if floating else torch.get_default_dtype()

    def distinct(self, count: int, salt: int = 0) -> Tensor:
        """Keys that the storage tells apart; the last is dissimilar to all others: ``(…, count, K)``."""
        keys = self.make_keys(self.storage, self.batch, count, self.generator(salt))
        return keys if self.storage.integer_keys else keys.to(self.dtype)

    def values(self, count: int, salt: int = 1) -> Tensor:
        """``(…, count, V)``, none near zero."""
        shape = (*self.batch, count, self.storage.value_size)
        return (torch.rand(shape, generator=self.generator(salt)) + 0.5).to(self.dtype)

    def sequence(self, count: int | None = None, salt: int = 2) -> Steps:
        """T steps over a few keys that come again, exactly or nearly, so that writes meet and erases bite."""
        count = self.steps if count is None else count
        generator = self.generator(salt)
        shape = (*self.batch, count)

        def strengths() -> Tensor:
            return (0.1 + 0.8 * torch.rand(shape, generator=generator)).to(self.dtype)

        return Steps(
            query=self._recurring(shape, generator),
            key=self._recurring(shape, generator),
            value=self.values(count, salt + 1),
            write_strength=strengths(),
            erase_strength=strengths() if self.offers("erase") else None,
            mask=None,
        )

    def _recurring(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        pool = 4
        chosen = torch.randint(0, pool, shape, generator=generator)
        width = self.storage.key_size
        if self.storage.integer_keys:
            return (chosen.unsqueeze(-1) * 31 + torch.arange(width)).contiguous()
        # The pool is a matter of the seed alone: pieces of one trial with other salts meet the same keys.
        centres = torch.randn(pool, width, generator=self.generator(99))
        noise = torch.randn(*shape, width, generator=generator)
        apart = torch.randint(0, 2, (*shape, 1), generator=generator)
        return (centres[chosen] + 0.3 * apart * noise).to(self.dtype)

    def pattern(self, count: int) -> Tensor:
        """The mask of a sequence, ``(count,)``."""
        circle = self.mask or (True,)
        return torch.tensor([circle[t % len(circle)] for t in range(count)], dtype=torch.bool)

    def pieces(self, count: int) -> Iterator[slice]:
        """The pieces that ``cuts`` makes of a sequence."""
        ends = [*sorted(min(cut, count) for cut in self.cuts), count]
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            yield slice(start, end)

    def used(self) -> Any:
        """A state that has been written to already, but not filled."""
        steps = self.sequence(2, salt=20)
        return self.storage.write(self.empty(), steps.key, steps.value, steps.write_strength)


def distinct_keys(storage: Storage, batch: tuple[int, ...], count: int, generator: torch.Generator) -> Tensor:
    """Orthogonal real keys as far as there are dimensions, or different integers.

    Beyond the number of dimensions, keys are random; the last is orthogonal to all others even then. All are
    long (norm 10), so that softmax over dot products tells them apart as softmax over cosines does.
    """
    width = storage.key_size
    if storage.integer_keys:
        first = torch.randperm(max(count * 7, 64), generator=generator)[:count] + 1
        keys = first.unsqueeze(-1) * 1009 + torch.arange(width) * 7
        return keys.expand(*batch, count, width).clone()
    if width < 2:
        raise ValueError("keys of width 1 are all alike: try the storage with a key_size of at least 4")
    basis, _ = torch.linalg.qr(torch.randn(*batch, width, width, generator=generator, dtype=torch.float64))
    if count <= width:
        return torch.mul(basis[..., :count, :], 10)
    mixed = torch.randn(*batch, count - 1, width - 1, generator=generator, dtype=torch.float64)
    others = torch.nn.functional.normalize(mixed @ basis[..., 1:, :], dim=-1)
    return torch.mul(torch.cat([others, basis[..., :1, :]], -2), 10)


def leaves(state: State) -> list[Tensor]:
    """All tensors of a state, in order."""
    found: list[Tensor] = []

    def visit(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    map_state(visit, state)
    return found
