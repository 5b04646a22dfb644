"""Calls of a Milvus server within a time-out, repeated where that may help."""

import logging
import os
import random
import threading
import time
from typing import Any

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
"""Seconds between the first two attempts of a call, and between later ones at most."""

TEMPORARY = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "ABORTED")
"""Codes of connections that may work at the next attempt."""

CHANNEL = {
    "grpc.use_local_subchannel_pool": 1,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1000,
}
"""gRPC waits up to two minutes between attempts to connect, and counts those of earlier connections."""

SLOW = frozenset({"create_collection", "create_index", "load_collection", "flush", "compact"})
"""Calls that may need the whole time-out at the first attempt."""

UNREACHABLE, NOT_LOADED = 2, 101
"""Milvus's codes for a server that does not answer, and for a collection that is not in its memory."""


class NotLoadedError(OSError):
    """The collection is not in the server's memory."""


class RemoteClient:
    """A connection to a Milvus server, opened at the first call and again in a forked process.

    A call has ``timeout`` seconds. It is repeated up to ``retries`` times, after pauses that double and vary
    at random, so that clients do not all come back at the same moment. A repetition must do no harm, since
    the server may have run a call whose answer was lost.

    Args:
        uri: ``http://host:port``, or ``https://…`` for TLS.
        token: ``user:password`` or an API key; none by default.
        timeout: Seconds within which a call must succeed.
        retries: Number of repetitions of a call at most.

    Raises:
        ImportError: If pymilvus is not installed.
        ValueError: If an argument is out of range.
    """

    def __init__(self, uri: str, token: str | None = None, timeout: float = 30.0, retries: int = 3) -> None:
        if not uri.startswith(("http://", "https://")):
            raise ValueError(f"uri must start with http:// or https://, got {uri!r}")
        if timeout <= 0 or retries < 0:
            raise ValueError(
                f"timeout must be positive and retries not negative, got {timeout} and {retries}"
            )
        self._module = _import_pymilvus()
        self.uri, self.token, self.timeout, self.retries = uri, token, timeout, retries
        self._start_process()

    def _start_process(self) -> None:
        self._process, self._lock = os.getpid(), threading.Lock()
        self._connected: Any = None

    def call(self, method: str, *arguments: Any, **named: Any) -> Any:
        """Call a method of pymilvus's client.

        Raises:
            ConnectionError: If the server does not answer in time.
            PermissionError: If the server does not accept the token.
            OSError: If the server reports another error.
        """
        share = self.timeout if method in SLOW else self.timeout / (self.retries + 1)
        deadline = time.monotonic() + self.timeout
        for attempt in range(self.retries + 1):
            client: Any = None
            try:
                client = self._client(share)
                return getattr(client, method)(*arguments, timeout=share, **named)
            except Exception as error:
                code = _error_code(error)
                if code is None:
                    raise
                if _is_temporary(error, code):
                    self._drop(client)
                pause = random.uniform(0.5, 1.5) * min(FIRST_PAUSE * 2**attempt, LONGEST_PAUSE)
                late = time.monotonic() + pause > deadline
                if not _is_temporary(error, code) or attempt == self.retries or late:
                    raise self._translate(error, code, method) from error
                time.sleep(pause)
        raise AssertionError("every attempt returns or raises")

    def schema(self, description: str) -> Any:
        """Return an empty schema of a collection."""
        return self._module.MilvusClient.create_schema(
            auto_id=False, enable_dynamic_field=False, description=description
        )

    def indexes(self) -> Any:
        """Return an empty list of indexes."""
        return self._module.MilvusClient.prepare_index_params()

    @property
    def types(self) -> Any:
        """Types of fields."""
        return self._module.DataType

    def close(self) -> None:
        """Close the connection; the next call opens it again."""
        if self._process != os.getpid():
            self._start_process()
        with self._lock:
            if self._connected is not None:
                self._connected.close()
            self._connected = None

    def _client(self, timeout: float) -> Any:
        if self._process != os.getpid():  # neither a connection nor a lock survives a fork
            self._start_process()
        with self._lock:
            if self._connected is None:
                token = self.token or ""
                self._connected = self._module.MilvusClient(
                    self.uri, token=token, timeout=timeout, dedicated=True, grpc_options=CHANNEL
                )
            return self._connected

    def _drop(self, client: Any) -> None:
        """Close a connection that has failed, so that the next attempt opens a new one."""
        with self._lock:
            if client is not None and client is self._connected:
                self._connected = None
                client.close()

    def _translate(self, error: Exception, code: object, method: str) -> OSError:
        name, detail = str(code), _message(error)
        if "UNAUTHENTICATED" in name or "PERMISSION_DENIED" in name:
            return PermissionError(f"{self.uri} does not accept the token: {detail}")
        if _is_temporary(error, code):
            return ConnectionError(
                f"{self.uri} did not answer {method} within {self.timeout:g} s; is it running? {detail}"
            )
        kind = NotLoadedError if code == NOT_LOADED else OSError
        return kind(f"{self.uri} refused {method}: {detail}")


def _import_pymilvus() -> Any:
    try:
        import pymilvus
    except ImportError as error:
        raise ImportError("RemoteStorage needs pymilvus: pip install recollect[remote]") from error
    # It logs a traceback at each failed attempt; what fails in the end is raised.
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
    return pymilvus


def _error_code(error: Exception) -> object | None:
    """The code of an error of Milvus or of the connection; ``None`` for any other error."""
    code = getattr(error, "code", None)
    return code() if callable(code) else code


def _is_temporary(error: Exception, code: object) -> bool:
    if code == UNREACHABLE or getattr(error, "retriable", False):
        return True
    # Another thread may have closed the connection.
    return any(name in str(code) for name in TEMPORARY) or "channel closed" in _message(error).lower()


def _message(error: Exception) -> str:
    """What an error says, on one line."""
    details = getattr(error, "details", None)
    text = details() if callable(details) else getattr(error, "message", str(error))
    return " ".join(str(text).split())
