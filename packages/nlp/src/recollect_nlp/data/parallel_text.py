"""Parallel text files: line i of one file is the translation of line i of the other."""

from pathlib import Path

from recollect.training import DataError
from recollect.training import text as files
from recollect.training.text import name_of


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text file, without line ends; gzip is unpacked, ``-`` is the standard input.

    Raises:
        DataError: If the file does not exist, is empty, is a damaged archive, or is not UTF-8; the message
            names the line.
    """
    lines = files.read_lines(path)
    if not any(line.strip() for line in lines):
        raise DataError(f"{name_of(path)} is empty")
    return lines


def read_pairs(source: Path, target: Path) -> list[tuple[str, str]]:
    """Read pairs of a sentence and its translation from two parallel files.

    Raises:
        DataError: As in ``read_lines``, or if one file is longer or a line is blank.
    """
    sources, targets = read_lines(source), read_lines(target)
    if len(sources) != len(targets):
        shorter, longer = sorted(((len(sources), source), (len(targets), target)), key=lambda item: item[0])
        raise DataError(
            f"{longer[1]}, line {shorter[0] + 1}: no matching line: {longer[1]} has {longer[0]} lines, "
            f"{shorter[1]} has {shorter[0]}"
        )
    for path, lines in ((source, sources), (target, targets)):
        for number, line in enumerate(lines, 1):
            if not line.strip():
                other = target if path == source else source
                raise DataError(f"{path}, line {number}: blank, but line {number} of {other} needs a match")
    return list(zip(sources, targets, strict=True))
