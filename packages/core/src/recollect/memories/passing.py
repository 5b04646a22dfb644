"""How a graph memory passes messages: edge by edge, or by any convolution of PyTorch Geometric."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from recollect.memories.graph_state import Edges


def adjacency(edges: Edges, nodes: int) -> Tensor:
    """Who hears whom: sparse CSR ``(M, M)``, at (i, j) the number of edges between i and j, in any direction.

    Args:
        edges: L edges for each batch item; those that are not present do not count.
        nodes: Number N of places for nodes; the M = N · batch nodes of all batch items are numbered in turn.
    """
    present = edges.present.reshape(-1, edges.present.shape[-1])
    first = torch.arange(len(present), device=present.device).unsqueeze(-1) * nodes
    source, target = ((ends.reshape(present.shape) + first)[present] for ends in (edges.source, edges.target))
    size = len(present) * nodes
    both = torch.cat([source * size + target, target * size + source])
    places, count = torch.unique(both, return_counts=True)
    begin = torch.zeros(size + 1, dtype=torch.int64, device=places.device)
    begin[1:] = torch.bincount(places // size, minlength=size).cumsum(0)
    with _sparse():
        weights = count.to(edges.features.dtype)
        return torch.sparse_csr_tensor(begin, places % size, weights, (size, size), device=weights.device)


@contextmanager
def _sparse() -> Iterator[None]:
    """Torch warns of sparse CSR matrices: that they are new, and that nobody said whether to check them."""
    checked = torch.sparse.check_sparse_tensor_invariants(False)  # type: ignore[no-untyped-call]
    with warnings.catch_warnings(), checked:
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
        yield


class Convolved(nn.Module):
    """v ← convolution(p ⊙ v, edges) with presence p: what a node holds next, from all of its neighbourhood.

    Args:
        convolution: Called as ``convolution(x, adjacency)``, as PyTorch Geometric's layers are.
    """

    def __init__(self, convolution: nn.Module) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(
        self, values: Tensor, presence: Tensor, edges: Edges, active: Tensor, heard: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What each node holds next, and whether anybody speaks to it.

        Args:
            values: ``(…, N, V)``.
            presence: ``(…, N)``.
            edges: L edges.
            active: ``(…, L)`` bool; all that are present are heard, whichever it names.
            heard: As ``adjacency`` gives it, where it has been made before.

        Returns:
            ``(…, N, V)`` and ``(…, N)`` bool.

        Raises:
            ValueError: If the convolution gives another width.
        """
        heard = adjacency(edges, presence.shape[-1]) if heard is None else heard
        spoken = (values * presence.unsqueeze(-1).to(values.dtype)).reshape(-1, values.shape[-1])
        with _sparse():
            new = self.convolution(spoken, heard)
        if new.shape != spoken.shape:
            raise ValueError(
                f"the convolution must give width {values.shape[-1]} as the storage's values have, "
                f"got shape {tuple(new.shape)} for {tuple(spoken.shape)}"
            )
        told = heard.crow_indices().diff() > 0
        return new.reshape(values.shape), told.reshape(presence.shape)


def message_passing(
    convolution: nn.Module | None, node_size: int, model_size: int, relations: int
) -> nn.Module:
    """``Convolved`` where there is a convolution, else ``GatedMessages``.

    Raises:
        ValueError: If a convolution is to tell several relations apart.
        ImportError: If PyTorch Geometric is missing.
    """
    if convolution is not None:
        if relations > 1:
            raise ValueError(f"a convolution knows one type of edge, but relations is {relations}")
        return Convolved(convolution)
    try:
        from recollect.memories.messages import GatedMessages
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "torch_geometric":
            raise
        raise ImportError("GraphMemory needs PyTorch Geometric: pip install recollect[graph]") from error
    return GatedMessages(node_size, model_size, relations)
