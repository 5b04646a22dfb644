"""``recollect serve``: what it refuses before a model is loaded, and a real process on a free port."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from served_model import D

from recollect import DiskStorage
from recollect_cli.core import main

HERE = Path(__file__).parent
TOKEN = "0123456789abcdef0123"


def refused(capsys, *args):
    """Exit code and the line of an error."""
    with pytest.raises(SystemExit) as stop:
        main(["serve", *args])
    (line,) = capsys.readouterr().err.splitlines()
    return stop.value.code, line.removeprefix("recollect: error: ")


@pytest.fixture(autouse=True)
def no_token(monkeypatch):
    monkeypatch.delenv("RECOLLECT_TOKEN", raising=False)


@pytest.fixture(autouse=True)
def folder(monkeypatch):
    """The command finds modules of its working directory."""
    monkeypatch.chdir(HERE)
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.mark.parametrize(
    ("args", "code", "line"),
    [
        ([], 2, "the following arguments are required: MODEL"),
        (["runs/nothing"], 1, "runs/nothing is no run folder"),
        (["no_such_module:make"], 2, "there is no module 'no_such_module'"),
        (["served_model:nothing"], 2, "served_model:nothing: give package.module:function"),
        (["served_model:D"], 2, "served_model:D is no function"),
        (["served_model:make_nothing"], 2, "served_model:make_nothing returns no model but NoneType"),
        (["served_model:make_without_memory"], 1, "no layer of this Linear has a lasting memory"),
        (["served_model:make_classifier", "--host", "0.0.0.0"], 1, "0.0.0.0 can be reached"),
        (["served_model:make_classifier", "--token-file", "none"], 2, "--token-file: none cannot be read"),
        (["served_model:make_classifier", "--input", "float"], 2, "--input: 'float' is no input"),
        (["served_model:make_classifier", "--input", "float32", "--input", "bool"], 2, "--input: several"),
        (["served_model:make_classifier", "--port", "70000"], 2, "argument --port: must be a number"),
        (["served_model:make_classifier", "--at", "0"], 1, "0 has no lasting memory; 2 has"),
    ],
)
def test_mistakes_are_one_line(capsys, args, code, line):
    found = refused(capsys, *args)
    assert found[0] == code
    assert found[1].startswith(line)


def test_a_short_token_is_refused(capsys, monkeypatch):
    monkeypatch.setenv("RECOLLECT_TOKEN", "secret")
    assert refused(capsys, "served_model:make_classifier") == (
        1,
        "a token needs at least 16 characters, got 6",
    )


def test_a_store_of_other_sizes_is_refused(capsys, tmp_path):
    DiskStorage(tmp_path / "store", key_size=3, value_size=1, metric="l2")
    code, line = refused(capsys, "served_model:make_classifier", "--store", str(tmp_path / "store"))
    assert code == 1
    assert "key_size" in line


def test_help_and_typos_need_no_torch():
    script = (
        "import sys; from recollect_cli.core import main\n"
        "for args in ([], ['--help'], ['--version'], ['serve', '--help'], ['serv']):\n"
        "    try: main(args)\n"
        "    except SystemExit as stop: print('exit', stop.code)\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "usage: recollect serve" in done.stdout
    assert "exit 2" in done.stdout
    assert "there is no command 'serv'" in done.stderr


class Server:
    """A server in a process of its own."""

    def __init__(self, *args: str) -> None:
        command = [sys.executable, "-c", "from recollect_cli.core import main; main()", "serve", *args]
        self.process = subprocess.Popen(
            [*command, "--port", "0"],
            cwd=HERE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"RECOLLECT_TOKEN": TOKEN, "OMP_NUM_THREADS": "1"},
        )
        self.log: list[str] = []
        self.address = self._wait()
        self.drain = threading.Thread(target=self._drain, daemon=True)
        self.drain.start()

    def _wait(self) -> str:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if found := re.search(r"http://[\d.:]+", line):
                return found[0]
        raise AssertionError("".join(self.log))

    def _drain(self) -> None:
        assert self.process.stderr is not None
        self.log.extend(self.process.stderr)

    def post(self, path: str, **body: object) -> dict:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
        request = urllib.request.Request(f"{self.address}/v1/{path}", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self.drain.join(60)  # which reads to the end
            self.process.stderr.close()


@pytest.fixture
def start() -> Iterator:
    """Start servers, which are stopped at the end."""
    servers = []

    def begin(*args):
        servers.append(Server(*args))
        return servers[-1]

    yield begin
    for server in servers:
        if server.process.poll() is None:
            server.process.kill()
        server.process.wait(60)
        server.drain.join(60)
        server.process.stderr.close()


@pytest.mark.thorough
def test_a_process_keeps_its_rows_on_disk(start, tmp_path):
    args = ("served_model:make_with_example", "--store", str(tmp_path / "store"))
    server, answered = start(*args), []

    def write(number):
        source = f"it's {number}"
        answered.append(server.post("remember", inputs=[[number, 1, 2]], targets=[number % 5], source=source))

    writers = [threading.Thread(target=write, args=(number,)) for number in range(16)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    (output,) = server.post("explain", inputs=[[3, 1, 2]])["outputs"]
    assert output["citations"][0]["source"] == "it's 3"
    assert server.post("forget", source="it's 3") == {"forgotten": 1}
    (output,) = server.post("explain", inputs=[[3, 1, 2]])["outputs"]
    assert "it's 3" not in {cited["source"] for cited in output["citations"]}
    with pytest.raises(urllib.error.HTTPError, match="422"):
        server.post("predict", inputs=[[1, 2]])
    assert server.stop() in (0, -signal.SIGTERM)
    assert len({answer["rows"][0] for answer in answered}) == 16

    engine = DiskStorage(tmp_path / "store", D, 1, metric="l2").engine
    assert engine.sources() == {f"it's {number}": 1 for number in range(16) if number != 3}


@pytest.mark.thorough
def test_a_stop_while_writes_are_under_way_loses_none(start, tmp_path):
    args = ("served_model:make_with_example", "--store", str(tmp_path / "store"))
    server, acknowledged = start(*args), []

    def write(first):
        for number in range(first, first + 50):
            try:
                server.post("remember", inputs=[[number, 1, 2]], targets=[1], source=f"s{number}")
            except (OSError, urllib.error.URLError):
                return  # refused, since the server stops
            acknowledged.append(f"s{number}")

    writers = [threading.Thread(target=write, args=(100 * number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    while len(acknowledged) < 8:
        pass
    server.stop()
    for writer in writers:
        writer.join()
    with urllib.request.urlopen(f"{start(*args).address}/v1/provenance", timeout=60) as response:
        kept = json.load(response)["largest"]
    assert set(acknowledged) <= set(kept)
