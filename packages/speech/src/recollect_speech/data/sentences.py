"""Text files of sentences."""

from pathlib import Path

from recollect.training import DataError
from recollect_speech.data.units import normalize_text

LONGEST = 400
"""Characters of a sentence at most: half a minute of speech."""


def read_sentences(path: Path) -> list[str]:
    """The lines of a text file, a sentence each; empty ones, and what has been said before, are left out.

    Raises:
        DataError: If there is no such file, it is not UTF-8 or holds no sentence, or a line is too long or
            holds nothing that can be said; the message names file and line.
    """
    found: dict[str, str] = {}
    for line, text in enumerate(_lines(path), start=1):
        if not text.strip():
            continue
        if len(text) > LONGEST:
            raise DataError(
                f"{path}, line {line}: {len(text)} characters; a line is one sentence, of {LONGEST} at most"
            )
        if "\0" in text or not any(map(str.isalnum, text)):
            raise DataError(f"{path}, line {line}: nothing that can be said: {text.strip()!r}")
        found.setdefault(normalize_text(text), " ".join(text.split()))
    if not found:
        raise DataError(f"{path} holds no sentences")
    return list(found.values())


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise DataError(f"there is no text file {path}")
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}, line {line}: this is not UTF-8: {error}") from error
    return text.split("\n")  # other marks of a line's end would not count for an editor
