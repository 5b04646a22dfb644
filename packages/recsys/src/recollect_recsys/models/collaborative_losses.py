"""Collaborative filtering losses."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

ClickLoss = Literal["softmax", "bpr"]


def softmax_loss(users: Tensor, items: Tensor, seen: Tensor, negatives: Tensor | None = None) -> Tensor:
    """Mean over clicks (u, i) of −log(e^{s_ui} / Σ_j e^{s_uj}), s = x_u · z_i.

    With ``negatives``, drawn evenly, the sum is e^{s_ui} and I times their mean (sampled softmax).

    Args:
        users: ``(B, D)``.
        items: ``(I + 1, D)``; number 0 is no item.
        seen: ``(B, S)`` int64, 0 where there is none.
        negatives: ``(m,)`` int64; all items by default.
    """
    there = seen > 0
    row = there.nonzero()[:, 0]
    if negatives is None:
        scores = users @ items[1:].T
        own = scores[row, seen[there] - 1]
        return (scores.logsumexp(1)[row] - own).mean()
    own = (users[row] * items[seen[there]]).sum(1)
    others = (users @ items[negatives].T).logsumexp(1) + math.log((len(items) - 1) / len(negatives))
    return (torch.logaddexp(others[row], own) - own).mean()


def bpr_loss(users: Tensor, items: Tensor, seen: Tensor) -> Tensor:
    """Mean over clicks (u, i) of −log σ(s_ui − s_uj), j drawn evenly of all items.

    Bayesian personalised ranking (Rendle et al. 2009, arXiv:1205.2618). A draw that the user has is left in,
    as in PyTorch Geometric's example.

    Args:
        users: ``(B, D)``.
        items: ``(I + 1, D)``; number 0 is no item.
        seen: ``(B, S)`` int64, 0 where there is none.
    """
    there = seen > 0
    row, own = there.nonzero()[:, 0], seen[there]
    drawn = torch.randint(1, len(items), own.shape, device=own.device)
    return F.softplus((users[row] * (items[drawn] - items[own])).sum(1)).mean()
