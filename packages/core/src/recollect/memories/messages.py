"""Messages along typed edges, passed by PyTorch Geometric (extra ``graph``)."""

import warnings

import torch
from torch import Tensor, nn

from recollect.memories.graph_state import Edges

with warnings.catch_warnings():
    # PyG 2.8 scripts some functions of its own while it is imported, which torch has deprecated.
    warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
    from torch_geometric.nn import MessagePassing  # type: ignore[import-untyped]

__all__ = ["GatedMessages", "MessagePassing", "RelationalMessages"]


class RelationalMessages(MessagePassing):  # type: ignore[misc]  # PyG is untyped
    """m_i = 1/|E_i| Σ_{e: j→i} p_j (W_r v_j + U v_i + F x_e + b_r), over the edges E_i at node i.

    The identity message of temporal graph networks (Rossi et al. 2020, arXiv:2006.10637, section 3.1) with
    their mean aggregator, under one linear map for each relation r as in relational graph convolutions
    (Schlichtkrull et al. 2018, arXiv:1703.06103). Each edge speaks to both its ends: to the target with W_r,
    to the source with a W of its own. p_j is the presence of node j: one half erased speaks at half strength.

    Args:
        node_size: Width V of what a node holds.
        model_size: Width D of messages and of an edge's features.
        relations: Number R of edge types.
    """

    def __init__(self, node_size: int, model_size: int, relations: int) -> None:
        super().__init__(aggr="sum")
        self.relations = relations
        scale = node_size**-0.5
        self.tell = nn.Parameter(torch.empty(2 * relations, node_size, model_size).uniform_(-scale, scale))
        self.bias = nn.Parameter(torch.zeros(2 * relations, model_size))
        self.hear = nn.Linear(node_size, model_size, bias=False)
        self.features = nn.Linear(model_size, model_size, bias=False)

    def forward(
        self, values: Tensor, presence: Tensor, edges: Edges, active: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The mean message that each node gets, and whether it gets any.

        Args:
            values: ``(…, N, V)``.
            presence: ``(…, N)``.
            edges: L edges.
            active: ``(…, L)`` bool, which of them speak.

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
        spoken = torch.einsum("bnv,rvd->bnrd", flat, self.tell) + self.bias
        speaking = torch.cat([active, active], -1).reshape(-1, 1).to(flat.dtype)
        extra = self.features(edges.features)
        total = self.propagate(
            torch.stack([(senders * kinds + kind).flatten(), receivers.flatten()]),
            size=(len(flat) * nodes * kinds, len(flat) * nodes),
            x=(spoken.flatten(0, 2), self.hear(flat).flatten(0, 1)),
            extra=torch.cat([extra, extra], -2).reshape(-1, extra.shape[-1]),
            strength=speaking * presence.reshape(-1, 1)[senders.flatten()].to(flat.dtype),
            speaking=speaking,
        ).reshape(*batch, nodes, -1)
        return total[..., :-1] / total[..., -1:].clamp_min(1), total[..., -1] > 0

    def message(self, x_j: Tensor, x_i: Tensor, extra: Tensor, strength: Tensor, speaking: Tensor) -> Tensor:
        """One message an edge, and a 1 beside it to count them by."""
        return torch.cat([strength * (x_j + x_i + extra), speaking.to(x_j.dtype)], -1)


class GatedMessages(nn.Module):
    """v_i ← GRU(m_i, v_i): the mean message is taken in by a gated cell (Rossi et al. 2020, section 3.1).

    Args:
        node_size: Width V of what a node holds.
        model_size: Width D of messages and of an edge's features.
        relations: Number R of edge types.
    """

    def __init__(self, node_size: int, model_size: int, relations: int) -> None:
        super().__init__()
        self.messages = RelationalMessages(node_size, model_size, relations)
        self.take_in = nn.GRUCell(model_size, node_size)

    def forward(
        self, values: Tensor, presence: Tensor, edges: Edges, active: Tensor, heard: None = None
    ) -> tuple[Tensor, Tensor]:
        """What each node holds next ``(…, N, V)``, and whether it gets a message ``(…, N)`` bool.

        Arguments as in ``RelationalMessages``. ``heard`` is for convolutions.

        Raises:
            ValueError: If ``heard`` is given.
        """
        if heard is not None:
            raise ValueError(
                "heard is for a memory with a convolution; messages go along the edges themselves"
            )
        messages, told = self.messages(values, presence, edges, active)
        new = self.take_in(messages.reshape(-1, messages.shape[-1]), values.reshape(-1, values.shape[-1]))
        return new.reshape(values.shape), told
