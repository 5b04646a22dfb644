"""Links between entries as a matrix of weights."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from recollect.state import register_state

NEGLIGIBLE = 1e-12
"""Weight up to which nothing passes through an entry any more: too little to divide by."""


@register_state
class LinkMatrix(NamedTuple):
    """Every entry's link to every other one: the temporal link matrix of the DNC.

    L[i, j] is the degree to which entry i comes right after entry j, and p[j] that to which j is the last.
    What leaves an entry, Σ_i L[i, j] + p[j], is its presence at most, and what arrives, Σ_j L[i, j], is no
    more than that. Links never form a circle: an entry stands behind those it was linked after and before
    those that followed them.

    Attributes:
        weights: ``(…, N, N)``, L.
        precedence: ``(…, N)``, p.
    """

    weights: Tensor
    precedence: Tensor

    def unlink(self, slot: Tensor, mask: Tensor) -> "LinkMatrix":
        """Take entries ``slot`` (…, 1) out where ``mask`` (…, 1), joining their neighbours."""
        weights, precedence = self._wide()
        row = weights.take_along_dim(slot.unsqueeze(-1), -2).squeeze(-2)
        column = weights.take_along_dim(slot.unsqueeze(-2), -1).squeeze(-1)
        last = precedence.gather(-1, slot)
        through = torch.maximum(row.sum(-1, keepdim=True), column.sum(-1, keepdim=True) + last)
        share = row * inverse(through) * mask
        weights = weights + column.unsqueeze(-1) * share.unsqueeze(-2)
        at = places(slot, precedence.shape[-1]) & mask
        weights = weights.masked_fill(at.unsqueeze(-1) | at.unsqueeze(-2), 0)
        return self._like(weights, (precedence + last * share).masked_fill(at, 0))

    def attach(self, slot: Tensor, strength: Tensor, after: Tensor, given: Tensor) -> "LinkMatrix":
        """Link unlinked entries ``slot`` after ``after`` where ``given``, else after the last; all (…, 1).

        After the last, as in the DNC: L[i, :] = s · p, then p ← (1 − s) p + s e_i. After a given entry a, the
        new one takes s of everything that left a, and that much leads from a to it.
        """
        weights, precedence = self._wide()
        strength = strength.to(weights.dtype)
        at = places(slot, precedence.shape[-1]).to(weights.dtype)
        behind = (places(after, precedence.shape[-1]) & given).to(weights.dtype)
        followers = weights.take_along_dim(after.unsqueeze(-2), -1).squeeze(-1) * given
        last = precedence.gather(-1, after) * given
        leaving = followers.sum(-1, keepdim=True) + last
        row = strength * torch.where(given, leaving * behind, precedence)
        weights = weights + (strength * followers).unsqueeze(-1) * (at - behind).unsqueeze(-2)
        weights = weights + at.unsqueeze(-1) * row.unsqueeze(-2)
        appended = (1 - strength) * precedence + strength * at
        inserted = precedence + strength * last * (at - behind)
        return self._like(weights, torch.where(given, inserted, appended))

    def splice(self, erased: Tensor) -> "LinkMatrix":
        """Take every entry out to the degrees ``erased`` (…, E, N), one after the other.

        With e = 1 − Π (1 − erased), and D = diag(e / what passes through), each path through erased entries
        becomes a link: L ← (1 − e) L (I − D L)^{-1} (1 − e), for rows and columns. The inverse is a finite
        sum over paths, since links form no circle, and the order of the E erasures does not matter.
        """
        left = (1 - erased).prod(-2)
        weights, precedence = self._wide()
        through = torch.maximum(weights.sum(-1), weights.sum(-2) + precedence)
        passed = ((1 - left) * inverse(through)).unsqueeze(-1) * weights
        both = torch.cat([weights, precedence.unsqueeze(-2)], -2)
        one = torch.eye(weights.shape[-1], device=weights.device, dtype=weights.dtype)
        with torch.autocast(weights.device.type, enabled=False):
            joined = torch.linalg.solve(one - passed, both, left=False)
        joined = joined * left.unsqueeze(-2)
        return self._like(joined[..., :-1, :] * left.unsqueeze(-1), joined[..., -1, :])

    def move(self, weights: Tensor, forward: bool) -> Tensor:
        """Weights (…, Q, N) one link on, L w, or back, Lᵀ w."""
        return weights.to(self.weights.dtype) @ (self.weights.mT if forward else self.weights)

    def previous(self) -> Tensor:
        """The entry that each is linked after most, (…, N) int64; −1 for none."""
        most, index = self.weights.max(-1)
        return index.masked_fill(most <= 0, -1)

    def _wide(self) -> tuple[Tensor, Tensor]:
        wide = torch.promote_types(self.weights.dtype, torch.float32)
        return self.weights.to(wide), self.precedence.to(wide)

    def _like(self, weights: Tensor, precedence: Tensor) -> "LinkMatrix":
        return LinkMatrix(weights.to(self.weights.dtype), precedence.to(self.precedence.dtype))


def no_link_matrix(batch: tuple[int, ...], slots: int, **new: Any) -> LinkMatrix:
    """N entries without links; ``new`` says of what dtype and where."""
    return LinkMatrix(torch.zeros(*batch, slots, slots, **new), torch.zeros(*batch, slots, **new))


def places(slot: Tensor, size: int) -> Tensor:
    """Which of ``size`` places ``slot`` (…, 1) is: (…, N) bool."""
    return torch.arange(size, device=slot.device) == slot


def inverse(weight: Tensor) -> Tensor:
    """1 / weight, and 0 where that is negligible, with a gradient that is finite there too."""
    passes = weight > NEGLIGIBLE
    return torch.where(passes, 1 / torch.where(passes, weight, 1), 0)
