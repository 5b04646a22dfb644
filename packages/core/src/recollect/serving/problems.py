"""Every refusal as one line of JSON: ``{"error": "targets: must be integers"}``."""

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from recollect.serving.admission import Busy
from recollect.serving.inputs import FieldError

RETRY_AFTER = {Busy: 1, OSError: 5}
"""Seconds after which to come again."""

log = logging.getLogger("recollect.serving")


def add_handlers(app: FastAPI) -> None:
    """Let an app answer every exception with one line."""
    for error, handler in {
        FieldError: _field,
        RequestValidationError: _invalid,
        HTTPException: _http,
        Busy: _busy,
        OSError: _away,
        Exception: _unexpected,
    }.items():
        app.add_exception_handler(error, handler)


def _line(status: int, message: str, **headers: str) -> JSONResponse:
    # Names of fields come from the client and may be no valid Unicode.
    text = " ".join(message.split()).encode("utf-8", "replace").decode()
    return JSONResponse({"error": text[:1000]}, status, headers or None)


async def _field(_: Request, error: Exception) -> JSONResponse:
    return _line(422, str(error))


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    if first["type"] == "json_invalid":
        return _line(400, f"the body is no JSON: {first.get('ctx', {}).get('error', first['msg'])}")
    field = ".".join(place[1:] if len(place) > 1 else place)
    return _line(422, f"{field}: {first['msg']}")


async def _http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return _line(error.status_code, str(error.detail), **(dict(error.headers or {})))


async def _busy(_: Request, error: Exception) -> JSONResponse:
    return _line(503, f"{error}: come again later", **{"Retry-After": str(RETRY_AFTER[Busy])})


async def _away(_: Request, error: Exception) -> JSONResponse:
    log.error("the store is away: %s", error)
    message = f"the store is away, nothing was changed: {error}"
    return _line(503, message, **{"Retry-After": str(RETRY_AFTER[OSError])})


async def _unexpected(_: Request, error: Exception) -> JSONResponse:
    log.error("unexpected error", exc_info=error)
    return _line(500, "internal error")
