"""Text files of sentences."""

from pathlib import Path

from recollect.training import DataError
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
    for line, text in enumerate(_lines(path), start=1):
        if not text.strip():
            continue
        if len(text) > MAX_CHARACTERS:
            raise DataError(
                f"{path}, line {line}: {len(text)} characters, "
                f"but a line holds one sentence of at most {MAX_CHARACTERS}"
            )
        if "\0" in text or not any(map(str.isalnum, text)):
            raise DataError(f"{path}, line {line}: no letters or digits: {text.strip()!r}")
        found.setdefault(normalize_text(text), " ".join(text.split()))
    if not found:
        raise DataError(f"{path} has no sentences")
    return list(found.values())


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise DataError(f"text file {path} does not exist")
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}, line {line}: this is not UTF-8: {error}") from error
    return text.split("\n")  # splitlines() would split at characters that editors do not count as line ends
