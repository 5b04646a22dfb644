"""Updates of a graph's nodes by gated messages, or by a convolution of PyTorch Geometric."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from recollect.memories.graph_state import Edges


def adjacency(edges: Edges, nodes: int) -> Tensor:
    """Adjacency matrix: sparse CSR ``(M, M)``, the number of edges between i and j, in either direction.

    Args:
        edges: L edges per batch item.
        nodes: Number N of slots for nodes; the M = batch · N nodes of all batch items are numbered in turn.
    """
    present = edges.present.reshape(-1, edges.present.shape[-1])
    first = torch.arange(len(present), device=present.device).unsqueeze(-1) * nodes
    source, target = ((ends.reshape(present.shape) + first)[present] for ends in (edges.source, edges.target))
    size = len(present) * nodes
    both = torch.cat([source * size + target, target * size + source])
    pairs, count = torch.unique(both, return_counts=True)
    begin = torch.zeros(size + 1, dtype=torch.int64, device=pairs.device)
    begin[1:] = torch.bincount(pairs // size, minlength=size).cumsum(0)
    with _no_sparse_warnings():
        weights = count.to(edges.features.dtype)
        return torch.sparse_csr_tensor(begin, pairs % size, weights, (size, size), device=weights.device)


@contextmanager
def _no_sparse_warnings() -> Iterator[None]:
    """Silence torch's warnings that sparse CSR is in beta and that invariants are not checked."""
    checked = torch.sparse.check_sparse_tensor_invariants(False)  # type: ignore[no-untyped-call]
    with warnings.catch_warnings(), checked:
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
        yield


class GraphConvolution(nn.Module):
    """v ← convolution(p ⊙ v, adjacency), with presence p.

    Args:
        convolution: Called as ``convolution(x, adjacency)``, as PyTorch Geometric's layers are.
    """

    def __init__(self, convolution: nn.Module) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(
        self,
        values: Tensor,
        presence: Tensor,
        edges: Edges,
        active: Tensor,
        adjacency_matrix: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return each node's next value, and whether it has any edges.

        Args:
            values: ``(…, N, V)``.
            presence: ``(…, N)``.
            edges: L edges.
            active: ``(…, L)`` bool; ignored, since all present edges count.
            adjacency_matrix: As returned by ``adjacency``, if it has been computed before.

        Returns:
            ``(…, N, V)`` and ``(…, N)`` bool.

        Raises:
            ValueError: If the convolution changes the width.
        """
        if adjacency_matrix is None:
            adjacency_matrix = adjacency(edges, presence.shape[-1])
        inputs = (values * presence.unsqueeze(-1).to(values.dtype)).reshape(-1, values.shape[-1])
        with _no_sparse_warnings():
            new = self.convolution(inputs, adjacency_matrix)
        if new.shape != inputs.shape:
            raise ValueError(
                f"the convolution must return width {values.shape[-1]}, that of the storage's values, "
                f"got shape {tuple(new.shape)} for {tuple(inputs.shape)}"
            )
        has_edges = adjacency_matrix.crow_indices().diff() > 0
        return new.reshape(values.shape), has_edges.reshape(presence.shape)


def node_update(convolution: nn.Module | None, node_size: int, model_size: int, relations: int) -> nn.Module:
    """Make a ``GraphConvolution`` if there is a convolution, else ``GatedMessagePassing``.

    Raises:
        ValueError: If there is a convolution and more than one relation.
        ImportError: If PyTorch Geometric is missing.
    """
    if convolution is not None:
        if relations > 1:
            raise ValueError(f"a convolution takes one type of edge, but relations is {relations}")
        return GraphConvolution(convolution)
    try:
        from recollect.memories.message_passing import GatedMessagePassing
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "torch_geometric":
            raise
        raise ImportError("GraphMemory needs PyTorch Geometric: pip install recollect[graph]") from error
    return GatedMessagePassing(node_size, model_size, relations)
