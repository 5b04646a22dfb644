"""Files as people and tools write them: encodings, separators, line ends, quotes, archives, and damage."""

import codecs
import csv
import gzip
import io
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32")
LINE_ENDS = ("\n", "\r\n", "\r")

IDS = st.text(
    st.characters(categories=["L", "M", "N"], include_characters="._-#@ \u2028\u0085\x0b'é"), min_size=1
)
"""Ids with marks, blanks, and characters that only ``str.splitlines`` takes for line ends."""


@st.composite
def written(
    draw: Any, rows: Sequence[Sequence[str]], separators: Sequence[str], quotes: bool = True
) -> bytes:
    """The bytes of a file with these rows."""
    separator, end = draw(st.sampled_from(separators)), draw(st.sampled_from(LINE_ENDS))
    file = io.StringIO()
    if quotes and len(separator) == 1:
        style = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
        csv.writer(file, delimiter=separator, lineterminator=end, quoting=style).writerows(rows)
    else:
        file.write("".join(separator.join(row) + end for row in rows))
    content = codecs.encode(file.getvalue(), draw(st.sampled_from(ENCODINGS)))
    return gzip.compress(content, mtime=0) if draw(st.booleans()) else content


@st.composite
def damaged(draw: Any, content: bytes) -> bytes:
    """The bytes of a file with some replaced, inserted, or missing from its end."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(changed) - 1, 0)))
        match draw(st.sampled_from(["replace", "insert", "cut", "double"])):
            case "replace" if changed:
                changed[place] = draw(st.integers(0, 255))
            case "insert":
                changed[place:place] = draw(
                    st.sampled_from([b",", b"\t", b'"', b"\n", b"\r", b"\0", b"\xff", b"-", b"::"])
                )
            case "cut":
                del changed[place:]
            case _:
                changed += changed[place:]
    return bytes(changed)


def fuzz(strategy: st.SearchStrategy[Any], few: int = 150, many: int = 10_000) -> Callable[[Any], Any]:
    """A test of a function of one example: a few examples in each run, many in a slow one.

    The function takes ``tmp_path_factory`` and the example.
    """

    def wrap(check: Callable[[pytest.TempPathFactory, Any], None]) -> Any:
        @pytest.mark.parametrize("examples", [few, pytest.param(many, marks=pytest.mark.slow)])
        def test(tmp_path_factory: pytest.TempPathFactory, examples: int) -> None:
            run = given(strategy)(lambda example: check(tmp_path_factory, example))
            settings(
                max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck)
            )(run)()

        test.__doc__ = check.__doc__
        return test

    return wrap
