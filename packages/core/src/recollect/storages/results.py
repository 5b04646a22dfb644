"""What storages hand out: reads, and the entries as they stand."""

from typing import NamedTuple

from torch import Tensor


class Read(NamedTuple):
    """What a read gave, and how.

    Attributes:
        value: ``(…, Q, V)`` what was read; zero where nothing was found.
        weights: ``(…, Q, k)`` attention over the k entries looked at; ``None`` where there are no entries.
        slots: ``(…, Q, k)`` which entries those were (int64); ``None`` means all of them, in order. An index
            of an entry that got no weight carries no meaning.
    """

    value: Tensor
    weights: Tensor | None
    slots: Tensor | None


class Entries(NamedTuple):
    """The entries as they stand.

    Attributes:
        keys: ``(…, N, K)``.
        values: ``(…, N, V)``.
        filled: ``(…, N)`` presence of each entry in [0, 1]; zero is a free place.
    """

    keys: Tensor
    values: Tensor
    filled: Tensor
