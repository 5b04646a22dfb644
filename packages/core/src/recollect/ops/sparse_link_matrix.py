"""The temporal link matrix with only the largest links of each entry (Sparse DNC)."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from recollect.ops.indexing import any_slot, scatter_rows
from recollect.ops.inspection import is_traced
from recollect.ops.link_matrix import precedence_after, safe_reciprocal, slot_mask
from recollect.state import register_state


@register_state
class SparseLinkMatrix(NamedTuple):
    """The k largest weights of each row of a ``LinkMatrix`` (Rae et al. 2016, arXiv:1610.09027).

    With k = N it equals the matrix. With fewer, the smallest weights are dropped without renormalising.

    Attributes:
        weights: ``(…, N, k)``.
        sources: ``(…, N, k)`` int64, the entries that those links come from, without repeats; −1 for none.
        precedence: ``(…, N)``, the degree to which each entry is the last.
    """

    weights: Tensor
    sources: Tensor
    precedence: Tensor

    def remove(self, slot: Tensor, mask: Tensor) -> "SparseLinkMatrix":
        """Remove entries ``slot`` ``(…, 1)`` where ``mask`` ``(…, 1)`` is true, and join their neighbours."""
        weights, precedence = self._wide()
        own, own_sources = (rows.take_along_dim(slot.unsqueeze(-1), -2) for rows in (weights, self.sources))
        here = (self.sources == slot.unsqueeze(-1)) & mask.unsqueeze(-1)
        followers = (weights * here).sum(-1)  # (…, N)
        last = precedence.gather(-1, slot) * mask
        through = torch.maximum(own.sum(-1), followers.sum(-1, keepdim=True) + last)
        share = own * safe_reciprocal(through).unsqueeze(-1)  # (…, 1, k)
        joined = _largest(
            torch.cat([weights.masked_fill(here, 0), followers.unsqueeze(-1) * share], -1),
            torch.cat([self.sources, own_sources.expand_as(self.sources)], -1),
            weights.shape[-1],
        )
        weights, sources = _where_rows(here.any(-1), joined, (weights, self.sources))
        at = slot_mask(slot, precedence.shape[-1]) & mask
        passed = (last.unsqueeze(-1) * share).squeeze(-2)
        precedence = precedence.scatter_add(-1, own_sources.squeeze(-2).clamp_min(0), passed)
        return self._like(weights.masked_fill(at.unsqueeze(-1), 0), sources, precedence.masked_fill(at, 0))

    def insert(self, slot: Tensor, strength: Tensor, after: Tensor, given: Tensor) -> "SparseLinkMatrix":
        """Insert unlinked entries ``slot`` after ``after`` where ``given``, else at the end; all ``(…, 1)``.

        As in a ``LinkMatrix``. At the end, an entry is linked after the k entries of largest precedence.
        """
        weights, precedence = self._wide()
        strength, kept = strength.to(weights.dtype), weights.shape[-1]
        here = (self.sources == after.unsqueeze(-1)) & given.unsqueeze(-1)
        followers = (weights * here).sum(-1)
        last = precedence.gather(-1, after) * given
        inserted = _largest(
            torch.cat(
                [weights * (1 - strength.unsqueeze(-1) * here), (strength * followers).unsqueeze(-1)], -1
            ),
            torch.cat([self.sources, slot.unsqueeze(-1).expand_as(self.sources[..., :1])], -1),
            kept,
        )
        taken = here.any(-1) & (strength > 0)
        weights, sources = _where_rows(taken, inserted, (weights, self.sources))
        # The row of the new entry itself.
        leaving = followers.sum(-1, keepdim=True) + last
        likely, likely_sources = precedence.topk(kept, -1)
        first = torch.arange(kept, device=slot.device) == 0
        row = strength * torch.where(given, leaving * first, likely)
        row_sources = torch.where(given, after, likely_sources)
        at = slot_mask(slot, precedence.shape[-1])
        new = (row.unsqueeze(-2), row_sources.unsqueeze(-2))
        weights, sources = _where_rows(at & (strength > 0), new, (weights, sources))
        behind = (slot_mask(after, precedence.shape[-1]) & given).to(weights.dtype)
        ahead = at.to(weights.dtype)
        appended = (1 - strength) * precedence + strength * ahead
        moved = precedence + strength * last * (ahead - behind)
        return self._like(weights, sources, torch.where(given, moved, appended))

    def remove_all(self, slots: Tensor, mask: Tensor) -> "SparseLinkMatrix":
        """Remove entries ``slots`` ``(…, W)`` where ``mask`` ``(…, W)`` is true, from a chain."""
        gone = any_slot(slots, mask, self.precedence.shape[-1])
        return self._erase_once(gone.to(self.precedence.dtype))

    def is_chain(self) -> bool:
        """Whether each entry has at most one link, of weight 1, and at most one entry is the last.

        Removing entries from a chain drops no link, and gives the same in whatever order.
        """
        for rows in (self.weights, self.precedence):
            if not (is_whole(rows) and bool((rows.detach() > 0).sum(-1).le(1).all())):
                return False
        return True

    def append_all(self, slots: Tensor, strength: Tensor, mask: Tensor) -> "SparseLinkMatrix":
        """Insert unlinked entries ``slots`` ``(…, W)`` at the end in order; see ``LinkMatrix.append_all``."""
        weights, precedence = self._wide()
        strength = strength.to(weights.dtype) * mask
        last = precedence_after(precedence, slots, strength)  # (…, W + 1, N)
        likely, sources = last[..., :-1, :].topk(weights.shape[-1], -1)  # (…, W, k)
        weights = scatter_rows(weights, strength.unsqueeze(-1) * likely, slots, mask)
        return self._like(weights, scatter_rows(self.sources, sources, slots, mask), last[..., -1, :])

    def append(self, weights: Tensor) -> "SparseLinkMatrix":
        """Link entries after the last ones by a soft write ``(…, N)``; see ``LinkMatrix.append``.

        Each row takes the k entries that are most the last into account, and keeps its k largest links.
        """
        links, precedence = self._wide()
        kept, w = links.shape[-1], weights.to(links.dtype)
        left = (1 - w.unsqueeze(-1) - _pick(w, self.sources.clamp_min(0))).clamp_min(0)
        last, last_sources = precedence.topk(kept, -1)  # (…, k)
        new_sources = last_sources.unsqueeze(-2).expand_as(self.sources)
        itself = new_sources == torch.arange(w.shape[-1], device=w.device).unsqueeze(-1)
        new = (w.unsqueeze(-1) * last.unsqueeze(-2)).masked_fill(itself, 0)
        links, sources = _largest(
            torch.cat([left * links, new], -1), torch.cat([self.sources, new_sources], -1), kept
        )
        return self._like(links, sources, (1 - w.sum(-1, keepdim=True)).clamp_min(0) * precedence + w)

    def replace(self, slot: Tensor, strength: Tensor, mask: Tensor) -> "SparseLinkMatrix":
        """Remove entries ``slot`` where ``mask`` is true, and insert new ones at the end; all ``(…, 1)``."""
        return self.remove(slot, mask).insert(slot, strength, torch.zeros_like(slot), torch.zeros_like(mask))

    def erase(self, erased: Tensor, touched: Tensor | None = None) -> "SparseLinkMatrix":
        """Erase every entry to the degrees ``erased`` ``(…, E, N)``, one after the other.

        As in a ``LinkMatrix``, but paths are summed in rounds that double their length: log₂ N rounds suffice
        for any run of erased entries. Outside ``torch.compile`` the rounds end with the longest run. Entries
        of a chain that are erased completely are erased at once, which is the same.
        """
        traced = is_traced(erased) or is_traced(self.weights)
        if erased.shape[-2] > 1 and not traced and self.is_chain() and is_whole(erased):
            return self._erase_once(erased.amax(-2))
        links = self
        for once in erased.unbind(-2):
            links = links._erase_once(once)
        return links

    def _erase_once(self, erased: Tensor) -> "SparseLinkMatrix":
        weights, precedence = self._wide()
        kept, origin = weights.shape[-1], self.sources.clamp_min(0)
        leaving = _times(torch.ones_like(precedence), weights, self.sources) + precedence
        passing = erased * safe_reciprocal(torch.maximum(weights.sum(-1), leaving))
        # joined: paths so far, without the weight lost where they begin; moving: weight that erased entries
        # pass on. Lost weight must not compete when the largest links are picked.
        lost = _pick(erased, origin) * (self.sources >= 0)
        joined, last = (weights * (1 - lost), self.sources), precedence * (1 - erased)
        moving, moving_last = (weights * _pick(passing, origin), self.sources), precedence * passing
        for _ in range(max(1, (precedence.shape[-1] - 1).bit_length())):
            last = last + _times(moving_last, *joined)
            longer = _paths(moving, joined)
            weights_too, sources_too = (torch.cat(pair, -1) for pair in zip(joined, longer, strict=True))
            joined = _largest(weights_too, sources_too, kept)
            moving_last = _times(moving_last, *moving)
            moving = _largest(*_paths(moving, moving), kept)
            if not is_traced(moving_last) and not (moving[0].any() or moving_last.any()):
                break
        weights, sources = _where_rows((lost > 0).any(-1), joined, (weights, self.sources))
        return self._like(weights * (1 - erased).unsqueeze(-1), sources, last)

    def follow(self, weights: Tensor, forward: bool) -> Tensor:
        """Move weights ``(…, Q, N)`` one link forward, L w, or backward, Lᵀ w, in O(N · k)."""
        weights = weights.to(self.weights.dtype)
        shape = (*weights.shape, self.weights.shape[-1])
        origin = self.sources.clamp_min(0).unsqueeze(-3).expand(shape).flatten(-2)
        links = self.weights.unsqueeze(-3)
        if forward:
            return (weights.gather(-1, origin).reshape(shape) * links).sum(-1)
        return torch.zeros_like(weights).scatter_add(-1, origin, (weights.unsqueeze(-1) * links).flatten(-2))

    def previous(self) -> Tensor:
        """The entry that each entry most comes after, ``(…, N)`` int64; −1 for none."""
        return self.sources.gather(-1, self.weights.argmax(-1, keepdim=True)).squeeze(-1)

    def _wide(self) -> tuple[Tensor, Tensor]:
        wide = torch.promote_types(self.weights.dtype, torch.float32)
        return self.weights.to(wide), self.precedence.to(wide)

    def _like(self, weights: Tensor, sources: Tensor, precedence: Tensor) -> "SparseLinkMatrix":
        weights = weights.to(self.weights.dtype)
        return SparseLinkMatrix(
            weights, sources.masked_fill(weights <= 0, -1), precedence.to(self.precedence.dtype)
        )


def is_whole(degree: Tensor) -> bool:
    """Whether every degree is 0 or 1."""
    return bool(((degree.detach() == 0) | (degree.detach() == 1)).all())


def empty_sparse_link_matrix(
    batch: tuple[int, ...], slots: int, kept: int, **kwargs: Any
) -> SparseLinkMatrix:
    """N entries without links; ``kwargs`` are dtype and device."""
    return SparseLinkMatrix(
        torch.zeros(*batch, slots, kept, **kwargs),
        torch.full((*batch, slots, kept), -1, device=kwargs["device"]),
        torch.zeros(*batch, slots, **kwargs),
    )


Rows = tuple[Tensor, Tensor]
"""Weights ``(…, N, k)`` and their sources ``(…, N, k)``, −1 for none."""


def _where_rows(where: Tensor, chosen: Rows, other: Rows) -> Rows:
    """Rows of ``chosen`` where ``where`` ``(…, N)`` is true, else of ``other``."""
    weights, sources = (torch.where(where.unsqueeze(-1), a, b) for a, b in zip(chosen, other, strict=True))
    return weights, sources


def _largest(weights: Tensor, sources: Tensor, kept: int) -> Rows:
    """The ``kept`` largest of C weights ``(…, C)``, after weights of the same source are added up."""
    order = sources.argsort(dim=-1, stable=True)
    in_order = sources.gather(-1, order)
    group = torch.zeros_like(order)
    group[..., 1:] = (in_order[..., 1:] != in_order[..., :-1]).cumsum(-1)
    total = torch.zeros_like(weights).scatter_add(-1, group, weights.gather(-1, order))
    source = torch.full_like(sources, -1).scatter(-1, group, in_order)
    largest, index = total.masked_fill(source < 0, 0).topk(kept, -1)
    return largest, source.gather(-1, index)


def _pick(vector: Tensor, index: Tensor) -> Tensor:
    """Elements of ``vector`` ``(…, N)`` at ``index`` ``(…, N, k)``."""
    return vector.gather(-1, index.flatten(-2)).reshape(index.shape)


def _paths(first: Rows, second: Rows) -> Rows:
    """Paths of two links, ``second`` then ``first``, and their weights: ``(…, N, k²)``."""
    through = first[1].clamp_min(0).flatten(-2).unsqueeze(-1)
    shape = (*first[1].shape, second[1].shape[-1])
    weights, sources = (rows.take_along_dim(through, -2).reshape(shape) for rows in second)
    return (first[0].unsqueeze(-1) * weights).flatten(-2), sources.flatten(-2)


def _times(vector: Tensor, weights: Tensor, sources: Tensor) -> Tensor:
    """Product of ``vector`` ``(…, N)`` and the sparse matrix with these rows: ``(…, N)``."""
    products = (vector.unsqueeze(-1) * weights).flatten(-2)
    return torch.zeros_like(vector).scatter_add(-1, sources.clamp_min(0).flatten(-2), products)
