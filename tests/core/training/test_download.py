"""Downloads: whole and right, or not at all."""

import gc
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from recollect.training import DataError, data_folder, fetch
from recollect.training.errors import DownloadError

CONTENT = b"one fact a line\n" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if "missing" in self.path:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        # A server that dies in the middle of the file.
        self.wfile.write(CONTENT[:5000] if "truncated" in self.path else CONTENT)
        self.server.hits.append(self.path)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.hits = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def url(server: ThreadingHTTPServer, name: str) -> str:
    return f"http://127.0.0.1:{server.server_port}/{name}"


def test_a_file_is_fetched_once(server: ThreadingHTTPServer, tmp_path: Path):
    for _ in range(2):
        path = fetch(url(server, "facts.txt"), SHA256, tmp_path / "new" / "folder")
        assert path == tmp_path / "new" / "folder" / "facts.txt"
        assert path.read_bytes() == CONTENT
    assert server.hits == ["/facts.txt"]
    assert fetch(url(server, "facts.txt"), SHA256, tmp_path, name="mine.txt").name == "mine.txt"


def test_a_file_put_there_by_hand_needs_no_network(tmp_path: Path):
    (tmp_path / "facts.txt").write_bytes(CONTENT)
    assert fetch("http://127.0.0.1:9/facts.txt", SHA256, tmp_path).read_bytes() == CONTENT


def test_a_wrong_checksum_leaves_no_file(server: ThreadingHTTPServer, tmp_path: Path):
    with pytest.raises(DownloadError, match=r"facts\.txt could not be fetched"):
        fetch(url(server, "facts.txt"), "0" * 64, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_download_cut_short_leaves_no_file(server: ThreadingHTTPServer, tmp_path: Path):
    with pytest.raises(DownloadError, match=r"truncated\.txt"):
        fetch(url(server, "truncated.txt"), SHA256, tmp_path)
    assert list(tmp_path.iterdir()) == []


# urllib3 leaves the socket of a refused connection to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", ["missing.txt", None])
def test_without_the_file_or_the_network_the_error_says_what_to_do(
    name: str | None, server: ThreadingHTTPServer, tmp_path: Path
):
    address = url(server, name) if name else "http://127.0.0.1:9/facts.txt"  # nobody listens at the latter
    with pytest.raises(DownloadError) as error:
        fetch(address, SHA256, tmp_path, name="facts.txt")
    message = str(error.value)
    for part in (address, str(tmp_path / "facts.txt"), SHA256, "RECOLLECT_DATA", "by hand"):
        assert part in message
    del error
    gc.collect()  # the socket, here and not in a later test, where a warning is an error


def test_a_damaged_file_is_named_and_left_alone(server: ThreadingHTTPServer, tmp_path: Path):
    path = tmp_path / "facts.txt"
    path.write_bytes(CONTENT[:100])
    with pytest.raises(DataError) as error:
        fetch(url(server, "facts.txt"), SHA256, tmp_path)
    assert str(path) in str(error.value)
    assert path.read_bytes() == CONTENT[:100]
    assert server.hits == []


def test_datasets_live_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RECOLLECT_DATA", str(tmp_path))
    assert data_folder("babi") == tmp_path / "babi"
    monkeypatch.delenv("RECOLLECT_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert data_folder("babi") == tmp_path / "cache" / "recollect" / "babi"
