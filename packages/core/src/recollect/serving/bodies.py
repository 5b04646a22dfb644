"""The JSON of requests and answers."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

Nested = Annotated[Any, WithJsonSchema({"type": "array", "items": {}})]
"""Nested lists of numbers, batch axis first; ``make_app`` puts the model's own schema in its place."""

Source = Annotated[str, Field(max_length=1000)]


class Body(BaseModel):
    """A request; fields that it does not have are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class PredictBody(Body):
    """Inputs to predict from."""

    inputs: Nested
    top: int = Field(5, ge=1, le=1000, description="Number of classes to return, best first")


class RememberBody(Body):
    """Inputs and what should be predicted for them."""

    inputs: Nested
    targets: Nested
    source: Source | list[Source] = Field("", description="Where they come from: one name, or one per item")


class ForgetBody(Body):
    """Sources to forget."""

    source: Source | Annotated[list[Source], Field(min_length=1, max_length=1000)]
    purge: bool = Field(True, description="Also remove their bytes from memory or disk")


class ClassProbability(BaseModel):
    """A class and its probability."""

    class_: int = Field(serialization_alias="class")
    probability: float


class Cited(BaseModel):
    """A row that was read."""

    row: int
    source: str
    time: float = Field(description="Seconds since 1970 (UTC)")
    weight: float = Field(description="Share of what the memory predicted")
    distance: float
    target: int | list[float]


class Output(BaseModel):
    """A prediction: the best classes, or a value."""

    position: list[int] = Field(description="[item], or [item, step]")
    weight: float = Field(description="λ, the weight of the memory")
    classes: list[ClassProbability] | None = None
    value: list[float] | None = None
    citations: list[Cited] | None = None


class Outputs(BaseModel):
    """Predictions, one for each output of the layer with the memory."""

    outputs: list[Output]


class Remembered(BaseModel):
    """Numbers of the rows, in the shape of the targets; −1 where none was written."""

    rows: Nested
    written: int


class Forgotten(BaseModel):
    """The number of rows that were forgotten."""

    forgotten: int


class Provenance(BaseModel):
    """What the memory holds."""

    layer: str
    rows: int
    sources: int
    largest: dict[str, int] = Field(description="Rows of the sources with the most rows")


class Health(BaseModel):
    """The server answers."""

    status: str
    pending: int = Field(description="Requests that are accepted and not yet answered")


class Problem(BaseModel):
    """Why a request was refused, in one line."""

    error: str
