"""Serve Milvus Lite on a loopback port until the process that started this one ends.

Arguments: folder and port; port 0 takes a free one. Prints the port. Requests are served one after the other,
since Milvus Lite's engine is made for one writer.
"""

import os
import sys
import time

from milvus_lite.adapter.grpc.server import start_server_in_thread

parent = os.getppid()
server, database, port = start_server_in_thread(sys.argv[1], "127.0.0.1", int(sys.argv[2]), max_workers=1)
print(port, flush=True)
while os.getppid() == parent:  # even if the tests are killed, no server stays behind
    time.sleep(0.2)
server.stop(grace=1)
database.close()
