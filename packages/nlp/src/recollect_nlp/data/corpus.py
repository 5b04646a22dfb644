"""Parallel files: line by line, a sentence and its translation."""

from pathlib import Path

from recollect.training import DataError
from recollect.training import text as files
from recollect.training.text import name_of


def read_lines(path: Path) -> list[str]:
    """The lines of a text file (gzip is unpacked; ``-`` is the standard input), without line ends.

    Raises:
        DataError: If there is no such file, or it is empty, a damaged archive, or in an unknown encoding; the
            message names the line.
    """
    lines = files.read_lines(path)
    if not any(line.strip() for line in lines):
        raise DataError(f"{name_of(path)} is empty")
    return lines


def read_pairs(source: Path, target: Path) -> list[tuple[str, str]]:
    """Two parallel files: line by line, a sentence and its translation.

    Raises:
        DataError: As ``read_lines``, and where a line has no partner: one file is longer, or a line is
            blank.
    """
    sources, targets = read_lines(source), read_lines(target)
    if len(sources) != len(targets):
        shorter, longer = sorted(((len(sources), source), (len(targets), target)), key=lambda item: item[0])
        raise DataError(
            f"{longer[1]}, line {shorter[0] + 1}: this line has no partner, {shorter[1]} ends after "
            f"{shorter[0]} lines and {longer[1]} has {longer[0]}"
        )
    for path, lines in ((source, sources), (target, targets)):
        for number, line in enumerate(lines, 1):
            if not line.strip():
                other = target if path == source else source
                raise DataError(f"{path}, line {number}: blank, so that line {number} of {other} is unpaired")
    return list(zip(sources, targets, strict=True))
