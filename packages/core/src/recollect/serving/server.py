"""A server on a host and a port."""

import ipaddress
from typing import Any

import uvicorn
from torch import nn

from recollect.serving.app import make_app

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

KEEP_ALIVE = 75
"""Seconds that an idle connection stays open. A client that keeps its own longer may send a request on
one that is being closed, and lose it."""


def serve(
    model: nn.Module, host: str = "127.0.0.1", port: int = 8000, token: str | None = None, **options: Any
) -> None:
    """Serve a model with a lasting memory until a signal stops the server, which finishes what it accepted.

    Args:
        model: A model with a lasting memory.
        host: Address to listen at; only this machine by default.
        port: Port; 0 for a free one, which the log names.
        token: Secret that writes need; required where other machines can connect.
        options: Further arguments of ``make_app``.

    Raises:
        ValueError: If the host is not a loopback address and there is no token, or the model cannot be
            served.
    """
    loopback = is_loopback(host)
    if token is None and not loopback:
        raise ValueError(f"{host} can be reached from other machines: writes need a token there")
    if token is not None and len(token) < 16:
        raise ValueError(f"a token needs at least 16 characters, got {len(token)}")
    # A web page that resolves its name to this machine sends that name.
    options.setdefault("hosts", LOOPBACK if loopback else None)
    app = make_app(model, token=token, **options)
    config = uvicorn.Config(app, host, port, access_log=False, timeout_keep_alive=KEEP_ALIVE)
    uvicorn.Server(config).run()


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to a host.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0")
        (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
