"""The app: endpoints under ``/v1`` that read, write, forget and explain."""

import asyncio
import hmac
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from fastapi.openapi.utils import get_openapi
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.middleware.trustedhost import TrustedHostMiddleware
from torch import nn

from recollect.serving.admission import Admission
from recollect.serving.answers import output_of
from recollect.serving.bodies import (
    ForgetBody,
    Forgotten,
    Health,
    Outputs,
    PredictBody,
    Problem,
    Provenance,
    RememberBody,
    Remembered,
)
from recollect.serving.body_limit import BodyLimit
from recollect.serving.inputs import FieldError, Inputs, InputSpec, read_inputs
from recollect.serving.problems import add_handlers
from recollect.serving.reads import Prediction, items_of
from recollect.serving.schemas import inputs_schema, targets_schema
from recollect.serving.service import Service
from recollect.serving.targets import read_targets


class Limits(NamedTuple):
    """What a server accepts.

    Attributes:
        body: Bytes of a request.
        items: Items of a batch.
        pending: Requests that are accepted and not yet answered; beyond it the answer is 503.
        together: Items of several requests that the model gets in one call; 1 for a call per request, as a
            model needs whose batch items depend on each other.
    """

    body: int = 4 << 20
    items: int = 256
    pending: int = 256
    together: int = 32


class Served(NamedTuple):
    """What the endpoints share."""

    service: Service
    inputs: Inputs
    limits: Limits
    admission: Admission
    token: str | None


def make_app(
    model: nn.Module,
    inputs: Inputs | None = None,
    *,
    at: str | None = None,
    token: str | None = None,
    limits: Limits | None = None,
    hosts: Sequence[str] | None = None,
) -> FastAPI:
    """Make an ASGI app that serves a model with a lasting memory.

    Endpoints are ``/v1/predict``, ``/v1/explain``, ``/v1/remember``, ``/v1/forget``, ``/v1/provenance`` and
    ``/v1/health``; ``/docs`` describes them. The model must not be used elsewhere while it is served.

    Args:
        model: A model with a lasting memory.
        inputs: What the model takes: an ``InputSpec``, or several by argument name. By default one tensor of
            any shape, of the type of the model's parameters.
        at: Name of the layer, if several have a lasting memory.
        token: Secret that remember and forget need, as ``Authorization: Bearer …``. By default anybody may
            write.
        limits: Sizes of bodies, batches and the queue.
        hosts: Values of the header ``Host`` to answer to; any by default.

    Raises:
        ValueError: If the model has no lasting memory, or its store holds keys of a model with other weights.

    Example:
        >>> from functools import partial
        >>> from recollect import Interpolation, NeighborMemory, VectorStorage, augment
        >>> memory = NeighborMemory(4, VectorStorage(4, 1, slots=100), classes=3)
        >>> model = augment(nn.Sequential(nn.Linear(4, 3)), at="0", memory=memory, integration=Interpolation)
        >>> app = make_app(model, InputSpec.parse("float32[4]"))
        >>> sorted(path for path in app.openapi()["paths"])[:3]
        ['/v1/explain', '/v1/forget', '/v1/health']
    """
    limits = limits or Limits()
    service = Service(model, at, limits.together)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.close)

    app = FastAPI(title="Recollect", version="1", lifespan=lifespan)
    inputs = _default_inputs(model) if inputs is None else inputs
    app.state.served = Served(service, inputs, limits, Admission(limits.pending), token)
    app.include_router(router)
    app.add_middleware(BodyLimit, most=limits.body)
    if hosts is not None:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    add_handlers(app)
    _describe_inputs(app)
    return app


def _default_inputs(model: nn.Module) -> InputSpec:
    return InputSpec(next(parameter.dtype for parameter in model.parameters()))


def _describe_inputs(app: FastAPI) -> None:
    """Put what the model takes into the OpenAPI schema."""
    served: Served = app.state.served

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
            bodies = schema["components"]["schemas"]
            for name in ("PredictBody", "RememberBody"):
                bodies[name]["properties"]["inputs"] = inputs_schema(served.inputs, served.limits.items)
            targets = targets_schema(served.service.memory)
            bodies["RememberBody"]["properties"]["targets"] = targets
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


# --- what endpoints need ------------------------------------------------------------------------------------


def _served(request: Request) -> Served:
    served: Served = request.app.state.served
    return served


Shared = Annotated[Served, Depends(_served)]
Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]


def _may_write(served: Shared, given: Bearer) -> None:
    """Raise 401 unless the request has the token."""
    if served.token is None:
        return
    secret = "" if given is None else given.credentials
    if not hmac.compare_digest(secret.encode(), served.token.encode()):
        raise HTTPException(
            401, "writes need the header Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"}
        )


REFUSALS: dict[int | str, dict[str, Any]] = {
    code: {"model": Problem, "description": text}
    for code, text in {
        400: "No JSON",
        413: "The body is too large",
        422: "A field is wrong",
        503: "Too many requests wait, or the store is away: come again after Retry-After seconds",
    }.items()
}
UNAUTHORIZED: dict[int | str, dict[str, Any]] = {401: {"model": Problem, "description": "No token"}}

router = APIRouter(prefix="/v1", responses=REFUSALS)


# --- endpoints ----------------------------------------------------------------------------------------------


@router.post("/predict", response_model_exclude_none=True)
async def predict(body: PredictBody, served: Shared) -> Outputs:
    """Predict with model and memory."""
    return _outputs(await _predicted(body, served, explained=False), body.top, served)


@router.post("/explain", response_model_exclude_none=True)
async def explain(body: PredictBody, served: Shared) -> Outputs:
    """Predict, and cite the rows that were read."""
    return _outputs(await _predicted(body, served, explained=True), body.top, served)


async def _predicted(body: PredictBody, served: Served, explained: bool) -> Prediction:
    with served.admission.one():
        inputs = read_inputs(body.inputs, served.inputs, served.limits.items)
        return await asyncio.wrap_future(served.service.predict(inputs, explained))


def _outputs(prediction: Prediction, top: int, served: Served) -> Outputs:
    classes = served.service.memory.classes
    return Outputs(outputs=output_of(prediction, top if classes is not None else None))


@router.post("/remember", dependencies=[Depends(_may_write)], responses=UNAUTHORIZED)
async def remember(body: RememberBody, served: Shared) -> Remembered:
    """Write to the memory; what is answered with 200 is stored."""
    with served.admission.one():
        inputs = read_inputs(body.inputs, served.inputs, served.limits.items)
        targets = read_targets(body.targets, served.service.memory, served.limits.items)
        items = items_of(inputs)
        if len(targets) != items:
            raise FieldError("targets", f"{items} items need as many targets, got {len(targets)}")
        if isinstance(body.source, list) and len(body.source) != items:
            raise FieldError("source", f"{items} items need one source or as many, got {len(body.source)}")
        rows = await asyncio.wrap_future(served.service.remember(inputs, targets, body.source))
    return Remembered(rows=rows.tolist(), written=int((rows >= 0).sum()))


@router.post("/forget", dependencies=[Depends(_may_write)], responses=UNAUTHORIZED)
async def forget(body: ForgetBody, served: Shared) -> Forgotten:
    """Forget the rows of sources, exactly."""
    sources = [body.source] if isinstance(body.source, str) else body.source
    with served.admission.one():
        return Forgotten(forgotten=await asyncio.wrap_future(served.service.forget(sources, body.purge)))


@router.get("/provenance")
async def provenance(served: Shared, limit: Annotated[int, Query(ge=1, le=10_000)] = 1000) -> Provenance:
    """Count the rows of each source."""
    with served.admission.one():
        counts = await asyncio.wrap_future(served.service.sources())
    largest = sorted(counts.items(), key=lambda item: -item[1])[:limit]
    return Provenance(
        layer=served.service.layer, rows=sum(counts.values()), sources=len(counts), largest=dict(largest)
    )


@router.get("/health")
async def health(served: Shared) -> Health:
    """Say that the server answers."""
    return Health(status="ok", pending=served.admission.pending)
