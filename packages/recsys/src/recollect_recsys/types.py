"""Batches, known to data, models, tasks and figures."""

from typing import NamedTuple

from torch import Tensor


class SessionBatch(NamedTuple):
    """Sessions of B users; items are numbered from 1, and 0 stands for none.

    Attributes:
        session: ``(B, T)`` the items in order, each one a step; a 0 in the first step is the beginning,
            before any item. What comes after ``length`` steps is padding.
        target: ``(B, T)`` the item that came after each step; 0 where none did, or it is not known.
        length: ``(B,)`` number of steps, at least 1.
        past: ``(B, P)`` the items before the session, in order, then padding.
        seen: ``(B, S)`` all items before the last target, in order; of no width in training with repeats.
        user: ``(B,)`` the user's number.
    """

    session: Tensor
    target: Tensor
    length: Tensor
    past: Tensor
    seen: Tensor
    user: Tensor


class ClickBatch(NamedTuple):
    """B users; items are numbered from 1, and 0 stands for none.

    Attributes:
        user: ``(B,)`` int64, numbered from 1; 0 is a user who was not there in training.
        seen: ``(B, S)`` the items that are known of each.
        target: ``(B, S')`` the items to be found.
        place: ``(B,)`` int64, which of the users that the data name each is.
    """

    user: Tensor
    seen: Tensor
    target: Tensor
    place: Tensor
