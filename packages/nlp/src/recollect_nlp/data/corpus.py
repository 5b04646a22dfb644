"""Lines of text files, read so that nothing malformed passes unnoticed."""

import gzip
import sys
from pathlib import Path

from recollect.training.errors import DataError

STANDARD_INPUT = Path("-")


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text file (``.gz`` is unpacked; ``-`` is the standard input), without line ends.

    Raises:
        DataError: If there is no such file, or it is empty, a broken archive, or not UTF-8; the message
            names the line.
    """
    if path == STANDARD_INPUT:
        content = sys.stdin.buffer.read()
    elif not path.is_file():
        raise DataError(f"there is no file {path}")
    else:
        content = _unpack(path) if path.suffix == ".gz" else path.read_bytes()
    if not content.strip():
        raise DataError(f"{name_of(path)} is empty")
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [_decode(line, path, number) for number, line in enumerate(lines, 1)]


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


def _unpack(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes())
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path} is not a whole gzip file: {error}") from error


def _decode(line: bytes, path: Path, number: int) -> str:
    try:
        return line.decode("utf-8").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name_of(path)}, line {number}: not UTF-8 ({error.reason} at byte {error.start + 1})"
        ) from error


def name_of(path: Path) -> str:
    """What a message calls a file."""
    return "standard input" if path == STANDARD_INPUT else str(path)
