"""Insertion of many slots into a linked list at once, each after another, as if one after the other."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from recollect.ops.groups import Groups, group_rows, last_before
from recollect.ops.indexing import masked_put
from recollect.ops.linked_list import LinkedList, find_rows, follow_links


class Children(NamedTuple):
    """The rows that are inserted after each node: a slot, the end (N), or row w (N + 1 + w).

    Attributes:
        anchors: ``(…, W)`` int64, the node that each row is inserted after.
        groups: The rows by anchor.
        ordered: ``(…, W)`` int64, the anchors in order.
    """

    anchors: Tensor
    groups: Groups
    ordered: Tensor

    def of(self, node: Tensor, first: bool = False) -> tuple[Tensor, Tensor]:
        """The last, or first, row inserted after each ``node`` ``(…, m)``, and whether there is one."""
        place = torch.searchsorted(self.ordered, node.contiguous(), right=not first) - (0 if first else 1)
        place = place.clamp(0, self.ordered.shape[-1] - 1)
        return self.groups.order.gather(-1, place), self.ordered.gather(-1, place) == node


def find_anchors(stamp: Tensor, slots: Tensor, after: Tensor, mask: Tensor) -> Tensor:
    """The node that each of W rows is inserted after, ``(…, W)``, as ``splice`` takes them.

    Args:
        stamp: ``(…, N)`` before the first row; 0 for a free slot.
        slots: ``(…, W)`` int64, without repeats among the unmasked.
        after: ``(…, W)`` int64, −1 for the end. A slot that is free by then, or that the row takes itself,
            means the end, too.
        mask: ``(…, W)`` bool, which rows are inserted.
    """
    count, end = slots.shape[-1], stamp.shape[-1]
    if not count:
        return after
    own = torch.arange(count, device=slots.device)
    row, taken = find_rows(slots.masked_fill(~mask, end), after)
    before = (after >= 0) & (stamp.gather(-1, after.clamp_min(0)) > 0) & ~(taken & (row == own))
    return torch.where(taken & (row < own), end + 1 + row, torch.where(before, after, end))


def splice(
    nodes: LinkedList, slots: Tensor, anchors: Tensor, mask: Tensor, evicted: Tensor, inplace: bool
) -> LinkedList:
    """Insert W slots in order, each after a node that is in the list by then, and remove those they evict.

    Rows form a tree, in which each hangs from the node it is inserted after. Of two rows with the same anchor
    the later comes first in the list, each with all that hangs from it.

    Args:
        nodes: Changed if ``inplace``.
        slots: ``(…, W)`` int64, without repeats among the unmasked.
        anchors: ``(…, W)`` int64: a slot that was in the list before, N for the end, or N + 1 + w for row w.
        mask: ``(…, W)`` bool; nothing is inserted where it is false.
        evicted: ``(…, W)`` bool, whether the slot was in the list before, and leaves its old place.
        inplace: Change ``nodes`` themselves.
    """
    count, end = slots.shape[-1], nodes.next.shape[-1] - 1
    if not count:
        return nodes
    anchors = anchors.masked_fill(~mask, end + 1 + count)
    groups = group_rows([anchors])
    children = Children(anchors, groups, anchors.gather(-1, groups.order))
    members = slots.masked_fill(~(mask & evicted), end + 1)
    opened = _opened(nodes, slots, members, children)

    def enter(node: Tensor) -> Tensor:
        row, gone = find_rows(members, node)
        return torch.where(gone, opened.gather(-1, row), _from(node, end, slots, children))

    following = _following(nodes, slots, children, enter, mask)
    head = _from(torch.full_like(slots[..., :1], end), end, slots, children)
    before, tail = nodes.prev.gather(-1, slots), nodes.prev[..., -1:]

    def bare(node: Tensor) -> Tensor:
        """Whether a node of before stays, and nothing is inserted right after it."""
        return ~find_rows(members, node)[1] & ~(children.of(node)[1] & (node < end))

    youngest = groups.position == groups.end - 1
    stays = ~find_rows(members, anchors)[1] & (anchors < end)
    left = torch.cat([slots, anchors.clamp_max(end), before, tail], -1)
    right = torch.cat([following, slots, opened, head], -1)
    changed = torch.cat(
        [mask, mask & youngest & stays, (members <= end) & bare(before), (head < end) & bare(tail)], -1
    )
    return LinkedList(
        masked_put(nodes.next, left, right, changed, inplace),
        masked_put(nodes.prev, right, left, changed, inplace),
    )


def _from(node: Tensor, end: int, slots: Tensor, children: Children) -> Tensor:
    """A node of before, or the first row at the end in place of the end itself."""
    row, some = children.of(torch.full_like(node, end), first=True)
    return torch.where((node == end) & some, slots.gather(-1, row), node)


def _opened(nodes: LinkedList, slots: Tensor, members: Tensor, children: Children) -> Tensor:
    """What comes at the old place of each evicted slot ``(…, W)``, once it has left."""
    end = nodes.next.shape[-1] - 1
    row, some = children.of(slots)
    following = nodes.next.gather(-1, slots)
    next_row, gone = find_rows(members, following)
    here = torch.where(some, slots.gather(-1, row), _from(following, end, slots, children))
    own = torch.arange(slots.shape[-1], device=slots.device)
    return here.gather(-1, follow_links(torch.where(gone & ~some, next_row, own)))


def _following(
    nodes: LinkedList,
    slots: Tensor,
    children: Children,
    enter: Callable[[Tensor], Tensor],
    mask: Tensor,
) -> Tensor:
    """What comes after each row ``(…, W)``: what hangs from it, else what comes after all of that."""
    anchors, groups, _ = children
    count, end = slots.shape[-1], nodes.next.shape[-1] - 1
    own = torch.arange(count, device=slots.device).expand(slots.shape)
    elder = last_before(groups, mask)
    later = groups.order.gather(-1, (groups.position + 1).clamp_max(count - 1))
    at_end = torch.where(groups.position + 1 < groups.end, slots.gather(-1, later), end)
    beside = torch.where(
        elder >= 0, slots.gather(-1, elder.clamp_min(0)), enter(nodes.next.gather(-1, anchors.clamp_max(end)))
    )
    leaving = torch.where(anchors == end, at_end, beside)
    # The first row inserted after another row is followed by what comes after that one.
    up = (anchors > end) & (anchors <= end + count) & (elder < 0)
    leaving = leaving.gather(-1, follow_links(torch.where(up, anchors - end - 1, own)))
    row, some = children.of(own + end + 1)
    return torch.where(some, slots.gather(-1, row), leaving)
