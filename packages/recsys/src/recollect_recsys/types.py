"""Batches shared by data, models, tasks and figures."""

from typing import NamedTuple

from torch import Tensor


class SessionBatch(NamedTuple):
    """Sessions of B users; items are numbered from 1, and 0 is padding.

    Attributes:
        session: ``(B, T)`` the items in order, one per step; a 0 in the first step marks the beginning,
            before any item. Steps after ``length`` are padding.
        target: ``(B, T)`` the next item of each step; 0 if there is none or it is unknown.
        length: ``(B,)`` number of steps, at least 1.
        past: ``(B, P)`` the items before the session, in order, then padding.
        seen: ``(B, S)`` all items before the last target, in order; of no width in training with repeats.
        user: ``(B,)`` index of the user.
    """

    session: Tensor
    target: Tensor
    length: Tensor
    past: Tensor
    seen: Tensor
    user: Tensor


class ClickBatch(NamedTuple):
    """B users; items are numbered from 1, and 0 is padding.

    Attributes:
        user: ``(B,)`` int64, numbered from 1; 0 is a user unseen in training.
        seen: ``(B, S)`` the known items of each user.
        target: ``(B, S')`` the items to predict.
        place: ``(B,)`` int64, index of each user in the data's list of names.
    """

    user: Tensor
    seen: Tensor
    target: Tensor
    place: Tensor
