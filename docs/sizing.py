"""The table of cluster sizes in docs/distributed.md, computed from the constants below.

    uv run python docs/sizing.py

writes it into the page. A test fails when the two differ.
"""

import math
import re
from pathlib import Path

PAGE = Path(__file__).parent / "distributed.md"
BLOCK = re.compile(r"(?<=<!-- sizing -->\n).*?(?=<!-- /sizing -->)", re.DOTALL)

GIB = 2**30

LINKS = 16
"""Links M of a row in the HNSW index, 2 · M numbers of 4 bytes."""

NOTES = 64
"""Bytes of a row beside its vectors: number, space, hash and time of 8 bytes each, and a source of 32."""

VALUES = 2
"""Width of a value: a token or a label, which Milvus keeps as two numbers."""

NODE_MEMORY, NODE_CORES = 64 * GIB, 16
"""A query node of a usual kind: 4 GiB for a core."""

USABLE = 0.9
"""Part of its memory that Milvus fills with data (its page on limits)."""

SEGMENT = GIB
"""Bytes of keys in a sealed segment (``dataCoord.segment.maxSize``), each of which is searched."""

QUERIES = 6904 / 12
"""Queries a second of a core over one segment of width 128 (Milvus 2.1's benchmark: ef 64, 12 cores)."""

SHARD_ROWS, MAX_SHARDS = 10**8, 16
"""Rows of a shard, our rule of thumb, and Milvus's limit."""


def row(rows: int, width: int) -> list[str]:
    """One row of the table."""
    keys = 4 * width
    disk = rows * (keys + 4 * VALUES + NOTES)
    memory = rows * (keys + 8 * LINKS + 4 * VALUES + NOTES)
    nodes = math.ceil(memory / (USABLE * NODE_MEMORY))
    segments = math.ceil(rows * keys / SEGMENT)
    queries = QUERIES * 128 / width * nodes * NODE_CORES / segments
    return [
        f"10{str(round(math.log10(rows))).translate(str.maketrans('6789', '⁶⁷⁸⁹'))}",
        str(width),
        size(disk),
        size(memory),
        str(nodes),
        str(min(MAX_SHARDS, max(1, rows // SHARD_ROWS))),
        f"{float(f'{queries:.2g}'):,.0f}",
        str(math.ceil(1000 / queries)),
    ]


def size(count: float) -> str:
    """Bytes, rounded."""
    unit = "TiB" if count >= 1000 * GIB else "GiB"
    amount = count / (1024 * GIB if unit == "TiB" else GIB)
    return f"{float(f'{amount:.2g}'):g} {unit}"


def sizing() -> str:
    """The table."""
    head = ["rows", "key width", "rows on disk", "in memory", "query nodes", "shards", "queries/s"]
    lines = [[*head, "copies for 1,000 queries/s"], ["---:"] * 8]
    lines += [row(10**power, width) for width in (128, 768) for power in (6, 7, 8, 9)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(BLOCK.sub(lambda _: sizing(), PAGE.read_text()))
