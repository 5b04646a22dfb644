"""A LanceDB table of rows, as arrays of numpy (extra ``disk``)."""

import time
import warnings
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torch import Tensor

from recollect.ops.distance import Metric
from recollect.storages.engine_input import NewRows

Array = NDArray[Any]

ATTEMPTS = 8
"""How often a commit is tried that is in conflict with another one."""

INDEX_CACHE, METADATA_CACHE = 16 << 20, 128 << 20
"""Bytes that LanceDB may keep of what it has read."""


class LanceTable:
    """The table ``rows`` in a folder.

    Args:
        path: The folder.
        key_size: Width K of keys.
        value_size: Width V of values.
    """

    def __init__(self, path: Path, key_size: int, value_size: int) -> None:
        session = lancedb.Session(INDEX_CACHE, METADATA_CACHE)
        # Without an interval of zero a table never sees what other processes commit.
        self._database: Any = lancedb.connect(path, read_consistency_interval=timedelta(0), session=session)
        # Uncompressed, so that the bytes of a row can be searched for after a purge.
        plain = {b"lance-encoding:compression": b"none"}
        self._schema = pa.schema(
            [
                pa.field("row", pa.int64(), nullable=False),
                pa.field("space", pa.int64(), nullable=False),
                pa.field("source", pa.string(), nullable=False, metadata=plain),
                pa.field("time", pa.float64(), nullable=False),
                pa.field("key", pa.list_(pa.float32(), key_size), nullable=False, metadata=plain),
                pa.field("value", pa.list_(pa.float32(), value_size), nullable=False, metadata=plain),
            ]
        )
        self._table: Any = None
        self._there = path / "rows.lance"

    def create(self) -> None:
        """Create the table, empty, in place of one that a process has not finished creating."""
        mode = "overwrite" if self._there.exists() else "create"
        self._table = self._database.create_table("rows", schema=self._schema, mode=mode)

    def open(self) -> None:
        """Open the table, which stands in the folder."""
        self._table = self._database.open_table("rows")

    def close(self) -> None:
        """Let go of the table."""
        self._table = self._database = None

    @property
    def version(self) -> int:
        """Number of the last commit of any process."""
        return int(self._table.version)

    def pinned(self, version: int) -> "Snapshot":
        """Return the table as it was at a version, until that is cleaned up."""
        table = self._database.open_table("rows")
        table.checkout(version)
        return Snapshot(table, version)

    # --- commits --------------------------------------------------------------------------------------------

    def add(self, numbers: Array, rows: NewRows, time: float) -> None:
        """Add rows in one commit."""
        columns = [
            pa.array(numbers),
            pa.array(rows.spaces.numpy()),
            pa.array(rows.sources, pa.string()),
            pa.array(np.full(len(numbers), time)),
            _fixed_lists(rows.keys),
            _fixed_lists(rows.values),
        ]
        self._table.add(pa.Table.from_arrays(columns, schema=self._schema))

    def delete(self, rows: Array) -> None:
        """Delete rows by number, in one commit."""
        _retry(lambda: self._table.delete(row_filter(rows)))

    def rewrite(self, fragments: Sequence[int]) -> None:
        """Copy the rows of fragments, without what was deleted, to new ones at the end, in one commit."""
        inside = " or ".join(f"(_rowid >= {f << 32} and _rowid < {(f + 1) << 32})" for f in fragments)
        _retry(lambda: self._table.update(where=inside, values_sql={"row": "row"}))

    def clean(self, kept: float) -> None:
        """Merge small files, and remove old versions and files that belong to none.

        No other process may write meanwhile; one that reads an old version finds files missing.

        Args:
            kept: Seconds for which old versions stay.
        """
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="optimize.cleanup_older_than=0")
            self._table.optimize(cleanup_older_than=timedelta(seconds=kept), delete_unverified=True)


class Snapshot:
    """A table at one version.

    Args:
        table: LanceDB's table, checked out.
        version: The version.
    """

    def __init__(self, table: Any, version: int) -> None:
        self._table = table
        self.version = version

    def count(self) -> int:
        """Number of rows, without reading any."""
        return int(self._table.count_rows())

    def where(self, condition: str | None, *columns: str) -> list[Array]:
        """Read columns of the rows that meet a condition, in no particular order.

        The column ``_rowid`` is the place of a row: fragment · 2³² + offset.
        """
        query = self._table.search().select(list(columns))
        if condition is not None:
            query = query.where(condition)
        if "_rowid" in columns:
            query = query.with_row_id(True)
        return _arrays(query.to_arrow(), columns)

    def take(self, places: Array, *columns: str) -> list[Array]:
        """Read columns of the rows at places, in no particular order; places without a row are left out."""
        return _arrays(self._table.take_row_ids(places.tolist()).select(list(columns)).to_arrow(), columns)

    def nearest(self, count: int, metric: Metric, condition: str | None, query: Array) -> Array:
        """Numbers of the rows nearest to a query ``(K,)``, up to rounding, by comparing every row on disk."""
        search = self._table.search(query, vector_column_name="key").distance_type(metric)
        if condition is not None:
            search = search.where(condition, prefilter=True)
        return _arrays(search.limit(count).select(["row", "_distance"]).to_arrow(), ("row",))[0]

    def counts(self, condition: str | None, column: str) -> dict[Any, int]:
        """How often each value of a column occurs."""
        query = self._table.search().select([column])
        if condition is not None:
            query = query.where(condition)
        pairs = query.to_arrow()[column].value_counts()
        return {pair["values"].as_py(): pair["counts"].as_py() for pair in pairs}


def _fixed_lists(rows: Tensor) -> Any:
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.numpy().ravel()), rows.shape[1])


def _arrays(table: Any, columns: Sequence[str]) -> list[Array]:
    return [_array(table[name]) for name in columns]


def _array(column: Any) -> Array:
    column = column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # of no chunks, in some versions
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if pa.types.is_fixed_size_list(column.type):
        flat: Array = column.flatten().to_numpy()
        return flat.reshape(len(column), column.type.list_size)
    return np.asarray(column.to_numpy(zero_copy_only=False))


def row_filter(rows: Array) -> str:
    """Condition on the number of a row, with one term for each run of consecutive numbers.

    Example:
        >>> row_filter(np.array([7, 1, 2, 3]))
        '(row >= 1 and row <= 3) or row in (7)'
    """
    rows = np.unique(rows)
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    runs = [(int(run[0]), int(run[-1])) for run in np.split(rows, breaks) if len(run)]
    terms = [f"(row >= {first} and row <= {last})" for first, last in runs if first < last]
    single = ", ".join(str(first) for first, last in runs if first == last)
    return " or ".join([*terms, f"row in ({single})"] if single else terms)


def text_filter(column: str, texts: Sequence[str]) -> str:
    """Condition on a column of text: it equals one of several.

    Example:
        >>> text_filter("source", ["a", "it's"])
        "source in ('a', 'it''s')"
    """
    quoted = ", ".join("'" + text.replace("'", "''") + "'" for text in texts)
    return f"{column} in ({quoted})" if texts else "false"


def _retry(commit: Any) -> None:
    """Commit again, after longer and longer pauses, while the commits of others conflict with this one."""
    for attempt in range(ATTEMPTS):
        try:
            commit()
        except (RuntimeError, OSError, ValueError) as error:
            if "conflict" not in str(error).lower() or attempt == ATTEMPTS - 1:
                raise
            time.sleep(0.01 * 2**attempt)
        else:
            return


def is_cleaned(error: BaseException) -> bool:
    """Whether a version could not be read because its files have been cleaned up meanwhile."""
    text = str(error).lower()
    return "not found" in text or "no longer exists" in text or "no such file" in text
