"""What a model and its memory take, as JSON schemas."""

from typing import Any

from recollect.lasting import IGNORED
from recollect.memories.neighbor import NeighborMemory
from recollect.serving.inputs import Inputs, InputSpec


def inputs_schema(inputs: Inputs, most: int) -> dict[str, Any]:
    """The JSON schema of ``inputs``."""
    if isinstance(inputs, InputSpec):
        return inputs.json_schema() | {"maxItems": most, "description": f"A batch of {inputs}"}
    return {
        "type": "object",
        "properties": {name: inputs_schema(spec, most) for name, spec in inputs.items()},
        "required": list(inputs),
        "additionalProperties": False,
    }


def targets_schema(memory: NeighborMemory) -> dict[str, Any]:
    """The JSON schema of ``targets``."""
    vector = {"type": "array", "items": {"type": "number"}}
    if memory.classes is None:
        steps: list[dict[str, Any]] = [vector, {"type": "array", "items": vector}]
        return {"type": "array", "items": {"anyOf": steps}, "description": "Vectors, one per output"}
    label = {"type": "integer", "minimum": 0, "maximum": memory.classes - 1}
    steps = [label, {"type": "array", "items": label}]
    return {"type": "array", "items": {"anyOf": steps}, "description": f"Classes; {IGNORED} for none"}
