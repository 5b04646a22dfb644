"""The rows of a lasting memory in a folder: one file of tensors and a manifest."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recollect.fingerprint import model_fingerprint
from recollect.lasting import lasting_layer
from recollect.memories.neighbor import NeighborMemory
from recollect.storages.engine import Origin, Rows
from recollect.storages.slot import capacity

FORMAT = 1
ROWS, MANIFEST = "rows.safetensors", "manifest.json"


def save_memory(model: nn.Module, path: str | Path, *, at: str | None = None) -> int:
    """Save the rows of a model's lasting memory, with their sources and times, and return how many.

    The folder holds ``rows.safetensors`` (keys, values, times, numbers of sources) and ``manifest.json``
    (sizes, metric, fingerprint of the model, names of the sources). It is complete or absent, and replaces an
    earlier one at once. Needs the extra ``disk``. Rows on disk or on a server are there already.

    Args:
        model: A model with a lasting memory.
        path: The folder.
        at: Name of the layer, if several have a lasting memory.

    Raises:
        ImportError: If safetensors is not installed.
        FileExistsError: If ``path`` is something else.
        OSError: If the files cannot be written. What was there before stays.

    Example:
        >>> from recollect import Interpolation, NeighborMemory, VectorStorage, augment, forget, remember
        >>> model = nn.Sequential(nn.Linear(2, 8), nn.Linear(8, 3))
        >>> memory = NeighborMemory(8, VectorStorage(8, 1, slots=100), classes=3)
        >>> model = augment(model, at="1", memory=memory, integration=Interpolation)
        >>> _ = remember(model, torch.randn(5, 2), torch.randint(3, (5,)), "ticket-4711")
        >>> folder = Path(tempfile.mkdtemp()) / "memory"
        >>> save_memory(model, folder), forget(model, "ticket-4711"), load_memory(model, folder)
        (5, 5, 5)
    """
    _, integration = lasting_layer(model, at)
    target = Path(path)
    if target.exists() and not (target / MANIFEST).is_file():
        raise FileExistsError(f"{target} exists and is not a saved memory")
    tensors, manifest = _collected(integration.memory)
    target.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        _safetensors().save_file(tensors, new / ROWS)
        (new / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False), encoding="utf-8")
        _replace(target, new)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return len(tensors["keys"])


def load_memory(model: nn.Module, path: str | Path, *, at: str | None = None) -> int:
    """Add rows that ``save_memory`` has saved to a model's lasting memory, and return how many.

    Args:
        model: A model with a lasting memory of the same sizes, and the weights that made the keys.
        path: The folder.
        at: Name of the layer, if several have a lasting memory.

    Raises:
        ImportError: If safetensors is not installed.
        FileNotFoundError: If there is no saved memory.
        ValueError: If it does not fit the memory, is of a model with other weights, or has more rows than the
            storage has room for. Nothing is added.
    """
    _, integration = lasting_layer(model, at)
    memory, folder = integration.memory, Path(path)
    if not (folder / MANIFEST).is_file():
        raise FileNotFoundError(f"{folder} holds no saved memory: there is no {MANIFEST}")
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    _check(folder, manifest, memory)
    fingerprint = model_fingerprint(model)
    if manifest["fingerprint"] not in (None, fingerprint):
        raise ValueError(
            f"{folder} holds keys of the model {manifest['fingerprint']}, not of {fingerprint}: load the "
            "weights that wrote it"
        )
    tensors = _safetensors().load_file(folder / ROWS)
    room = capacity(memory.storage)
    if room is not None and len(memory.rows) + len(tensors["keys"]) > room:
        raise ValueError(
            f"{folder} has {len(tensors['keys'])} rows, and the storage room for {room - len(memory.rows)}"
        )
    memory.rows.claim(fingerprint)
    named = zip(tensors["sources"].tolist(), tensors["times"].tolist(), strict=True)
    origins = [Origin(-1, manifest["sources"][source], when) for source, when in named]
    memory.rows.load(Rows(tensors["keys"], tensors["values"], origins))
    return len(origins)


def _collected(memory: NeighborMemory) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All rows as tensors, and the manifest."""
    parts = list(memory.rows.scan())
    origins = [origin for part in parts for origin in part.origins]
    numbers: dict[str, int] = {}
    for origin in origins:
        numbers.setdefault(origin.source, len(numbers))
    sizes = {"key_size": memory.storage.key_size, "value_size": memory.storage.value_size}
    keys = torch.cat([part.keys.cpu() for part in parts] or [torch.zeros(0, sizes["key_size"], device="cpu")])
    values = torch.cat(
        [part.values.cpu() for part in parts] or [torch.zeros(0, sizes["value_size"], device="cpu")]
    )
    tensors = {"keys": keys.contiguous(), "values": values.contiguous()}
    tensors["times"] = torch.tensor([origin.time for origin in origins], dtype=torch.float64, device="cpu")
    tensors["sources"] = torch.tensor(
        [numbers[origin.source] for origin in origins], dtype=torch.int64, device="cpu"
    )
    manifest = {"format": FORMAT, **sizes, "classes": memory.classes, "metric": memory.metric}
    return tensors, manifest | {"fingerprint": memory.rows.fingerprint, "sources": list(numbers)}


def _check(folder: Path, manifest: Mapping[str, Any], memory: NeighborMemory) -> None:
    own = {
        "format": FORMAT,
        "key_size": memory.storage.key_size,
        "value_size": memory.storage.value_size,
        "classes": memory.classes,
        "metric": memory.metric,
    }
    differing = [name for name, value in own.items() if manifest.get(name) != value]
    if differing:
        raise ValueError(
            f"{folder} does not fit this memory: "
            + ", ".join(
                f"{name} is {manifest.get(name)!r} there and {own[name]!r} here" for name in differing
            )
        )


def _replace(target: Path, new: Path) -> None:
    """Put a folder in the place of another."""
    if target.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent)) / "old"
        os.replace(target, old)
        try:
            os.replace(new, target)
        except OSError:
            os.replace(old, target)
            raise
        finally:
            shutil.rmtree(old.parent, ignore_errors=True)
    else:
        os.replace(new, target)


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ModuleNotFoundError as error:
        raise ImportError("saved memories need safetensors: pip install recollect[disk]") from error
    return safetensors.torch
