"""Text files and Unicode text, read the same way by every package."""

import gzip
import re
import sys
import unicodedata
import zlib
from pathlib import Path

import regex
from charset_normalizer import from_bytes

from recollect.training.errors import DataError

STANDARD_INPUT = Path("-")
"""The path that stands for the standard input."""

WORD_CHARACTER = r"\p{L}\p{M}\p{N}\u200c\u200d"
"""Characters of words, for a class of the ``regex`` package: letters, marks, numbers and joiners.

Vowel signs of Indic and Thai text, Hebrew points and combining diacritics are marks; ``\\w`` of ``re`` splits
words at them.
"""

SYMBOL = r"\p{Sc}\p{Sm}\p{So}%‰#&@"
"""Symbols that carry meaning, for such a class: currencies, mathematics, pictures, ``%`` and the like."""

_GZIP = b"\x1f\x8b"
_BYTE_ORDER_MARKS = (  # the mark of UTF-16 begins that of UTF-32, so the longer one comes first
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_GUESSED_BYTES = 1 << 16
_COMMON_ENCODINGS = (  # the first that fits is named
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "latin_1", "iso8859_2", "iso8859_15", "koi8_r"),
    *("mac_roman", "shift_jis", "cp932", "euc_jp", "gbk", "gb18030", "big5", "euc_kr", "cp949"),
)
_LINE_END = re.compile(rb"\r\n|\n|\r")
_SIGN = rf"(?:(?<![{WORD_CHARACTER}{SYMBOL}])[+\-−](?=\.?\p{{N}}))?(?:(?<![{WORD_CHARACTER}])\.(?=\p{{N}}))?"
_JOINED = r"(?:['’_\-]|(?<=\p{N})[.,:](?=\p{N}))"
_TOKEN = regex.compile(rf"{_SIGN}[{WORD_CHARACTER}]+(?:{_JOINED}[{WORD_CHARACTER}]+)*|[{SYMBOL}]")


def name_of(path: Path) -> str:
    """The name of a file in messages."""
    return "standard input" if path == STANDARD_INPUT else str(path)


def read_bytes(path: Path) -> bytes:
    """Read a file, unpacked if its content is gzip, whatever its suffix; ``-`` is the standard input.

    Raises:
        DataError: If there is no such file, it cannot be read, or it is a damaged or truncated archive.
    """
    name = name_of(path)
    try:
        content = sys.stdin.buffer.read() if path == STANDARD_INPUT else path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"there is no file {name}") from None
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror or error}") from error
    if not content.startswith(_GZIP):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{name} is not a whole gzip file: {error}") from error


def read_text(path: Path) -> str:
    """Read a text file; see ``read_bytes`` and ``decode``."""
    return decode(read_bytes(path), name_of(path))


def decode(content: bytes, name: str) -> str:
    """Decode the bytes of a text file: UTF-8, or UTF-16 or UTF-32 with a byte-order mark, which is removed.

    Args:
        content: The bytes.
        name: The file, in messages.

    Raises:
        DataError: If it is in another encoding or binary; the message names the line and the probable
            encoding.
    """
    marks = (encoding for mark, encoding in _BYTE_ORDER_MARKS if content.startswith(mark))
    encoding = next(marks, "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = _line_of(content[: error.start])
        raise DataError(
            f"{name}, line {line}: not {encoding.removesuffix('-sig').upper()} ({error.reason} at byte "
            f"{error.start + 1} of the file){_hint(name, content)}"
        ) from error
    if "\0" in text:
        line = len(split_lines(text[: text.index("\0")] + "."))
        raise DataError(f"{name}, line {line}: a zero byte: this is not a text file in UTF-8")
    return text


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text file, without their line ends; see ``read_text`` and ``split_lines``."""
    return split_lines(read_text(path))


def split_lines(text: str) -> list[str]:
    r"""Split text where editors do: at ``\n``, ``\r\n`` and ``\r`` only.

    ``str.splitlines`` also splits at U+2028, U+0085, form feeds and vertical tabs, which occur inside cells.

    Example:
        >>> split_lines("a\u2028b\r\nc\rd\n")
        ['a\u2028b', 'c', 'd']
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if not lines[-1]:
        lines.pop()
    return lines


def normalize(text: str) -> str:
    r"""Compose characters (Unicode normal form C), so that equal text is equal.

    macOS decomposes file names and some editors decompose text: ``ü`` then is ``u`` and a combining mark.

    Example:
        >>> normalize("Mu\u0308nchen") == "M\u00fcnchen"
        True
    """
    return unicodedata.normalize("NFC", text)


def tokenize(text: str) -> list[str]:
    """Split text into words, numbers with their sign, and symbols, in lower case, without punctuation.

    Apostrophes and hyphens join words, points and commas join digits. Symbols
    (``SYMBOL``) are tokens.

    Example:
        >>> tokenize("Where is Mary's half-eaten apple?")
        ['where', 'is', "mary's", 'half-eaten', 'apple']
        >>> tokenize("-5 or +.5, $5, 5%, 3.5 or C++.")
        ['-5', 'or', '+.5', '$', '5', '5', '%', '3.5', 'or', 'c', '+', '+']
    """
    found: list[str] = _TOKEN.findall(normalize(text).lower())
    return found


def _line_of(before: bytes) -> int:
    return len(_LINE_END.findall(before)) + 1


def _hint(name: str, content: bytes) -> str:
    guess = from_bytes(content[:_GUESSED_BYTES]).best()
    fitting = [] if guess is None else [guess.encoding, *guess.could_be_from_charset]
    encoding = next((name for name in _COMMON_ENCODINGS if name in fitting), None)
    if encoding is None:
        return ""
    encoding = encoding.replace("_", "-")
    return f"; it may be {encoding}: iconv -f {encoding} -t utf-8 {Path(name).name} converts it"
