"""Parts of a memory network: projections, hops, the relation network and the controller."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, TypeVar, cast, final

import torch
from torch import Tensor, nn

from recollect.storages.base import Storage
from recollect.storages.slot import SlotStorage

T = TypeVar("T")
Controller = Literal["none", "gru", "lstm"]
Tie = Literal["layer", "adjacent", "none"]


class Hop(nn.Module, ABC):
    """The update u_{k+1} = hop(u_k, o_k) of the query u by what it read, o."""

    @abstractmethod
    def forward(self, query: Tensor, read: Tensor) -> Tensor:
        """Return the next query ``(…, D)``, given the query and what it read, each ``(…, D)``."""


@final
class AddHop(Hop):
    """u_{k+1} = H u_k + o_k (Sukhbaatar et al. 2015, arXiv:1503.08895, eq. 4 and section 2.2).

    Args:
        size: Width D.

    Example:
        >>> AddHop(4)(torch.ones(2, 4), torch.ones(2, 4)).shape
        torch.Size([2, 4])
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.proj = nn.Linear(size, size, bias=False)
        nn.init.eye_(self.proj.weight)

    def forward(self, query: Tensor, read: Tensor) -> Tensor:
        """Return the next query."""
        projected: Tensor = self.proj(query)
        return projected + read


@final
class GatedHop(Hop):
    """u_{k+1} = o_k ⊙ T + u_k ⊙ (1 − T), T = σ(W u_k + b) (Liu & Perez 2017, arXiv:1610.04211, eqs. 6–7).

    Args:
        size: Width D.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.gate = nn.Linear(size, size)

    def forward(self, query: Tensor, read: Tensor) -> Tensor:
        """Return the next query."""
        gate: Tensor = self.gate(query).sigmoid()
        return read * gate + query * (1 - gate)


@final
class MlpHop(Hop):
    """u_{k+1} = norm(u_k + o_k + W_2 relu(W_1 [u_k; o_k])).

    The update of Working Memory Networks (Pavez et al. 2018, arXiv:1805.09354, section 3.1) with the residual
    connection and layer normalisation of the Transformer.

    Args:
        size: Width D.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        last = nn.Linear(2 * size, size)
        self.mlp = nn.Sequential(nn.Linear(2 * size, 2 * size), nn.ReLU(), last)
        self.norm = nn.LayerNorm(size)
        # Start near u + o, so that the next hop looks up what was just read.
        with torch.no_grad():
            last.weight.mul_(0.3)

    def forward(self, query: Tensor, read: Tensor) -> Tensor:
        """Return the next query."""
        following: Tensor = self.norm(query + read + self.mlp(torch.cat([query, read], -1)))
        return following


HOPS: dict[str, type[Hop]] = {"add": AddHop, "gated": GatedHop, "mlp": MlpHop}


@final
class RelationNetwork(nn.Module):
    """Σ_{i<j} g([o_i; o_j; q]) over all pairs of vectors o.

    Relation Networks (Santoro et al. 2017, arXiv:1706.01427, eq. 1), applied to the few vectors in working
    memory instead of every pair of sentences (Pavez et al. 2018, arXiv:1805.09354, section 3.2).

    Args:
        size: Width D.

    Raises:
        ValueError: If ``forward`` is given fewer than two vectors.

    Example:
        >>> RelationNetwork(4)(torch.randn(2, 3, 4), torch.randn(2, 4)).shape
        torch.Size([2, 4])
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in (3 * size, size, size):
            layers += [nn.Linear(width, size), nn.ReLU()]
        self.mlp = nn.Sequential(*layers)

    def forward(self, objects: Tensor, query: Tensor) -> Tensor:
        """Relate ``objects`` ``(…, n, D)`` given ``query`` ``(…, D)``: ``(…, D)``."""
        count = objects.shape[-2]
        if count < 2:
            raise ValueError(f"a relation needs at least two vectors, got {count}")
        i, j = torch.triu_indices(count, count, 1, device=objects.device)
        query = query.unsqueeze(-2).expand(*query.shape[:-1], len(i), query.shape[-1])  # (…, pairs, D)
        related: Tensor = self.mlp(torch.cat([objects[..., i, :], objects[..., j, :], query], -1)).sum(-2)
        return related


def check_arguments(storage: Storage, hops: int, heads: int, tie: str, hop: str, temporal: bool) -> None:
    """Check the arguments of a ``MemoryNetwork``.

    Raises:
        ValueError: If one is out of range or does not fit the storage.
    """
    if hops < 1 or heads < 1:
        raise ValueError(f"hops and heads must be at least 1, got {hops} and {heads}")
    if temporal and not isinstance(storage, SlotStorage):
        raise ValueError(
            "temporal=True needs a SlotStorage, which keeps entries apart, to erase an item of any time; "
            f"{type(storage).__name__} is none"
        )
    for name, value, options in (("tie", tie, ("layer", "adjacent", "none")), ("hop", hop, tuple(HOPS))):
        if value not in options:
            raise ValueError(f"{name} must be one of {', '.join(options)}, got {value!r}")


def controller_cell(kind: Controller, size: int) -> nn.GRUCell | nn.LSTMCell | None:
    """Make a cell whose input [x; c] has width 2D, or ``None`` for a controller that passes x on.

    Raises:
        ValueError: If ``kind`` is unknown.
    """
    match kind:
        case "none":
            return None
        case "gru":
            return nn.GRUCell(2 * size, size)
        case "lstm":
            return nn.LSTMCell(2 * size, size)
    raise ValueError(f"controller must be one of none, gru, lstm, got {kind!r}")


def run_controller(
    controller: nn.GRUCell | nn.LSTMCell, x: Tensor, context: Tensor, hidden: Tensor, cell: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the next hidden state and cell state ``(…, D)``; a GRU does not change the cell state."""
    inputs = torch.cat([x, context], -1)
    inputs, flat, flat_cell = (item.reshape(-1, item.shape[-1]) for item in (inputs, hidden, cell))
    if isinstance(controller, nn.LSTMCell):
        flat, flat_cell = controller(inputs, (flat, flat_cell))
    else:
        flat = controller(inputs, flat)
    return flat.reshape(hidden.shape), flat_cell.reshape(cell.shape)


def entry_projections(
    size: int, heads: int, storage: Storage, hops: int, tie: Tie
) -> tuple[nn.ModuleList, nn.ModuleList]:
    """Make A and C, the linear maps from width D to the keys and values of H heads, one pair per store.

    Raises:
        ValueError: If ``tie="adjacent"`` and the widths of keys and values differ.
    """
    keys, values = storage.key_size, storage.value_size
    if tie == "adjacent":
        if keys != values:
            raise ValueError(f'tie="adjacent" needs equal key and value widths, got {keys} and {values}')
        shared = [nn.Linear(size, heads * keys) for _ in range(hops + 1)]
        return nn.ModuleList(shared[:-1]), nn.ModuleList(shared[1:])
    count = 1 if tie == "layer" else hops
    return (
        nn.ModuleList(nn.Linear(size, heads * keys) for _ in range(count)),
        nn.ModuleList(nn.Linear(size, heads * values) for _ in range(count)),
    )


@torch.no_grad()
def init_content_addressing(
    key_proj: nn.ModuleList, value_proj: nn.ModuleList, query_proj: nn.ModuleList, read_proj: nn.ModuleList
) -> None:
    """Initialise A and C orthogonally, Q = A and T = Cᵀ: a query finds what resembles it, and reads that."""
    for layer in (*key_proj, *value_proj):
        nn.init.orthogonal_(cast(nn.Linear, layer).weight)
    for k, (query, read) in enumerate(zip(query_proj, read_proj, strict=True)):
        cast(nn.Linear, query).weight.copy_(cast(nn.Linear, of_hop(list(key_proj), k)).weight)
        cast(nn.Linear, read).weight.copy_(cast(nn.Linear, of_hop(list(value_proj), k)).weight.T)
    for layer in (*key_proj, *value_proj, *query_proj, *read_proj):
        nn.init.zeros_(cast(nn.Linear, layer).bias)


def of_hop(items: Sequence[T], k: int) -> T:
    """Return the item of hop k, or the single item that all hops share."""
    return items[k] if len(items) > 1 else items[0]
