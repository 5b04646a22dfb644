"""SIGINT and SIGTERM end a command with one line and the usual exit code."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM)
"""The signals that ask a process to end."""


class Stopped(SystemExit):
    """Raised by a signal that ends the process; the exit code is 128 + the signal."""

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signum = signum


@contextmanager
def stopping() -> Iterator[None]:
    """Raise ``Stopped`` where the first signal arrives; the next one does what it did before.

    An exception, unlike a signal's default action, lets files be finished or removed on the way out.
    Processes that load data inherit the handlers: they leave SIGINT, which a terminal sends to all of them,
    to their parent.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    process = os.getpid()
    former = {signum: signal.getsignal(signum) for signum in STOPPING}

    def stop(signum: int, frame: FrameType | None) -> None:
        if os.getpid() != process:
            return
        _restore(former)
        raise Stopped(signum)

    for signum in STOPPING:
        signal.signal(signum, stop)
    try:
        yield
    finally:
        _restore(former)


def _restore(handlers: dict[signal.Signals, Any]) -> None:
    for signum, handler in handlers.items():
        signal.signal(signum, handler)
