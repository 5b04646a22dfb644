"""Text files of sentences."""

from pathlib import Path

from recollect.training import DataError
from recollect.training.text import read_lines
from recollect_speech.data.units import normalize_text

MAX_CHARACTERS = 400
"""Maximum number of characters of a sentence: half a minute of speech."""


def read_sentences(path: Path) -> list[str]:
    """Read a text file with one sentence per line, without empty lines and repetitions.

    Raises:
        DataError: If the file does not exist, is not UTF-8 or has no sentences, or if a line is too long or
            has no letters or digits; the message names file and line.
    """
    found: dict[str, str] = {}
    for line, text in enumerate(read_lines(path), start=1):
        if not text.strip():
            continue
        if len(text) > MAX_CHARACTERS:
            raise DataError(
                f"{path}, line {line}: {len(text)} characters, "
                f"but a line holds one sentence of at most {MAX_CHARACTERS}"
            )
        if not any(map(str.isalnum, text)):
            raise DataError(f"{path}, line {line}: no letters or digits: {text.strip()!r}")
        found.setdefault(normalize_text(text), " ".join(text.split()))
    if not found:
        raise DataError(f"{path} has no sentences")
    return list(found.values())
