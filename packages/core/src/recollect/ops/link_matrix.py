"""The temporal link matrix of the Differentiable Neural Computer."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from recollect.ops.indexing import any_slot, scatter_rows
from recollect.ops.inspection import can_inspect
from recollect.ops.products import add_product, product
from recollect.state import register_state

NEGLIGIBLE = 1e-12
"""Weight below which an entry counts as unlinked, since it is too small to divide by."""


@register_state
class LinkMatrix(NamedTuple):
    """Links between all pairs of N entries (Graves et al. 2016, Nature 538:471).

    L[i, j] is the degree to which entry i comes right after entry j, and p[j] the degree to which j is the
    last entry. The outgoing weight of an entry, Σ_i L[i, j] + p[j], is at most its presence, and the incoming
    weight, Σ_j L[i, j], is at most that. Links form no cycle.

    Attributes:
        weights: ``(…, N, N)``, L.
        precedence: ``(…, N)``, p.
    """

    weights: Tensor
    precedence: Tensor

    def remove(self, slot: Tensor, mask: Tensor) -> "LinkMatrix":
        """Remove entries ``slot`` ``(…, 1)`` where ``mask`` ``(…, 1)`` is true, and join their neighbours."""
        weights, precedence = self._wide()
        row = weights.take_along_dim(slot.unsqueeze(-1), -2).squeeze(-2)
        column = weights.take_along_dim(slot.unsqueeze(-2), -1).squeeze(-1)
        last = precedence.gather(-1, slot)
        through = torch.maximum(row.sum(-1, keepdim=True), column.sum(-1, keepdim=True) + last)
        share = row * safe_reciprocal(through) * mask
        weights = weights + column.unsqueeze(-1) * share.unsqueeze(-2)
        at = slot_mask(slot, precedence.shape[-1]) & mask
        weights = weights.masked_fill(at.unsqueeze(-1) | at.unsqueeze(-2), 0)
        return self._like(weights, (precedence + last * share).masked_fill(at, 0))

    def remove_all(self, slots: Tensor, mask: Tensor) -> "LinkMatrix":
        """Remove entries ``slots`` ``(…, W)`` where ``mask`` ``(…, W)`` is true, as ``remove`` does in turn.

        Paths through removed entries become links, as in ``erase``, by a system of W equations.
        """
        weights, precedence = self._wide()
        both = torch.cat([weights, precedence.unsqueeze(-2)], -2)  # (…, N + 1, N)
        rows = weights.take_along_dim(slots.unsqueeze(-1), -2)  # (…, W, N)
        columns = both.take_along_dim(slots.unsqueeze(-2), -1)  # (…, N + 1, W)
        through = torch.maximum(rows.sum(-1), columns.sum(-2))
        passed = (safe_reciprocal(through) * mask).unsqueeze(-1) * rows
        one = torch.eye(slots.shape[-1], device=slots.device, dtype=weights.dtype)
        with torch.autocast(weights.device.type, enabled=False):
            inside = passed.take_along_dim(slots.unsqueeze(-2), -1)  # (…, W, W)
            both = both + columns @ torch.linalg.solve(one - inside, passed)
        gone = any_slot(slots, mask, precedence.shape[-1])
        weights = both[..., :-1, :].masked_fill(gone.unsqueeze(-1) | gone.unsqueeze(-2), 0)
        return self._like(weights, both[..., -1, :].masked_fill(gone, 0))

    def append_all(self, slots: Tensor, strength: Tensor, mask: Tensor) -> "LinkMatrix":
        """Insert unlinked entries ``slots`` ``(…, W)`` at the end in order, as ``insert`` does in turn.

        Args:
            slots: ``(…, W)`` int64, without repeats among the unmasked.
            strength: ``(…, W)``.
            mask: ``(…, W)`` bool.
        """
        weights, precedence = self._wide()
        strength = strength.to(weights.dtype) * mask
        last = precedence_after(precedence, slots, strength)  # (…, W + 1, N)
        rows = strength.unsqueeze(-1) * last[..., :-1, :]
        return self._like(scatter_rows(weights, rows, slots, mask), last[..., -1, :])

    def insert(self, slot: Tensor, strength: Tensor, after: Tensor, given: Tensor) -> "LinkMatrix":
        """Insert unlinked entries ``slot`` after ``after`` where ``given``, else at the end; all ``(…, 1)``.

        At the end it is the DNC's update: L[i, :] = s · p, then p ← (1 − s) p + s e_i. After a given entry a,
        the new entry takes over the share s of the outgoing weight of a, and is linked after a by that much.
        """
        weights, precedence = self._wide()
        strength = strength.to(weights.dtype)
        at = slot_mask(slot, precedence.shape[-1]).to(weights.dtype)
        behind = (slot_mask(after, precedence.shape[-1]) & given).to(weights.dtype)
        followers = weights.take_along_dim(after.unsqueeze(-2), -1).squeeze(-1) * given
        last = precedence.gather(-1, after) * given
        leaving = followers.sum(-1, keepdim=True) + last
        row = strength * torch.where(given, leaving * behind, precedence)
        weights = weights + (strength * followers).unsqueeze(-1) * (at - behind).unsqueeze(-2)
        weights = weights + at.unsqueeze(-1) * row.unsqueeze(-2)
        appended = (1 - strength) * precedence + strength * at
        inserted = precedence + strength * last * (at - behind)
        return self._like(weights, torch.where(given, inserted, appended))

    def replace(self, slot: Tensor, strength: Tensor, mask: Tensor) -> "LinkMatrix":
        """Remove entries ``slot`` where ``mask`` is true, and insert new ones at the end; all ``(…, 1)``.

        The same as ``remove`` and ``insert``, as one change of rank 3 to the matrix.
        """
        weights, precedence = self._wide()
        at = (slot_mask(slot, precedence.shape[-1]) & mask).to(weights.dtype)  # zero where masked
        with torch.autocast(weights.device.type, enabled=False):
            row = product(at.unsqueeze(-2), weights).squeeze(-2)
            column = product(weights, at.unsqueeze(-1)).squeeze(-1)
            last = (precedence * at).sum(-1, keepdim=True)
            through = torch.maximum(row.sum(-1, keepdim=True), column.sum(-1, keepdim=True) + last)
            share = row * safe_reciprocal(through)
            joined = torch.addcmul(precedence, last, share) * (1 - at)
            strength = strength.to(weights.dtype)
            change = (
                torch.stack([column, at, -column], -1),
                torch.stack([share, strength * joined - row, at], -2),
            )
            # A number less itself is exactly zero, so that the column and the diagonal are.
            return self._like(add_product(weights, *change), joined + strength * (at - joined))

    def append(self, weights: Tensor) -> "LinkMatrix":
        """Link entries after the last ones by a soft write with weights w ``(…, N)``, as the DNC does.

        L[i, j] ← (1 − w[i] − w[j]) L[i, j] + w[i] p[j] for i ≠ j; p ← (1 − Σ w) p + w, Σ w ≤ 1.
        """
        links, precedence = self._wide()
        w = weights.to(links.dtype)
        left = (1 - w.unsqueeze(-1) - w.unsqueeze(-2)).clamp_min(0)
        links = left * links + w.unsqueeze(-1) * precedence.unsqueeze(-2)
        itself = torch.eye(w.shape[-1], dtype=torch.bool, device=w.device)
        last = (1 - w.sum(-1, keepdim=True)).clamp_min(0) * precedence + w
        return self._like(links.masked_fill(itself, 0), last)

    def erase(self, erased: Tensor, touched: Tensor | None = None) -> "LinkMatrix":
        """Erase every entry to the degrees ``erased`` ``(…, E, N)``, one after the other.

        With e = 1 − Π (1 − erased) and D = diag(e / throughput), each path through erased entries becomes a
        link: L ← (1 − e) L (I − D L)^{-1} (1 − e), for rows and columns. The inverse is a finite sum over
        paths, since links form no cycle, and the order of the E erasures does not matter.

        Args:
            erased: ``(…, E, N)`` in [0, 1].
            touched: ``(…, N)`` bool, false for entries that keep all their weight and need no gradient. On
                CPU the inverse is then that of a matrix of the touched entries, by the Woodbury identity.
        """
        if touched is not None and can_inspect(touched):
            return self._erase_few(erased, touched)
        left = (1 - erased).prod(-2)
        weights, precedence = self._wide()
        through = torch.maximum(weights.sum(-1), weights.sum(-2) + precedence)
        passed = ((1 - left) * safe_reciprocal(through)).unsqueeze(-1) * weights
        both = torch.cat([weights, precedence.unsqueeze(-2)], -2)
        one = torch.eye(weights.shape[-1], device=weights.device, dtype=weights.dtype)
        with torch.autocast(weights.device.type, enabled=False):
            joined = torch.linalg.solve(one - passed, both, left=False)
        joined = joined * left.unsqueeze(-2)
        return self._like(joined[..., :-1, :] * left.unsqueeze(-1), joined[..., -1, :])

    def _erase_few(self, erased: Tensor, touched: Tensor) -> "LinkMatrix":
        """Erase the ``touched`` entries.

        With their rows R and columns A of L, C where those meet, and D = diag(e / throughput), the paths are
        L (I − D L)^{-1} = L + A X with X = (I − D C)^{-1} D R.
        """
        count = int(touched.sum(-1).max()) if touched.numel() else 0
        if not count:
            return self
        left = (1 - erased).prod(-2)
        weights, precedence = self._wide()
        chosen = touched.byte().topk(count, -1).indices  # (…, m), filled up with entries that pass nothing on
        rows = weights.take_along_dim(chosen.unsqueeze(-1), -2)  # (…, m, N)
        columns = weights.take_along_dim(chosen.unsqueeze(-2), -1)  # (…, N, m)
        last = precedence.gather(-1, chosen)  # (…, m)
        through = torch.maximum(rows.sum(-1), columns.sum(-2) + last)
        passing = ((1 - left).gather(-1, chosen) * safe_reciprocal(through)).unsqueeze(-1)
        paths = passing * rows
        with torch.autocast(weights.device.type, enabled=False):
            if count > 1:
                between = rows.take_along_dim(chosen.unsqueeze(-2), -1)  # (…, m, m)
                one = torch.eye(count, device=weights.device, dtype=weights.dtype)
                paths = torch.linalg.solve(one - passing * between, paths)
            joined = add_product(weights, columns, paths)
            passed_on = product(last.unsqueeze(-2), paths).squeeze(-2)
        both_left = left.unsqueeze(-1) * left.unsqueeze(-2)
        return self._like(joined * both_left, (precedence + passed_on) * left)

    def follow(self, weights: Tensor, forward: bool) -> Tensor:
        """Move weights ``(…, Q, N)`` one link forward, L w, or backward, Lᵀ w."""
        return product(weights.to(self.weights.dtype), self.weights.mT if forward else self.weights)

    def previous(self) -> Tensor:
        """The entry that each entry most comes after, ``(…, N)`` int64; −1 for none."""
        most, index = self.weights.max(-1)
        return index.masked_fill(most <= 0, -1)

    def _wide(self) -> tuple[Tensor, Tensor]:
        wide = torch.promote_types(self.weights.dtype, torch.float32)
        return self.weights.to(wide), self.precedence.to(wide)

    def _like(self, weights: Tensor, precedence: Tensor) -> "LinkMatrix":
        return LinkMatrix(weights.to(self.weights.dtype), precedence.to(self.precedence.dtype))


def empty_link_matrix(batch: tuple[int, ...], slots: int, **kwargs: Any) -> LinkMatrix:
    """N entries without links; ``kwargs`` are dtype and device."""
    return LinkMatrix(torch.zeros(*batch, slots, slots, **kwargs), torch.zeros(*batch, slots, **kwargs))


def precedence_after(precedence: Tensor, slots: Tensor, strength: Tensor) -> Tensor:
    """Precedence before, between and after W entries that are inserted at the end: ``(…, W + 1, N)``.

    p_{w+1} = (1 − s_w) p_w + s_w e_w, so that
    p_w = Π_{v<w} (1 − s_v) p + Σ_{v<w} s_v Π_{v<u<w} (1 − s_u) e_v.

    Args:
        precedence: ``(…, N)``.
        slots: ``(…, W)`` int64.
        strength: ``(…, W)``, zero for an entry that is not inserted.
    """
    left = (1 - strength).unsqueeze(-2)  # (…, 1, W)
    later = left.new_ones(left.shape[-1], left.shape[-1]).triu(1) > 0
    # share[v, u]: what is left of entry v after u.
    share = strength.unsqueeze(-1) * torch.where(later, left, 1).cumprod(-1)
    share = F.pad(share.triu().mT, (0, 0, 1, 0))  # (…, W + 1, W)
    old = F.pad((1 - strength).cumprod(-1), (1, 0), value=1.0).unsqueeze(-1) * precedence.unsqueeze(-2)
    return old.scatter_add(-1, slots.unsqueeze(-2).expand(share.shape), share)


def slot_mask(slot: Tensor, size: int) -> Tensor:
    """One-hot mask ``(…, N)`` bool of ``slot`` ``(…, 1)``."""
    return torch.arange(size, device=slot.device) == slot


def safe_reciprocal(weight: Tensor) -> Tensor:
    """1 / weight, or 0 where the weight is negligible, with a finite gradient everywhere."""
    passes = weight > NEGLIGIBLE
    return torch.where(passes, 1 / torch.where(passes, weight, 1), 0)
