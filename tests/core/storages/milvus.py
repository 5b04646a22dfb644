"""A Milvus server for tests, and a network between it and its clients that can fail."""

import contextlib
import select
import socket
import subprocess
import sys
import threading
from pathlib import Path

from recollect.ops.distance import Metric
from recollect.storages.remote_engine import MilvusEngine
from recollect.storages.remote_table import batches

SCRIPT = Path(__file__).with_name("serve_milvus.py")


class Server:
    """Milvus Lite on a free port of the loopback interface."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, 0
        self.start()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, on the same port as before."""
        arguments = [sys.executable, SCRIPT, self.folder, str(self.port)]
        self._process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        self.port = int(self._process.stdout.readline())

    def kill(self) -> None:
        """End it at once, as a loss of power does."""
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(10)
        self._process.stdout.close()

    def empty_engine(self, metric: Metric, key_size: int = 6, value_size: int = 3, **options) -> MilvusEngine:
        """Open a collection of these sizes without any rows and notes; making a new one takes two seconds."""
        name = f"{metric}_{key_size}_{value_size}"
        arguments = self.uri, key_size, value_size, metric
        table = MilvusEngine(*arguments, collection=name)._table
        rows = [row["row"] for row in table.query("row > -9000000000000000000", ["row"])]
        for some in batches(rows, 1000):
            table.delete(some)
        return MilvusEngine(*arguments, collection=name, **options)


class Proxy:
    """Hands bytes to and fro between clients and a port, and fails when told to.

    Attributes:
        cut: Cut the connection at the next bytes of the server, which then did what the client never learns.
        silent: Take connections and bytes, and never answer.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self.cut = 0
        self.silent = False
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.uri = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            server = socket.create_connection(("127.0.0.1", self._target))
            self._open += [client, server]
            thread = threading.Thread(target=self._forward, args=(client, server), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), client, server:
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    if self.silent:
                        continue
                    if source is server and self.cut:
                        self.cut -= 1
                        return
                    (server if source is client else client).sendall(data)

    def close(self) -> None:
        for one in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join(5)
