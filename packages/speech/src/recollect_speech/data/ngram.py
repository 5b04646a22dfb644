"""An n-gram language model over units, estimated from the training transcripts."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Self, final

END = 0
"""The end of a text; no unit has this number."""


@final
class NGram:
    """P(w | h) = (c(h w) + t(h) P(w | h')) / (c(h) + t(h)), down to 1 / V (Witten & Bell 1991, IEEE TIT 37).

    c is the count, t(h) the number of distinct units after h, and h' is h without its first unit.

    Args:
        order: Length of the longest n-gram.
        size: Number V of units, including the end of a text.
        counts: Counts of the units after each context of fewer than ``order`` units.

    Example:
        >>> model = NGram.fit([[1, 2], [1, 2], [1, 3]], order=2, size=4)
        >>> round(math.exp(model.log_probability((1,), 2)), 3)
        0.492
        >>> round(sum(math.exp(model.log_probability((1,), unit)) for unit in range(4)), 3)
        1.0
    """

    def __init__(self, order: int, size: int, counts: dict[tuple[int, ...], dict[int, int]]) -> None:
        if order < 1:
            raise ValueError(f"order must be at least 1, got {order}")
        self.order = order
        self.size = size
        self._counts = counts
        self._totals = {context: sum(after.values()) for context, after in counts.items()}
        self._cache: dict[tuple[tuple[int, ...], int], float] = {}

    @classmethod
    def fit(cls, texts: Iterable[Sequence[int]], order: int, size: int) -> Self:
        """Estimate a model from texts; pass training texts only."""
        counts: dict[tuple[int, ...], Counter[int]] = {}
        for text in texts:
            whole = [*text, END]
            for place, unit in enumerate(whole):
                for length in range(min(order - 1, place) + 1):
                    counts.setdefault(tuple(whole[place - length : place]), Counter())[unit] += 1
        return cls(order, size, {context: dict(after) for context, after in counts.items()})

    def log_probability(self, context: tuple[int, ...], unit: int) -> float:
        """Log P(unit | context); the unit may be ``END``."""
        context = context[max(0, len(context) - self.order + 1) :]
        if (context, unit) not in self._cache:
            self._cache[context, unit] = math.log(self._probability(context, unit))
        return self._cache[context, unit]

    def _probability(self, context: tuple[int, ...], unit: int) -> float:
        shorter = self._probability(context[1:], unit) if context else 1 / self.size
        after = self._counts.get(context)
        if not after:
            return shorter
        return (after.get(unit, 0) + len(after) * shorter) / (self._totals[context] + len(after))

    def state(self) -> dict[str, Any]:
        """The model as plain data, for ``restore``."""
        return {"order": self.order, "size": self.size, "counts": self._counts}

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Self:
        """Rebuild a model from its ``state``."""
        return cls(state["order"], state["size"], state["counts"])
