"""Entries in an order: read by content, then along the links."""

from collections.abc import Callable
from typing import Any, Literal, final

import torch
from torch import Tensor

from recollect.storages.links import Direction, Links
from recollect.storages.links_hard import HardLinks
from recollect.storages.links_soft import SoftLinks
from recollect.storages.results import Entries, Read


@final
class LinkedStorage(Links[Any]):
    """Entries in an order: read by content, then along the links, forward and backward.

    Three ways to keep the links, one set of verbs:

    - ``"soft"``: the N × N temporal link matrix of the Differentiable Neural Computer (Graves et al. 2016,
      Nature 538:471); links are degrees, with gradients. O(N²) a write. See ``SoftLinks``.
    - ``"sparse"``: its ``kept`` largest entries in each row only, as in the Sparse DNC (Rae et al. 2016,
      arXiv:1610.09027). O(N · kept) a write.
    - ``"hard"``: pointers between nodes that are found by hashing their keys; O(1) for every verb, with
      ``inplace=True`` for those that change the state. See ``HardLinks``.

    A read by content weighs each entry by presence · exp(sharpness · similarity), as in a ``VectorStorage``
    (with hard links, those that the query's hash finds, as in a ``HashStorage``); ``follow`` then moves those
    weights along the links. A write goes to a free slot, else over the least recently used entry, and is
    linked after the last entry, or after the one that ``after`` names. An erase unlinks what matches, joins
    its neighbours and frees its slot.

    Args:
        key_size: Width K of keys and queries.
        value_size: Width V of values.
        slots: Number N of entries at most.
        links: How the links are kept.
        kept: With ``"sparse"``, how many links of each entry; 8 by default, N at most.
        similarity: ``"cosine"`` or ``"dot"``; with ``"hard"``, the cosine only.
        sharpness: Initial factor on the similarity; 10 for cosine and 1/√K for dot by default.
        learn_sharpness: Whether the factor is a parameter (kept positive).
        top_k: Attend to the k best entries only when reading by content; all by default. Not with ``"hard"``.
        match_start: Cosine up to which ``erase`` leaves an entry alone; up to 0.999 its match rises to 1.
        buckets: With ``"hard"``, buckets of each hash table; enough for N by default.
        capacity: With ``"hard"``, indices that a bucket holds; 8 by default.
        tables: With ``"hard"``, how many hash tables; 4 by default.

    Raises:
        ValueError: If an argument is out of range, or of no use with these links.

    Example:
        >>> storage = LinkedStorage(key_size=3, value_size=1, slots=8, links="soft")
        >>> keys, values = torch.eye(3), torch.tensor([[1.0], [2.0], [3.0]])
        >>> state = storage.write(storage.initial_state(), keys, values)
        >>> first = storage.read(state, keys[:1])
        >>> storage.follow(state, first).value.round()
        tensor([[2.]])
        >>> without_second = storage.erase(state, keys[1:2])
        >>> storage.follow(without_second, first).value.round()
        tensor([[3.]])
    """

    def __init__(
        self,
        key_size: int,
        value_size: int,
        slots: int,
        links: Literal["soft", "sparse", "hard"] = "soft",
        kept: int | None = None,
        similarity: Literal["cosine", "dot"] = "cosine",
        sharpness: float | None = None,
        learn_sharpness: bool = False,
        top_k: int | None = None,
        match_start: float = 0.5,
        buckets: int | None = None,
        capacity: int | None = None,
        tables: int | None = None,
    ) -> None:
        super().__init__(key_size, value_size, slots)
        if links not in ("soft", "sparse", "hard"):
            raise ValueError(f'links must be "soft", "sparse" or "hard", got {links!r}')
        if kept is not None and links != "sparse":
            raise ValueError(f'kept goes with links="sparse" only, got links={links!r}')
        hashing = {"buckets": buckets, "capacity": capacity, "tables": tables}
        given: dict[str, Any] = {name: number for name, number in hashing.items() if number is not None}
        if given and links != "hard":
            raise ValueError(f'{", ".join(given)} goes with links="hard" only, got links={links!r}')
        if links == "hard" and (similarity != "cosine" or top_k is not None):
            raise ValueError(
                'links="hard" reads by cosine all that a hash finds: it takes neither another similarity '
                f"nor top_k, got similarity={similarity!r}, top_k={top_k}"
            )
        if links == "sparse" and kept is None:
            kept = 8
        self.links = links
        sizes, softness = (key_size, value_size, slots), (learn_sharpness, match_start)
        self.variant: Links[Any] = (
            HardLinks(*sizes, 10.0 if sharpness is None else sharpness, *softness, **given)
            if links == "hard"
            else SoftLinks(*sizes, kept, similarity, sharpness, learn_sharpness, top_k, match_start)
        )

    def initial_state(
        self, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Any:
        """No entries and no links."""
        return self.variant.initial_state(*batch, device=device, dtype=dtype)

    def _read(self, state: Any, query: Tensor) -> Read:
        return self.variant._read(state, query)

    def reader(self, state: Any) -> Callable[[Tensor], Read]:
        """As ``Storage.reader``."""
        return self.variant.reader(state)

    def _follow(self, state: Any, weights: Tensor, slots: Tensor | None, direction: Direction) -> Read:
        return self.variant._follow(state, weights, slots, direction)

    def _link(
        self,
        state: Any,
        key: Tensor,
        value: Tensor,
        strength: Tensor,
        mask: Tensor,
        after: Tensor,
        inplace: bool,
    ) -> tuple[Any, Tensor]:
        return self.variant._link(state, key, value, strength, mask, after, inplace)

    def _erase(self, state: Any, key: Tensor, strength: Tensor, mask: Tensor, inplace: bool) -> Any:
        return self.variant._erase(state, key, strength, mask, inplace)

    def _update(self, state: Any, slots: Tensor, value: Tensor, mask: Tensor, inplace: bool) -> Any:
        return self.variant._update(state, slots, value, mask, inplace)

    def _places(self, state: Any) -> int:
        return self.variant._places(state)

    def entries(self, state: Any) -> Entries:
        """All N places, free ones with presence zero."""
        return self.variant.entries(state)

    def touch(self, state: Any, read: Read) -> Any:
        """Count a read as use: the entry that each query weighed most becomes the most recently used."""
        return self.variant.touch(state, read)

    def inspect(self, state: Any) -> dict[str, Tensor]:
        """Figures a person would want to see: ``occupancy``, ``presence``, ``age``, ``previous`` and more."""
        return self.variant.inspect(state)

    def extra_repr(self) -> str:
        """The sizes, for ``print``."""
        return f"{super().extra_repr()}, links={self.links!r}"
