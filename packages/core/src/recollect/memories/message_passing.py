"""Message passing along typed edges, with PyTorch Geometric (extra ``graph``)."""

import warnings

import torch
from torch import Tensor, nn

from recollect.memories.graph_state import Edges

with warnings.catch_warnings():
    # PyG 2.8 calls torch.jit.script on import, which torch has deprecated.
    warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
    from torch_geometric.nn import MessagePassing  # type: ignore[import-untyped]

__all__ = ["GatedMessagePassing", "MessagePassing", "RelationalMessagePassing"]


class RelationalMessagePassing(MessagePassing):  # type: ignore[misc]  # PyG is untyped
    """m_i = 1/|E_i| Σ_{e: j→i} p_j (W_r v_j + U v_i + F x_e + b_r), over the edges E_i at node i.

    The identity message of temporal graph networks (Rossi et al. 2020, arXiv:2006.10637, section 3.1) with
    their mean aggregator and one linear map per relation r, as in relational graph convolutions
    (Schlichtkrull et al. 2018, arXiv:1703.06103). Each edge sends a message to both of its ends, with
    different W_r in either direction. p_j is the presence of node j, so that a half-erased node sends
    messages of half the strength.

    Args:
        node_size: Width V of a node's value.
        model_size: Width D of messages and edge features.
        relations: Number R of edge types.
    """

    def __init__(self, node_size: int, model_size: int, relations: int) -> None:
        super().__init__(aggr="sum")
        self.relations = relations
        scale = node_size**-0.5
        self.relation_weight = nn.Parameter(
            torch.empty(2 * relations, node_size, model_size).uniform_(-scale, scale)
        )
        self.relation_bias = nn.Parameter(torch.zeros(2 * relations, model_size))
        self.target_proj = nn.Linear(node_size, model_size, bias=False)
        self.edge_proj = nn.Linear(model_size, model_size, bias=False)

    def forward(
        self, values: Tensor, presence: Tensor, edges: Edges, active: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the mean message to each node, and whether it gets any.

        Args:
            values: ``(…, N, V)``.
            presence: ``(…, N)``.
            edges: L edges.
            active: ``(…, L)`` bool, which of them send messages.

        Returns:
            ``(…, N, D)`` and ``(…, N)`` bool.
        """
        batch, nodes = presence.shape[:-1], presence.shape[-1]
        kinds = 2 * self.relations
        flat = values.reshape(-1, nodes, values.shape[-1])
        first = torch.arange(len(flat), device=values.device).unsqueeze(-1) * nodes
        senders = torch.cat([edges.source, edges.target], -1).reshape(len(flat), -1) + first
        receivers = torch.cat([edges.target, edges.source], -1).reshape(len(flat), -1) + first
        kind = torch.cat([edges.relation, edges.relation + self.relations], -1).reshape(len(flat), -1)
        # Every node's message for every relation and direction: (B, N, 2R, D).
        outgoing = torch.einsum("bnv,rvd->bnrd", flat, self.relation_weight) + self.relation_bias
        sent = torch.cat([active, active], -1).reshape(-1, 1).to(flat.dtype)
        extra = self.edge_proj(edges.features)
        total = self.propagate(
            torch.stack([(senders * kinds + kind).flatten(), receivers.flatten()]),
            size=(len(flat) * nodes * kinds, len(flat) * nodes),
            x=(outgoing.flatten(0, 2), self.target_proj(flat).flatten(0, 1)),
            extra=torch.cat([extra, extra], -2).reshape(-1, extra.shape[-1]),
            strength=sent * presence.reshape(-1, 1)[senders.flatten()].to(flat.dtype),
            sent=sent,
        ).reshape(*batch, nodes, -1)
        return total[..., :-1] / total[..., -1:].clamp_min(1), total[..., -1] > 0

    def message(self, x_j: Tensor, x_i: Tensor, extra: Tensor, strength: Tensor, sent: Tensor) -> Tensor:
        """The message of each edge, with a 1 appended that counts the messages."""
        return torch.cat([strength * (x_j + x_i + extra), sent.to(x_j.dtype)], -1)


class GatedMessagePassing(nn.Module):
    """v_i ← GRU(m_i, v_i), with the mean message m_i (Rossi et al. 2020, arXiv:2006.10637, section 3.1).

    Args:
        node_size: Width V of a node's value.
        model_size: Width D of messages and edge features.
        relations: Number R of edge types.
    """

    def __init__(self, node_size: int, model_size: int, relations: int) -> None:
        super().__init__()
        self.messages = RelationalMessagePassing(node_size, model_size, relations)
        self.update_cell = nn.GRUCell(model_size, node_size)

    def forward(
        self, values: Tensor, presence: Tensor, edges: Edges, active: Tensor, adjacency_matrix: None = None
    ) -> tuple[Tensor, Tensor]:
        """Return each node's next value ``(…, N, V)``, and whether it gets a message ``(…, N)`` bool.

        Arguments as in ``RelationalMessagePassing``; ``adjacency_matrix`` is for convolutions.

        Raises:
            ValueError: If ``adjacency_matrix`` is given.
        """
        if adjacency_matrix is not None:
            raise ValueError(
                "adjacency_matrix is for a memory with a convolution; messages go along the edges themselves"
            )
        messages, has_message = self.messages(values, presence, edges, active)
        new = self.update_cell(messages.reshape(-1, messages.shape[-1]), values.reshape(-1, values.shape[-1]))
        return new.reshape(values.shape), has_message
