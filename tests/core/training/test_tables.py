"""Tables in text files: separators, headers, roles of columns."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recollect.training import DataError
from recollect.training.tables import find_roles, is_header, kind_of, read_table

CELLS = st.text(
    st.characters(exclude_characters="\r\n\0\t ", exclude_categories=["Cs"]), min_size=1, max_size=8
)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize("separator", ["::", "\t", ";", ",", "|", " "])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_separators_and_line_ends_are_recognised(tmp_path: Path, separator: str, end: str):
    rows = [["user", "item", "rating"], ["u1", "i1", "5"], ["u2", "i2", "4.5"]]
    table = read_table(write(tmp_path / "file", end.join(separator.join(row) for row in rows) + end))
    assert (table.header, table.rows, table.lines) == (rows[0], rows[1:], [2, 3])
    assert table.separator == separator


@given(
    st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=8),
    st.sampled_from([",", ";", "|"]),
)
def test_what_csv_writes_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], separator: str
):
    file = io.StringIO()
    csv.writer(file, delimiter=separator, quoting=csv.QUOTE_ALL).writerows(rows)
    path = write(tmp_path_factory.getbasetemp() / "written.csv", file.getvalue())
    assert read_table(path, separator, header=False).rows == rows


@pytest.mark.parametrize(
    ("text", "separator"),
    [
        ("time\tnote\n1\ta,b\n2\tc,d\n", "\t"),  # commas in each row of a tab-separated file
        ("user,item,tags\n1,2,a|b\n1,3,c|d\n", ","),
        ("date;value\n2020-01-01;1,5\n2020-01-02;2,5\n", ";"),  # decimal commas
        ("1::Toy Story, The::Animation|Comedy\n2::Heat, The::Drama|Crime\n", "::"),
        ("time,value\n2020-01-01 00:00,1\n2020-01-01 01:00,2\n", ","),
    ],
)
def test_separators_inside_cells_do_not_separate(tmp_path: Path, text: str, separator: str):
    assert read_table(write(tmp_path / "file", text)).separator == separator


def test_a_separator_that_cannot_be_told_is_asked_for(tmp_path: Path):
    path = write(tmp_path / "file", "a;b,c\nd;e,f\n")
    with pytest.raises(
        DataError, match=r"file: the cells may be separated by ';' or by ','; --data.separator"
    ):
        read_table(path)
    assert read_table(path, separator=",").rows == [["a;b", "c"], ["d;e", "f"]]


def test_a_quoted_cell_holds_line_ends_and_its_row_keeps_its_line(tmp_path: Path):
    table = read_table(write(tmp_path / "file", 'user,item\n1,"a\n\nb"\n\n2,c\n'))
    assert table.rows == [["1", "a\n\nb"], ["2", "c"]]
    assert table.lines == [2, 6]


@pytest.mark.parametrize("blank", ["\u2028", "\u0085", "\x0b", "\u00a0"])
def test_other_white_space_belongs_to_cells(tmp_path: Path, blank: str):
    path = write(tmp_path / "file", f"u1\ti{blank}1\nu1\ti{blank}\n")
    assert read_table(path).rows == [["u1", f"i{blank}1"], ["u1", f"i{blank}"]]


def test_a_short_row_is_named(tmp_path: Path):
    with pytest.raises(DataError, match="file, line 4: 2 cells, but line 1 has 3"):
        read_table(write(tmp_path / "file", "a,b,c\n1,2,3\n\n1,2\n"))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("customer_id,product_id 0,167", True),
        ("visitorid,itemid a,b", True),
        (",user,item,rating 0,1,10,5", True),
        ("time,v 2020-01-01,0.5", True),
        ("date,OT 2016-07-01,30.5", True),
        ("value 1", True),
        ("ds,0,1 2020-01-01,0.5,0.1", True),
        ("0,1 0.5,0.1", False),
        ("2020-01-01,0.5 2020-01-02,0.6", False),
        ("NA,0.5 0.1,0.6", False),
        ("null,null 0.1,0.6", False),
        ("u1,i1 u1,i2", False),
        ("1,2,5 1,3,4", False),
        ("rating,b c,d", True),
        ("1,time 2,b", False),
    ],
)
def test_headers(rows: str, expected: bool):
    assert is_header([row.split(",") for row in rows.split()]) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("timestamp,visitorid,event,itemid", {"user": 1, "item": 3, "timestamp": 0}),
        ("user_id,parent_asin,rating,timestamp", {"user": 0, "item": 1, "rating": 2, "timestamp": 3}),
        ("movieId,userId,rating", {"user": 1, "item": 0, "rating": 2}),
        ("user_id:token,item_id:token,timestamp:float", {"user": 0, "item": 1, "timestamp": 2}),
        ("unique_id,ds,y", {"timestamp": 1, "value": 2, "series": 0}),
        ("user,customer_id,item", {"user": 0, "item": 2}),
        ("a,b", {}),
    ],
)
def test_roles(header: str, expected: dict[str, int]):
    assert (
        find_roles(header.split(","), ["user", "item", "rating", "timestamp", "value", "series"]) == expected
    )


def test_two_columns_of_one_role_are_a_conflict():
    with pytest.raises(ValueError, match="'visitorid' and 'sessionid' may both be the user"):
        find_roles(["visitorid", "sessionid"], ["user"])


def test_columns_are_called_once(tmp_path: Path):
    with pytest.raises(DataError, match="line 1: 2 columns are called 'v'"):
        read_table(write(tmp_path / "file", "time,v,v\n2020-01-01,1,2\n"))
    with pytest.raises(DataError, match="line 1: 1 columns are called ''"):
        read_table(write(tmp_path / "other", "time,,v\n2020-01-01,1,2\n"))


@pytest.mark.parametrize("text", ["", " \n\n", "user,item\n"])
def test_a_file_without_rows_is_refused(tmp_path: Path, text: str):
    with pytest.raises(DataError, match=r"file (is empty|has a header and no rows)"):
        read_table(write(tmp_path / "file", text))


def test_python_literals_are_no_numbers():
    assert kind_of(["1_0", "2_0"]) == "text"
    assert kind_of(["inf", "1"]) == "text"
