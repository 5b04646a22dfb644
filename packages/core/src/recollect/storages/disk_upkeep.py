"""Upkeep of a table on disk: small files are merged, old versions removed, erased bytes searched for."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from recollect.storages.lance_table import Array

MERGE_EVERY, CLEAN_EVERY = 16, 512
"""Commits of all processes between two merges, and between two removals of old versions."""

FRAGMENT = 1 << 20
"""Rows of a file at most after a merge."""

HEAD = 8
"""Bytes of an erased key or source that are compared first; shorter ones are not searched for."""

BLOCK = 1 << 24
"""Bytes of a file that are searched at once."""


def due(before: int, after: int, every: int) -> bool:
    """Whether the commits from one version to another pass a multiple of ``every``.

    Example:
        >>> due(62, 63, 64), due(63, 64, 64), due(60, 70, 64)
        (False, True, True)
    """
    return before // every < after // every


def mergeable(places: Array) -> list[int]:
    """Fragments that are worth merging into one: the newest ones, while they grow no faster than their sum.

    Each row is so rewritten a number of times that grows with the logarithm of the number of rows, as in a
    log-structured merge tree (O'Neil et al. 1996).

    Args:
        places: ``(N,)`` places of all rows: fragment · 2³² + offset.

    Example:
        >>> of_sizes = [np.arange(size) + (fragment << 32) for fragment, size in enumerate((99, 3, 2, 1))]
        >>> mergeable(np.concatenate(of_sizes))
        [1, 2, 3]
    """
    numbers, sizes = np.unique(places.astype(np.int64) >> 32, return_counts=True)
    total, chosen = 0, 0
    for size in sizes[::-1].tolist():
        if chosen and (size > 2 * total or total + size > FRAGMENT):
            break
        total, chosen = total + size, chosen + 1
    return [int(number) for number in numbers[len(numbers) - chosen :]] if chosen > 1 else []


def with_deletions(table: Path) -> list[int]:
    """Fragments of which rows have been deleted; their files still hold the bytes.

    LanceDB keeps deletions in files named ``fragment-version-number``, with an ending.
    """
    folder = table / "_deletions"
    if not folder.is_dir():
        return []
    return sorted({int(file.name.split("-")[0]) for file in folder.iterdir()})


def remaining(folder: Path, texts: Iterable[bytes]) -> Iterator[tuple[Path, bytes]]:
    """Search all files in a folder for texts, at every offset; those of less than 8 bytes are left out.

    Yields:
        Each file and each text that it holds.
    """
    wanted: dict[int, set[tuple[bytes, int]]] = {}  # texts by their most distinctive 8 bytes
    for text in texts:
        if len(text) >= HEAD:
            anchor = _anchor(text)
            wanted.setdefault(_number(text, anchor), set()).add((text, anchor))
    if not wanted:
        return
    longest = max(len(text) for group in wanted.values() for text, _ in group)
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size):
        content, found = np.memmap(path, np.uint8, "r"), set[bytes]()
        for start in range(0, len(content), BLOCK):
            found.update(_in_block(content[max(0, start - longest) : start + BLOCK + longest], wanted))
        yield from ((path, text) for text in sorted(found))


def _anchor(text: bytes) -> int:
    """Where the 8 bytes of a text begin that are least likely to occur by chance."""
    return max(range(min(len(text) - HEAD, 64) + 1), key=lambda start: len(set(text[start : start + HEAD])))


def _number(text: bytes, start: int) -> int:
    return int.from_bytes(text[start : start + HEAD], "little")


def _in_block(content: Array, wanted: Mapping[int, set[tuple[bytes, int]]]) -> Iterator[bytes]:
    """Texts that a block holds: 8 bytes are compared as one number, at each of 8 alignments."""
    block, heads = content.tobytes(), np.array(sorted(wanted), np.uint64)
    common = np.zeros(1 << 16, bool)
    common[heads & np.uint64(0xFFFF)] = True  # a table of two bytes passes over nearly everything
    for shift in range(min(HEAD, len(block) - HEAD + 1)):
        words = np.frombuffer(block, "<u8", count=(len(block) - shift) // HEAD, offset=shift)
        likely = np.flatnonzero(common[words & np.uint64(0xFFFF)])
        for place in likely[np.isin(words[likely], heads)].tolist():
            for text, anchor in wanted[int(words[place])]:
                start = place * HEAD + shift - anchor
                if start >= 0 and block.startswith(text, start):
                    yield text


def worth_searching(keys: Array, sources: Sequence[str]) -> set[bytes]:
    """Bytes of keys and sources by which a row can be told from chance: those with 4 different numbers."""
    telling = [key.tobytes() for key in np.ascontiguousarray(keys, "<f4") if len(set(key.tolist())) >= 4]
    return {*telling, *(source.encode() for source in sources)}
