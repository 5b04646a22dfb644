"""The collection of a Milvus server that holds the rows of a store, and what a store notes about itself.

Beside its rows a collection holds notes, rows in negative spaces, which no search sees: the manifest, claims
of models, claims of row numbers, and how many rows each client has written.
"""

import json
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any

import numpy as np

from recollect.ops.distance import Metric
from recollect.storages.remote_client import NotLoadedError, RemoteClient

FORMAT = "recollect rows 1"

METRIC_TYPES: Mapping[Metric, str] = {"l2": "L2", "cosine": "COSINE", "dot": "IP"}
"""Milvus's names of the metrics."""

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
"""Names of collections that Milvus takes."""

MAX_WIDTH = 32768
"""Widest vectors of Milvus; the narrowest have width 2."""

MAX_TEXT = 65535
"""Longest text of Milvus, in bytes."""

MAX_IDS = 8192
"""Row numbers in one filter."""


class Note(IntEnum):
    """Spaces of notes."""

    WRITTEN = -1
    NUMBERS = -2
    MANIFEST = -3
    CLAIM = -4


class RemoteTable:
    """A collection of a Milvus server, opened or created.

    Args:
        client: The server.
        name: Name of the collection.
        manifest: Key size, value size and metric.
        index: Index of the keys, such as ``{"index_type": "HNSW", "params": {"M": 16}}``.
        shards: Number of shards of a new collection.
        replicas: Number of copies in memory of a collection that is not in memory yet.

    Raises:
        ValueError: If the name is not valid, or the collection holds something else.
        OSError: If the server does not answer or refuses.
    """

    def __init__(
        self,
        client: RemoteClient,
        name: str,
        manifest: Mapping[str, Any],
        index: Mapping[str, Any],
        shards: int = 1,
        replicas: int = 1,
    ) -> None:
        if not NAME.fullmatch(name):
            raise ValueError(f"collection must be letters, digits and underscores, got {name!r}")
        self.client, self.name = client, name
        self.key_size: int = manifest["key_size"]
        self.value_width: int = max(2, manifest["value_size"])
        self.manifest = {"format": FORMAT, **manifest}
        for width in (self.key_size, self.value_width):
            if width > MAX_WIDTH or self.key_size < 2:
                raise ValueError(f"Milvus takes keys of width 2 to {MAX_WIDTH}, values up to {MAX_WIDTH}")
        if not client.call("has_collection", name):
            self._create(shards)
        self._check_fields()
        self._create_indexes(index)
        if client.call("get_load_state", name)["state"].name != "Loaded":
            client.call("load_collection", name, replica_number=replicas)  # waits for the indexes
        self._check_manifest()

    # --- rows -----------------------------------------------------------------------------------------------

    def read(self, method: str, **arguments: Any) -> Any:
        """Query or search with all that any client has written and erased before."""
        arguments |= {"collection_name": self.name, "consistency_level": "Strong"}
        try:
            return self.client.call(method, **arguments)
        except NotLoadedError:  # Milvus Lite has started anew
            self.client.call("load_collection", self.name)
            return self.client.call(method, **arguments)

    def query(self, where: str, fields: Iterable[str], limit: int | None = None) -> list[dict[str, Any]]:
        """Return rows that meet a condition, with a limit in the order of their numbers."""
        # Milvus returns the lowest numbers only to what it takes for an iterator.
        page = {} if limit is None else {"limit": limit, "iterator": "True", "reduce_stop_for_best": "True"}
        found = self.read("query", filter=where, output_fields=list(fields), **page)
        return sorted((dict(row) for row in found), key=lambda row: row.get("row", 0))

    def count(self, where: str) -> int:
        """Return the number of rows that meet a condition."""
        found = self.read("query", filter=where, output_fields=["count(*)"])
        return int(found[0]["count(*)"])

    def put(self, rows: list[dict[str, Any]]) -> None:
        """Write rows in one request; a row of the same number is replaced, so a repetition adds nothing."""
        self.client.call("upsert", self.name, rows)

    def delete(self, numbers: Iterable[int]) -> None:
        """Delete rows by number."""
        for ids in batches(list(numbers), MAX_IDS):
            self.client.call("delete", self.name, ids=ids)

    def existing(self, numbers: Iterable[int], fields: Iterable[str]) -> list[dict[str, Any]]:
        """Return those of the rows that exist."""
        return [
            row
            for ids in batches(sorted(set(numbers)), MAX_IDS)
            for row in self.query(f"row in {ids}", ["row", *fields])
        ]

    # --- notes ----------------------------------------------------------------------------------------------

    def note(self, kind: Note, text: str, row: int) -> dict[str, Any]:
        """Make a note with the number ``row``, which is negative."""
        key = np.zeros(self.key_size, dtype=np.float32)
        key[0] = 1  # not zero, which has no cosine
        return {
            "row": row,
            "space": int(kind),
            "source": text,
            "source_hash": 0,
            "time": time.time(),
            "key": key,
            "value": np.zeros(self.value_width, dtype=np.float32),
        }

    def notes(self, kind: Note) -> dict[int, str]:
        """Return the texts of all notes of a kind, by number."""
        return {row["row"]: row["source"] for row in self.query(f"space == {int(kind)}", ["row", "source"])}

    # --- opening --------------------------------------------------------------------------------------------

    def _create(self, shards: int) -> None:
        types, schema = self.client.types, self.client.schema(FORMAT)
        schema.add_field("row", types.INT64, is_primary=True)
        schema.add_field("space", types.INT64)
        schema.add_field("source", types.VARCHAR, max_length=MAX_TEXT)
        schema.add_field("source_hash", types.INT64)
        schema.add_field("time", types.DOUBLE)
        schema.add_field("key", types.FLOAT_VECTOR, dim=self.key_size)
        schema.add_field("value", types.FLOAT_VECTOR, dim=self.value_width)
        try:
            self.client.call(
                "create_collection",
                self.name,
                schema=schema,
                num_shards=shards,
                consistency_level="Strong",
            )
        except OSError:
            if not self.client.call("has_collection", self.name):  # not created by another client meanwhile
                raise

    def _create_indexes(self, index: Mapping[str, Any]) -> None:
        """Create what is missing: the collection is new, or another client is at it or was cut off."""
        wanted: dict[str, Mapping[str, Any]] = {
            "key": {"metric_type": METRIC_TYPES[self.manifest["metric"]], **index},
            "value": {"metric_type": "L2", "index_type": "FLAT"},  # never searched, but Milvus asks for one
            "space": {"index_type": "INVERTED"},
            "source_hash": {"index_type": "INVERTED"},
        }
        for field in wanted.keys() - set(self.client.call("list_indexes", self.name)):
            try:
                indexes = self.client.indexes()
                indexes.add_index(field, **wanted[field])
                self.client.call("create_index", self.name, indexes, sync=False)
            except OSError:
                if field not in self.client.call("list_indexes", self.name):
                    raise

    def _check_fields(self) -> None:
        found = self.client.call("describe_collection", self.name)["fields"]
        widths = {field["name"]: field["params"].get("dim") for field in found}
        if not {"row", "space", "source", "source_hash", "time", "key", "value"} <= set(widths):
            raise ValueError(f"the collection {self.name!r} of {self.client.uri} holds something else")
        for name, width in (("key", self.key_size), ("value", self.value_width)):
            if int(widths[name]) != width:
                raise ValueError(
                    f"the collection {self.name!r} has {name}s of width {widths[name]}, not {width}"
                )

    def _check_manifest(self) -> None:
        if not self.notes(Note.MANIFEST):  # new, or its creation was cut off
            self.put([self.note(Note.MANIFEST, json.dumps(self.manifest), row=-1)])
        (text,) = self.notes(Note.MANIFEST).values()
        if (found := json.loads(text)) != self.manifest:
            raise ValueError(
                f"the collection {self.name!r} of {self.client.uri} holds {found}, not {self.manifest}"
            )


def note_number() -> int:
    """Draw a number for a note, which no other note has."""
    return -secrets.randbits(62) - 2


def batches(items: list[int], size: int) -> Iterable[list[int]]:
    """Cut a list into pieces."""
    return (items[start : start + size] for start in range(0, len(items), size))
