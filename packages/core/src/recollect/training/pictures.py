"""Pictures of what a memory read, drawn with matplotlib's object interface (no global state, no display)."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

LABEL_LENGTH = 48
"""Characters of a label that are shown."""


class ReadPicture(NamedTuple):
    """One read, or several reads of the same entries, to be drawn as a heat map.

    Attributes:
        title: What is asked, and perhaps what was answered.
        weights: ``(rows, columns)`` in [0, 1]; each row is one read (a hop, a decoder's step).
        rows: A label for each row.
        columns: A label for each column: the entries that were read.
        highlighted: The columns that ought to have been read, where that is known.
    """

    title: str
    weights: Tensor
    rows: Sequence[str]
    columns: Sequence[str]
    highlighted: Sequence[int] = ()
