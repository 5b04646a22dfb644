"""Tables in text files: separator, header, and which column is what."""

import csv
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

from recollect.training.errors import DataError
from recollect.training.text import name_of, read_text, split_lines

SEPARATORS = ("::", "\t", ";", ",", "|")
"""Separators that are recognised; runs of blanks come last."""

MISSING = frozenset({"", "na", "n/a", "#n/a", "#na", "nan", "-nan", "<na>", "null", "none"})
"""Cells that mean that a value is missing, in lower case; pandas reads the same ones so."""

BLANKS = " \t"
"""Characters around a cell that do not belong to it; other white space may be part of an id."""

_NAMES = """
user: user users userid uid visitor visitorid customer customerid client clientid member memberid
user: reviewer reviewerid session sessionid buyer buyerid viewer viewerid
item: item items itemid iid movie movieid film filmid product productid parentasin asin track trackid
item: song songid artist artistid book bookid isbn article articleid news newsid video videoid sku
item: business businessid recipe recipeid game gameid anime animeid poi poiid venue venueid goods goodsid
rating: rating ratings score scores stars star overall preference
timestamp: timestamp timestamps time times date dates datetime ds ts unixtime unixreviewtime epoch
timestamp: eventtime createdat reviewtime checkintime zeit datum fecha
series: uniqueid seriesid tsid
value: value values y target
label: label labels isanomaly anomaly anomalylabel outlier isoutlier attack
"""


def _column_names() -> dict[str, frozenset[str]]:
    lines = [line.partition(": ") for line in _NAMES.split("\n") if line]
    roles = dict.fromkeys(role for role, _, _ in lines)
    return {
        r: frozenset(name for role, _, names in lines if role == r for name in names.split()) for r in roles
    }


COLUMN_NAMES: Mapping[str, frozenset[str]] = _column_names()
"""Names of columns that files of the field use, by role; as ``normalize_name`` gives them."""

_SAMPLE = 200  # rows that tell separator and header
_TIME = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ]+\d{1,2}:\d\d.*)?|\d{1,2}:\d\d(:\d\d)?|\d{4}-\d\d")

Kind = Literal["missing", "number", "time", "text"]


class Table(NamedTuple):
    """A file as text cells.

    Attributes:
        path: The file, in messages.
        header: Names of the columns; ``None`` if the file has no header.
        rows: Cells without surrounding blanks; all rows are equally long.
        lines: The line on which each row begins, from 1.
        separator: What stands between the cells; ``" "`` for runs of blanks.
    """

    path: str
    header: list[str] | None
    rows: list[list[str]]
    lines: list[int]
    separator: str

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.rows[0])


def read_table(path: Path, separator: str | None = None, header: bool | None = None) -> Table:
    """Read a text file of rows, plain or gzipped; empty lines are left out.

    Cells may be quoted with ``"``, and then hold separators and line ends.

    Args:
        path: The file.
        separator: What stands between the cells, ``" "`` for runs of blanks; by default the one of
            ``SEPARATORS`` that gives all rows the same number of cells.
        header: Whether the first row names the columns; by default see ``is_header``.

    Raises:
        DataError: If the file is empty, the rows differ in length, the separator cannot be told, or a column
            name is empty or repeated; the message names file and line.
    """
    name = name_of(path)
    text = read_text(path)
    if not text.strip(BLANKS + "\r\n"):
        raise DataError(f"{name} is empty")
    lines = split_lines(text)
    separator = find_separator(name, lines) if separator is None else separator
    numbered = list(_split(name, lines, separator))
    first, width = numbered[0][0], len(numbered[0][1])
    for line, cells in numbered:
        if len(cells) != width:
            raise DataError(f"{name}, line {line}: {len(cells)} cells, but line {first} has {width}")
    rows, numbers = [cells for _, cells in numbered], [line for line, _ in numbered]
    if not (is_header(rows) if header is None else header):
        return Table(name, None, rows, numbers, separator)
    names = rows[0]
    if len(rows) == 1:
        raise DataError(f"{name} has a header and no rows")
    counts = Counter(names)
    for column in names[1:] if not names[0] else names:  # pandas leaves the name of its index empty
        if not column or counts[column] > 1:
            raise DataError(f"{name}, line {first}: {counts[column]} columns are called {column!r}")
    return Table(name, names, rows[1:], numbers[1:], separator)


def find_separator(name: str, lines: Sequence[str]) -> str:
    """The separator that gives the first rows of a file the same number of cells, at least two.

    Raises:
        DataError: If several do, and neither ``::``, a tab nor a header decides.
    """
    widths = {mark: _widths(lines, mark) for mark in (*SEPARATORS, " ")}
    even = [mark for mark, found in widths.items() if len(found) == 1 and max(found) > 1]
    if not even or even == [" "]:
        return _most_even(lines, widths)
    if "::" in even or "\t" in even:
        return "::" if "::" in even else "\t"
    if len(even) > 1:
        first = next(line for line in lines if line.strip(BLANKS))
        named = [mark for mark in even if _roles_named(_cut(first, mark))]
        even = named or [mark for mark in even if mark != " "]
    if even == [";", ","] and all(_has_decimal_commas(line) for line in lines[1:_SAMPLE]):
        return ";"
    if len(even) > 1:
        raise DataError(
            f"{name}: the cells may be separated by {' or by '.join(map(repr, even))}; "
            "--data.separator says by which"
        )
    return even[0]


def _most_even(lines: Sequence[str], widths: Mapping[str, Counter[int]]) -> str:
    """The separator with which most rows agree, so that an error names the others; blanks come last."""
    first = next(line for line in lines if line.strip(BLANKS))

    def agreement(mark: str) -> tuple[bool, int, bool]:
        rows = max((count for width, count in widths[mark].items() if width > 1), default=0)
        common = mark != " " and 2 * rows > widths[mark].total()
        return common, rows, len(_cut(first, mark)) > 1

    return max(widths, key=agreement)


def is_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names the columns.

    It does if it holds text above numbers or times, or names of ``COLUMN_NAMES``, and no number stands above
    numbers; numbers that count the columns from 0 or 1, as pandas writes them, are names.

    Example:
        >>> is_header([["user", "item"], ["a", "b"]]), is_header([["a", "b"], ["a", "c"]])
        (True, False)
        >>> is_header([["ds", "0", "1"], ["2020-01-01", "0.5", "0.1"]])
        True
    """
    first, sample = rows[0], rows[1 : 1 + _SAMPLE]
    above = [kind_of([cell]) for cell in first]
    below = [kind_of([row[place] for row in sample]) for place in range(len(first))]
    named = _roles_named(first)
    contrast = any(a == "text" and b in ("number", "time") for a, b in zip(above, below, strict=True))
    numbers = [cell for cell, a in zip(first, above, strict=True) if a in ("number", "time")]
    if not sample:
        return bool(named) and not numbers
    if numbers:
        indexed = contrast or (not first[0] and below[0] == "time")  # pandas leaves the index without a name
        return (indexed or (len(numbers) > 1 and bool(named))) and _counts_columns(numbers)
    if contrast or len(set(named)) > 1:
        return True
    return bool(named) and all(a == "text" or not cell for a, cell in zip(above, first, strict=True))


def find_roles(header: Sequence[str], roles: Iterable[str]) -> dict[str, int]:
    """The place of each role's column, by the names of ``COLUMN_NAMES``; roles without a column are left out.

    A name that equals the role comes before its synonyms.

    Raises:
        ValueError: If several columns have names of a role.

    Example:
        >>> find_roles(["", "movieId", "userId", "rating"], ["user", "item", "timestamp"])
        {'user': 2, 'item': 1}
    """
    found = {}
    for role in roles:
        names = [normalize_name(name) for name in header]
        places = [place for place, name in enumerate(names) if name in (role, f"{role}id")]
        places = places or [place for place, name in enumerate(names) if name in COLUMN_NAMES[role]]
        if len(places) > 1:
            raise ValueError(
                f"{' and '.join(repr(header[place]) for place in places)} may both be the {role}"
            )
        if places:
            found[role] = places[0]
    return found


def normalize_name(name: str) -> str:
    """A column's name without case, blanks, punctuation and RecBole's type.

    Example:
        >>> normalize_name("user_id:token"), normalize_name("Parent ASIN")
        ('userid', 'parentasin')
    """
    return re.sub(r"[\W_]", "", name.partition(":")[0].lower())


def kind_of(cells: Iterable[str]) -> Kind:
    """What all cells of a column hold, missing ones aside.

    Example:
        >>> kind_of(["1", "NA", "-2.5e3"]), kind_of(["2020-01-31", ""]), kind_of(["1", "b"])
        ('number', 'time', 'text')
    """
    kinds = {_kind(cell) for cell in cells} - {"missing"}
    if not kinds:
        return "missing"
    return kinds.pop() if len(kinds) == 1 else "text"


def to_float(cell: str) -> float | None:
    """A finite number, or ``None``; ``1_0`` and other Python literals are no numbers."""
    if "_" in cell:
        return None
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _kind(cell: str) -> Kind:
    if cell.lower() in MISSING:
        return "missing"
    if to_float(cell) is not None:
        return "number"
    return "time" if _TIME.fullmatch(cell) else "text"


def _roles_named(cells: Sequence[str]) -> list[str]:
    names = [normalize_name(cell) for cell in cells]
    return [role for role, known in COLUMN_NAMES.items() if not known.isdisjoint(names)]


def _counts_columns(numbers: Sequence[str]) -> bool:
    return list(numbers) in ([str(n + start) for n in range(len(numbers))] for start in (0, 1))


def _has_decimal_commas(line: str) -> bool:
    return all("," not in cell or re.fullmatch(r"-?\d+,\d+", cell.strip(BLANKS)) for cell in line.split(";"))


def _widths(lines: Sequence[str], mark: str) -> Counter[int]:
    return Counter(len(cells) for _, cells in islice(_split("", lines, mark, strict=False), _SAMPLE))


def _cut(line: str, mark: str) -> list[str]:
    if mark == " ":
        return re.split(r"[ \t]+", line.strip(BLANKS))
    return [cell.strip(BLANKS) for cell in line.split(mark)]


def _split(
    name: str, lines: Sequence[str], separator: str, strict: bool = True
) -> Iterator[tuple[int, list[str]]]:
    """Rows with the line on which each begins."""
    if separator == " " or len(separator) > 1 or not any('"' in line for line in lines):
        yield from ((i, _cut(line, separator)) for i, line in enumerate(lines, 1) if line.strip(BLANKS))
        return
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=separator, strict=strict)
    begin = 1
    try:
        for cells in reader:
            if any(cell.strip(BLANKS) for cell in cells):
                yield begin, [cell.strip(BLANKS) for cell in cells]
            begin = reader.line_num + 1
    except csv.Error as error:
        if strict:
            raise DataError(f"{name}, line {begin}: {error}") from error
