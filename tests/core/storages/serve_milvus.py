"""Serve Milvus Lite on a loopback port until the process that started this one ends.

Arguments: folder and port; port 0 takes a free one. Prints the port. Requests are served one after the other,
since Milvus Lite's engine is made for one writer.
"""

import os
import sys
import time


def main(folder: str, port: str) -> None:
    """Serve, even if the tests are killed, no longer than they live."""
    from milvus_lite.adapter.grpc.server import start_server_in_thread

    parent = os.getppid()
    server, database, bound = start_server_in_thread(folder, "127.0.0.1", int(port), max_workers=1)
    print(bound, flush=True)
    while os.getppid() == parent:
        time.sleep(0.2)
    server.stop(grace=1)
    database.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
