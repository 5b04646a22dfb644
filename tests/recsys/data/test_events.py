"""Files of interactions: what is read, and what is refused with file and line."""

import gzip
from pathlib import Path

import pytest

from recollect.training import DataError
from recollect_recsys.data.events import read_events


def write(folder: Path, text: str, name: str = "own.txt") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize("mark", ["\t", "::", ",", " ", "   "])
def test_cells_may_be_parted_by_tabs_colons_commas_or_blanks(mark: str, tmp_path: Path) -> None:
    rows = [("a", "x", "3", "20"), ("b", "y", "4.5", "10")]
    events = read_events(write(tmp_path, "".join(mark.join(row) + "\n" for row in rows)))
    assert list(events.users) == ["a", "b"]
    assert list(events.items) == ["x", "y"]
    assert events.stamps is not None
    assert events.stamps.tolist() == [20, 10]
    assert list(events.lines) == [1, 2]


def test_lines_without_stamps_are_in_order_of_time(tmp_path: Path) -> None:
    events = read_events(write(tmp_path, "1 7\n\n1 5\n"))
    assert events.stamps is None
    assert list(events.items) == ["7", "5"]
    assert list(events.lines) == [1, 3]  # the empty line counts as a line


def test_a_packed_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "own.dat.gz"
    path.write_bytes(gzip.compress(b"1::2::3::4\r\n1::3::3::5\r\n"))
    assert list(read_events(path).items) == ["2", "3"]


@pytest.mark.parametrize(
    "header", ["userId,movieId,rating,timestamp", "user_id:token,item_id:token,rating:float,timestamp:float"]
)
def test_a_header_is_left_out(header: str, tmp_path: Path) -> None:
    events = read_events(write(tmp_path, f'{header}\n1,"a, b",3,4\n'))
    assert list(events.users) == ["1"]
    assert list(events.items) == ["a, b"]
    assert list(events.lines) == [2]


@pytest.mark.parametrize(
    "text",
    [
        "movieId,userId,rating,timestamp\n10,1,5,1400000000\n11,1,4,1400000001\n",
        ",user,item,rating,timestamp\n0,1,10,5,1400000000\n1,1,11,4,1400000001\n",
        "timestamp,user_id,item_id,rating\n1400000000,1,10,5\n1400000001,1,11,4\n",
        "timestamp,visitorid,event,itemid,transactionid\n1400000000,1,view,10,\n1400000001,1,view,11,\n",
        '"session_id"\t"item_id"\t"Timestamp"\n1\t10\t2014-05-13T16:53:20Z\n1\t11\t2014-05-13T16:53:21Z\n',
        "user_id,parent_asin,rating,timestamp\n1,10,5.0,1400000000\n1,11,4.0,1400000001\n",
        "customer_id;product_id;date\n1;10;2014-05-13 18:53:20+02:00\n1;11;2014-05-13 18:53:21+02:00\n",
    ],
)
def test_a_header_says_which_column_is_which(text: str, tmp_path: Path) -> None:
    events = read_events(write(tmp_path, text))
    assert (list(events.users), list(events.items)) == (["1", "1"], ["10", "11"])
    assert events.stamps is not None
    assert events.stamps.tolist() == [1400000000, 1400000001]
    assert "with a header" in events.note


def test_a_header_of_unknown_names_is_left_out(tmp_path: Path) -> None:
    events = read_events(write(tmp_path, "who,what\n1,10\n"))
    assert (list(events.users), list(events.items)) == (["1"], ["10"])
    assert events.note.endswith("user = 'who', item = 'what'; with a header, separated by ','")


def test_a_name_that_equals_the_role_comes_first_and_the_others_from_the_left(tmp_path: Path) -> None:
    assert list(read_events(write(tmp_path, "customer,user,item\n1,2,3\n")).users) == ["2"]
    assert list(read_events(write(tmp_path, "user,title\n1,2\n")).items) == ["2"]


def test_columns_that_a_file_does_not_name_are_named_by_a_flag(tmp_path: Path) -> None:
    path = write(tmp_path, "1,2014-04-07T10:51:09.277Z,21,0\n1,2014-04-07T10:54:09Z,22,0\n")
    events = read_events(path, ["user", "timestamp", "item"])
    assert list(events.items) == ["21", "22"]
    path = write(tmp_path, "x,1,21\ny,1,22\n")
    assert list(read_events(path, ["skip", "user", "item"]).users) == ["1", "1"]


def test_columns_and_header_that_disagree_are_a_conflict(tmp_path: Path) -> None:
    path = write(tmp_path, "movieId,userId\n10,1\n")
    with pytest.raises(DataError, match="column 1 is called 'movieId', but would be read as user"):
        read_events(path, ["user", "item"])


@pytest.mark.parametrize("mark", ["\u2028", "\u0085", "\x0b"])
def test_ids_may_hold_what_is_no_line_end(mark: str, tmp_path: Path) -> None:
    events = read_events(write(tmp_path, f"u1\ti{mark}1\nu1\ti2\n"))
    assert list(events.items) == [f"i{mark}1", "i2"]


def test_ids_that_look_like_headers_are_no_header(tmp_path: Path) -> None:
    assert list(read_events(write(tmp_path, "user1 item1\nuser2 item1\n")).users) == ["user1", "user2"]


def test_columns_may_be_others(tmp_path: Path) -> None:
    path = write(tmp_path, "2 1 978300760 x\n3 1 978300761 x\n")
    events = read_events(path, ["item", "user", "timestamp"])
    assert list(events.items) == ["2", "3"]
    assert events.stamps is not None
    assert events.stamps.tolist() == [978300760, 978300761]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("user item\n", "header and no rows"),
        ("1 2 3 4\n1 2 3\n", "line 2: 3 cells, but line 1 has 4"),
        ("1 2\n1,2\n", "line 2: 1 cells"),
        ("alone\n", "has 1 cell a line"),
        ("1 2 3 4\n1 3 3 soon\n", "line 2: the timestamp is no number: 'soon'"),
        ("1 2 x 4\n1 3 3 5\n", "line 1: the rating is no number: 'x'"),
        ("1 2 3 4\n1 3 nan 5\n", "line 2: the rating is no number: 'nan'"),
        ("1 2\n1 -3\n", "line 2: the item is negative: -3"),
        ("1\t2\n\t3\n", "line 2: the user is empty"),
        ("1 2 978300760\n1 3 978300761\n", "column 3, .* looks like time stamps"),
        ('1,2\n1,"2\n', "line 2: unexpected end of data"),
        ("1 2 3 4\n1 3 1_0 5\n", "line 2: the rating is no number: '1_0'"),
        ("1,2\nnull,3\n", "line 2: the user is missing: 'null'"),
        ("1,2,NA,4\n1,3,5,5\n", "line 1: the rating is no number: 'NA'"),
        ("1,2,5,NA\n1,3,5,5\n", "line 1: the timestamp is neither a number nor ISO 8601: 'NA'"),
        ("1,2,3,2020-01-01\n1,3,3,soon\n", "line 2: the timestamp is neither a number nor ISO 8601: 'soon'"),
        ("1,2014-04-07T10:51:09.277Z,21,0\n1,2014-04-07T10:54:09Z,22,0\n", "column 2, .* like time stamps"),
        ("1,1400000000,21\n1,1400000001,22\n", "column 2, .* like time stamps, not like the item"),
        ("item,rating,stars\n1,2,3\n", "column 1 is called 'item', but would be read as user"),
        ("visitorid,sessionid,itemid\n1,2,3\n", "'visitorid' and 'sessionid' may both be the user"),
    ],
)
def test_a_malformed_file_is_refused_by_line(text: str, told: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises(DataError, match=told) as caught:
        read_events(path)
    assert str(path) in str(caught.value)


def test_another_encoding_is_refused_by_line(tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    path.write_bytes("1 a\n2 é\n".encode("latin-1"))
    with pytest.raises(DataError, match="line 2: not UTF-8"):
        read_events(path)


def test_a_missing_or_damaged_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file .*gone\.txt"):
        read_events(tmp_path / "gone.txt")
    damaged = tmp_path / "own.gz"
    damaged.write_bytes(gzip.compress(b"1 2\n" * 100)[:-9])
    with pytest.raises(DataError, match=r"own\.gz is not a whole gzip file"):
        read_events(damaged)


def test_columns_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="columns must be user, item"):
        read_events(write(tmp_path, "1 2 3\n"), ["user", "rating"])
    with pytest.raises(DataError, match="expected user item timestamp"):
        read_events(write(tmp_path, "1 2\n"), ["user", "item", "timestamp"])
