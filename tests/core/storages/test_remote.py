"""Rows on a Milvus server: what it promises, and what happens when it or the network fails."""

import copy
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recollect.storages import ExternalStorage, RemoteStorage
from recollect.storages.remote_client import RemoteClient
from recollect.storages.remote_engine import MilvusEngine
from recollect.storages.remote_numbers import RANGE, RowNumbers
from recollect.storages.remote_rows import source_hash
from recollect.storages.remote_table import Note
from recollect.testing import ENGINE_CHECKS, EXTERNAL_LAWS, check_operations
from recollect.testing.engine_trial import new_rows, scan

from .milvus import SCRIPT, Proxy, Server

OPERATIONS = st.tuples(st.sampled_from(["add", "add", "erase", "search", "compact"]), st.integers(0, 10**6))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("milvus"))
    yield running
    running.stop()


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    between = Proxy(server.port)
    yield between
    between.close()


def connect(server: Server | Proxy, name: str = "l2_6_3", **options) -> MilvusEngine:
    return MilvusEngine(server.uri, 6, 3, "l2", collection=name, **options)


# --- the contract -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("promise", ENGINE_CHECKS)
def test_an_engine_keeps_its_promises(server: Server, promise: str):
    ENGINE_CHECKS[promise](server.empty_engine)


@pytest.mark.parametrize("law", EXTERNAL_LAWS)
def test_law(server: Server, law: str):
    EXTERNAL_LAWS[law](lambda **options: ExternalStorage(server.empty_engine("cosine"), **options))


@settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(operations=st.lists(OPERATIONS, max_size=12), metric=st.sampled_from(["l2", "cosine", "dot"]))
def test_any_operations_give_what_the_reference_gives(server: Server, operations: list, metric: str):
    check_operations(server.empty_engine, operations, metric)


def test_storages_of_one_collection_share_its_rows(server: Server):
    server.empty_engine("cosine", 4, 1)
    ours, theirs = (RemoteStorage(server.uri, 4, 1, collection="cosine_4_1", capacity=2) for _ in range(2))
    keys, values = torch.eye(4), torch.arange(4.0).unsqueeze(-1)
    state = ours.write(ours.initial_state(), keys, values)
    assert theirs.inspect(theirs.initial_state())["count"] == 2
    torch.testing.assert_close(theirs.read(state, keys[2:]).value, values[2:], rtol=1e-3, atol=1e-3)
    theirs.erase(state, keys[2:3])
    assert ours.read(state, keys[2:]).value.flatten().tolist() == [3, 3]
    assert "metric='cosine', top_k=32, capacity=2" in repr(ours)


# --- opening ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, 3, "l2"), "keys of width 6, not 5"),
        ((6, 4, "l2"), "values of width 3, not 4"),
        ((6, 3, "dot"), "'metric': 'l2'.*not.*'metric': 'dot'"),
    ],
)
def test_a_collection_of_another_kind_is_refused(server: Server, arguments: tuple, message: str):
    server.empty_engine("l2")
    with pytest.raises(ValueError, match=message):
        MilvusEngine(server.uri, *arguments, collection="l2_6_3")


def test_values_of_width_one_and_two_are_told_apart(server: Server):
    server.empty_engine("l2", 6, 1)
    with pytest.raises(ValueError, match="'value_size': 1"):
        MilvusEngine(server.uri, 6, 2, "l2", collection="l2_6_1")


def test_what_no_server_takes_is_refused_before_it_is_asked():
    with pytest.raises(ValueError, match="uri must start with http"):
        MilvusEngine("memory.db", 6, 3)
    with pytest.raises(ValueError, match="timeout must be positive"):
        MilvusEngine("http://127.0.0.1:1", 6, 3, timeout=0)
    with pytest.raises(ValueError, match="letters, digits and underscores"):
        MilvusEngine("http://127.0.0.1:1", 6, 3, collection="a; drop")
    with pytest.raises(ValueError, match="keys of width 2 to"):
        MilvusEngine("http://127.0.0.1:1", 1, 3)
    with pytest.raises(ValueError, match="metric must be one of"):
        MilvusEngine("http://127.0.0.1:1", 6, 3, "hamming")


def test_limits_of_a_server_are_named(server: Server):
    engine = server.empty_engine("l2")
    keys, values = new_rows(engine, 1, seed=0)
    with pytest.raises(ValueError, match="at most 16384 rows"):
        engine.search(keys, 20_000)
    with pytest.raises(ValueError, match="longer than 65535 bytes"):
        engine.add(keys, values, "ü" * 40_000)
    engine.add(keys, values, "x" * 65_535)
    assert engine.sources() == {"x" * 65_535: 1}


def test_a_missing_client_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(ImportError, match=r"pip install recollect\[remote\]"):
        RemoteStorage("http://127.0.0.1:1", 6, 3)


def test_a_pickled_engine_and_a_copied_storage_find_the_rows(server: Server):
    engine = server.empty_engine("l2")
    keys, values = new_rows(engine, 2, seed=0)
    numbers = engine.add(keys, values)
    assert torch.equal(pickle.loads(pickle.dumps(engine)).search(keys, 1).rows.flatten(), numbers)
    assert copy.deepcopy(ExternalStorage(engine)).engine is engine


def test_a_closed_engine_opens_again(server: Server):
    engine = server.empty_engine("l2")
    engine.close()
    engine.add(*new_rows(engine, 2, seed=0))
    assert engine.count() == 2


# --- several clients ----------------------------------------------------------------------------------------


def test_clients_see_what_others_write_and_erase(server: Server):
    ours = server.empty_engine("l2")
    theirs = connect(server)
    keys, values = new_rows(ours, 4, seed=0)
    versions = [theirs.version]
    numbers = ours.add(keys, values, "ours")
    versions.append(theirs.version)
    assert torch.equal(theirs.search(keys, 1).rows.flatten(), numbers)
    assert theirs.erase(numbers[:1]) == 1
    versions.append(ours.version)
    assert ours.search(keys, 1).rows[0] != numbers[0]
    later = theirs.add(keys[:1], values[:1], "theirs")
    assert int(later) > int(numbers.max())
    assert ours.sources() == {"ours": 3, "theirs": 1}
    assert len(set([*versions, ours.version])) == 4
    with pytest.raises(ValueError, match="keys of the model a, not of b"):
        (ours.claim("a"), theirs.claim("b"))
    assert theirs.manifest["fingerprint"] == "a"


def test_many_clients_at_once_never_use_a_number_twice(server: Server):
    server.empty_engine("l2")

    def write(client: int) -> list[int]:
        engine = connect(server)
        return [int(n) for part in range(3) for n in engine.add(*new_rows(engine, 4, client * 9 + part))]

    with ThreadPoolExecutor(6) as pool:
        written = [number for numbers in pool.map(write, range(6)) for number in numbers]
    assert len(set(written)) == 6 * 3 * 4
    engine = connect(server)
    assert scan(engine)[0].tolist() == sorted(written)
    assert engine.version == len(written)


def test_ranges_of_numbers_follow_each_other(server: Server):
    table = server.empty_engine("l2")._table
    ours, theirs = RowNumbers(table), RowNumbers(table)
    assert [ours.take(5), ours.take(1)] == [0, 5]
    assert theirs.take(1) == RANGE
    assert ours.take(RANGE) == 2 * RANGE  # more than is left
    assert len(table.notes(Note.NUMBERS)) == 1
    ours._expires = 0.0
    assert ours.take(1) == 3 * RANGE


def test_equal_claims_of_a_model_leave_one_note(server: Server):
    first, second = server.empty_engine("l2"), connect(server)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda engine: engine.claim("same"), [first, second] * 3))
    assert list(first._table.notes(Note.CLAIM).values()) == ["same"]


def test_a_forked_process_takes_numbers_of_its_own(server: Server, monkeypatch: pytest.MonkeyPatch):
    engine = server.empty_engine("l2")
    keys, values = new_rows(engine, 1, seed=0)
    first = engine.add(keys, values)
    child = os.getpid() + 1
    monkeypatch.setattr(os, "getpid", lambda: child)
    with engine._lock:  # as another thread of the parent might hold it
        assert int(engine.add(keys, values)) >= RANGE > int(first)
    assert engine.count() == 2
    assert engine.version == 2


# --- failures -----------------------------------------------------------------------------------------------


def test_a_server_that_is_away_is_an_error_within_the_time_out():
    before = time.monotonic()
    with pytest.raises(ConnectionError, match=r"http://127.0.0.1:9 did not answer .* is it running"):
        RemoteStorage("http://127.0.0.1:9", 6, 3, timeout=1.0)
    assert time.monotonic() - before < 5


def test_a_server_that_never_answers_is_an_error_within_the_time_out(server: Server, proxy: Proxy):
    server.empty_engine("l2")
    engine = connect(proxy, timeout=2.0, retries=1)
    rows = new_rows(engine, 1, seed=0)
    proxy.silent = True
    before = time.monotonic()
    with pytest.raises(ConnectionError, match="within 2 s"):
        engine.search(rows[0], 1)
    assert time.monotonic() - before < 5


def test_a_lost_answer_adds_no_row_twice(server: Server, proxy: Proxy):
    server.empty_engine("l2")
    engine = connect(proxy)
    numbers = engine.add(*new_rows(engine, 3, seed=0))
    for lost in range(1, 4):
        proxy.cut = 1
        numbers = torch.cat([numbers, engine.add(*new_rows(engine, 3, seed=lost))])
        assert not proxy.cut
    assert proxy.connections >= 3
    assert torch.equal(scan(engine)[0], numbers)
    assert engine.version == 12
    proxy.cut = 1
    assert engine.erase(numbers[:5]) == 5
    proxy.cut = 1
    assert engine.count() == 7


def test_what_a_failed_write_stored_is_erased(server: Server, proxy: Proxy):
    server.empty_engine("l2")
    engine = connect(proxy, timeout=2.0, retries=0)
    kept = engine.add(*new_rows(engine, 3, seed=0))
    proxy.cut = 10**6
    with pytest.raises(ConnectionError):
        engine.add(*new_rows(engine, 3, seed=1))
    proxy.cut = 0
    other = connect(server)
    assert other.count() == 6  # the server has stored it, but nobody was told
    version = other.version
    again = engine.add(*new_rows(engine, 3, seed=1))
    assert torch.equal(scan(other)[0], torch.cat([kept, again]))
    assert other.version > version


def test_a_large_write_is_whole_or_erased(server: Server, proxy: Proxy, monkeypatch: pytest.MonkeyPatch):
    server.empty_engine("l2")
    monkeypatch.setattr("recollect.storages.remote_engine.MAX_BYTES", 4 * 300)
    engine = connect(proxy, timeout=2.0, retries=0)
    keys, values = new_rows(engine, 10, seed=0)
    numbers = engine.add(keys, values)
    assert engine._rows_in(4 * 300, source=0) == 4  # so it took three requests
    assert torch.equal(scan(engine)[1], keys)
    assert torch.equal(engine.search(keys, 1).rows.flatten(), numbers)
    answers = 0
    put = engine._table.put

    def failing(rows: list) -> None:
        nonlocal answers
        answers += 1
        proxy.cut = 10**6 * (answers == 2)
        put(rows)

    monkeypatch.setattr(engine._table, "put", failing)
    with pytest.raises(ConnectionError):
        engine.add(keys, values)
    proxy.cut = 0
    assert engine.count() == 10
    assert torch.equal(scan(engine)[0], numbers)


def test_reads_do_not_wait_for_writes_of_other_threads(server: Server, monkeypatch: pytest.MonkeyPatch):
    engine = server.empty_engine("l2")
    keys, values = new_rows(engine, 3, seed=0)
    put, writing, done = engine._table.put, threading.Event(), threading.Event()

    def slow(rows: list) -> None:
        writing.set()
        assert done.wait(60)
        put(rows)

    engine.add(keys, values)
    monkeypatch.setattr(engine._table, "put", slow)
    with ThreadPoolExecutor(1) as pool:
        write = pool.submit(engine.add, keys, values)
        assert writing.wait(60)
        assert engine.count() == 3
        assert (engine.search(keys, 1).rows >= 0).all()
        done.set()
        assert torch.equal(scan(connect(server))[0][3:], write.result())


def test_other_errors_are_named_once(server: Server):
    client = RemoteClient(server.uri)
    with pytest.raises(OSError, match="refused query: collection 'none' does not exist") as caught:
        client.call("query", "none", filter="row > 0")
    assert not isinstance(caught.value, ConnectionError)
    assert "\n" not in str(caught.value)


class Refusing:
    """A client of pymilvus that fails as gRPC does."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.calls = 0

    def query(self, **arguments):
        self.calls += 1
        error = RuntimeError()
        error.code, error.details = (lambda: self.code), (lambda: "two\nlines")
        raise error

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("code", "kind", "calls"),
    [
        ("StatusCode.UNAUTHENTICATED", PermissionError, 1),
        ("StatusCode.INVALID_ARGUMENT", OSError, 1),
        ("StatusCode.UNAVAILABLE", ConnectionError, 3),
    ],
)
def test_errors_are_told_apart(monkeypatch: pytest.MonkeyPatch, code: str, kind: type, calls: int):
    client, refusing = RemoteClient("http://127.0.0.1:9", token="a:b", retries=2), Refusing(code)
    monkeypatch.setattr(client, "_client", lambda timeout: refusing)
    with pytest.raises(kind, match="two lines") as caught:
        client.call("query")
    assert type(caught.value) is kind
    assert refusing.calls == calls
    assert "a:b" not in str(caught.value)


def test_sources_never_stand_in_a_filter(server: Server, monkeypatch: pytest.MonkeyPatch):
    engine = server.empty_engine("l2")
    engine.add(*new_rows(engine, 2, seed=0), ["' or 1 == 1 --", "other"])
    filters = []
    query = engine._table.query
    monkeypatch.setattr(
        engine._table,
        "query",
        lambda where, *rest, **named: filters.append(where) or query(where, *rest, **named),
    )
    assert len(scan(engine, ["' or 1 == 1 --"])[0]) == 1
    assert len(scan(engine, ["' or 1 == 1"])[0]) == 0
    assert all("or 1" not in one and "'" not in one for one in filters)
    assert 0 <= source_hash("other") < 2**63


WRITER = """
import sys
from recollect.storages.remote_engine import MilvusEngine
from recollect.testing.engine_trial import new_rows
engine = MilvusEngine(sys.argv[1], 6, 3, "l2", collection="l2_6_3")
for n in range(20):
    engine.add(*new_rows(engine, 10, seed=n), sys.argv[2])
"""


@pytest.mark.thorough
def test_writes_of_several_processes_are_all_there(server: Server):
    engine = server.empty_engine("l2")
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, server.uri, str(n)]) for n in range(3)]
    assert [writer.wait(300) for writer in writers] == [0] * 3
    assert engine.sources() == {str(n): 200 for n in range(3)}
    assert len(set(scan(engine)[0].tolist())) == engine.version == 600


@pytest.mark.thorough
def test_a_server_ends_when_the_tests_are_killed(tmp_path: Path):
    start = (
        f"import subprocess, sys; subprocess.run([sys.executable, {str(SCRIPT)!r}, {str(tmp_path)!r}, '0'])"
    )
    tests = subprocess.Popen([sys.executable, "-c", start], stdout=subprocess.PIPE, text=True)
    with tests.stdout:
        port = int(tests.stdout.readline())
        tests.kill()
        tests.wait()
        assert tests.stdout.read() == ""  # until the server, which holds the other end, has ended, too
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def wait_for(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.01)


@pytest.mark.thorough
@pytest.mark.parametrize("times", [1, 5])
def test_a_killed_server_keeps_what_it_acknowledged(
    tmp_path: Path, request: pytest.FixtureRequest, times: int
):
    server = Server(tmp_path)
    request.addfinalizer(server.stop)
    acknowledged: dict[int, str] = {}
    stop = threading.Event()

    def write(thread: int) -> None:
        engine = MilvusEngine(server.uri, 6, 3, "l2", collection="rows", timeout=60.0, retries=40)
        for n in range(10**6):
            if stop.is_set():
                return
            numbers = engine.add(*new_rows(engine, 5, seed=n), f"{thread} {n}")
            assert engine.erase(numbers[:1]) == 1
            acknowledged.update(dict.fromkeys(numbers[1:].tolist(), f"{thread} {n}"))

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(write, thread) for thread in range(2)]
        try:
            for life in range(times):
                wait_for(lambda goal=100 * (life + 1): len(acknowledged) >= goal or writers[0].done())
                time.sleep(0.013 * life)
                server.kill()
                server.start()
        finally:
            stop.set()
        for writer in writers:
            writer.result()
    engine = MilvusEngine(server.uri, 6, 3, "l2", collection="rows")
    stored = {origin.row: origin.source for rows in engine.scan() for origin in rows.origins}
    assert stored == acknowledged  # nothing is lost, nothing erased is back, no write is there in part
    assert engine.version == len(stored) // 4 * 6
