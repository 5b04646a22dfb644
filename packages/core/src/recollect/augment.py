"""Give a model memories, by the names of its parts."""

import difflib
import itertools
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from recollect.attachment import attach, detach, follow_calls, leave_calls
from recollect.integrations.base import Integration
from recollect.integrations.concatenation import Concatenation
from recollect.integrations.feature_sizes import FeatureSizes, feature_sizes
from recollect.integrations.layout import (
    Layout,
    Layouts,
    batch_axis,
    check_layout,
    num_axes,
    num_features,
    unknown_layout,
)
from recollect.integrations.observation import run_example
from recollect.integrations.probing import Probe
from recollect.memories.base import Memory
from recollect.memory_forward import MemoryForward, augmented_layers

Model = TypeVar("Model", bound=nn.Module)


class Site(NamedTuple):
    """A part of a model, with its parent and its name there."""

    name: str
    parent: nn.Module
    layer: nn.Module


class Place(NamedTuple):
    """What is known of a part's input and output."""

    sizes: FeatureSizes
    layouts: Layouts


def augment(
    model: Model,
    at: str | Sequence[str],
    memory: Callable[[int], Memory] | Memory,
    integration: Callable[..., Integration] = Concatenation,
    *,
    layout: Layout | Layouts | None = None,
    size: int | tuple[int, int] | None = None,
    example: Any = None,
) -> Model:
    """Give parts of a model a memory each. The model is changed in place, and called as before.

    At initialisation the model computes what it did before. The parts stay where they are, with their names,
    so that a checkpoint of the plain model loads; the names of the new parameters start with
    ``<name>.memory``. Each call starts from an empty memory and discards its state; ``recollect.carry`` lets
    calls continue from one another. Make the optimiser afterwards, so that it has the new parameters.
    ``recollect.remove_memory`` takes the memories away.

    With an ``example``, the order of the axes of each part's input and output is found by running the model
    on it, without gradients and in evaluation mode, and on variants with a changed item, step or size. Give
    it at least two items. Without, only what the type of a layer says is taken for granted.

    Args:
        model: Any module.
        at: Dotted names of the parts, in which ``*``, ``?`` and ``[…]`` match within one level:
            ``"encoder.layers.*"``. A sequence selects all parts that match any of the names.
        memory: A function that makes a memory, given the width of the part's output; or a memory, if a single
            part matches. It learns in an ordinary training loop if it writes on ``forward``
            (``write_on_forward=True``) or has learned entries.
        integration: ``Concatenation``, ``Parallel``, ``Fusion``, or anything that takes a layer, a memory,
            ``in_size``, ``out_size`` and ``layout``, such as ``functools.partial(Concatenation,
            mode="concat")``. ``Fusion`` reads what earlier calls have written, and needs ``recollect.carry``.
        layout: Order of the axes of the part's input and output, one layout or both.
        size: Number of input and output features of the parts, one number or both; by default taken from the
            example or the layers of ``torch.nn``.
        example: An input of the model: a tensor, a tuple of its arguments, or a mapping of keyword arguments.

    Returns:
        ``model``.

    Raises:
        ValueError: If no name matches (similar names are listed), a part cannot have a memory, sizes or
            layouts are unknown or do not fit, or one memory is given for several parts. The model is then
            unchanged.

    Example:
        >>> from recollect import MemoryNetwork, VectorStorage
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.GRU(8, 2, batch_first=True))
        >>> x = torch.randn(3, 5, 4)
        >>> before, _ = model(x)
        >>> model = augment(
        ...     model,
        ...     at="0",
        ...     memory=lambda d: MemoryNetwork(d, VectorStorage(d, d, slots=16), write_on_forward=True),
        ...     example=x,
        ... )
        >>> bool((model(x)[0] == before).all())
        True
    """
    for given in layout if isinstance(layout, tuple) else (layout,):
        check_layout(given)
    sites = find_sites(model, at)
    layers = {site.layer: site.name for site in sites}
    if isinstance(memory, Memory) and len(layers) > 1:
        raise ValueError(
            f"{len(layers)} parts match ({', '.join(site.name for site in sites)}) and each needs a memory "
            "of its own: pass a function that makes one, memory=lambda width: …"
        )
    places = _find_places(model, layers, size, example, layout)
    integrations = {
        layer: _make(layer, name, places[layer], memory, integration, model) for layer, name in layers.items()
    }
    _attach_all(model, layers, integrations, example)
    return model


def _attach_all(
    model: nn.Module, layers: dict[nn.Module, str], integrations: dict[nn.Module, Integration], example: Any
) -> None:
    """Attach the integrations and run the example; if that fails, leave the model as it was."""
    attached: list[nn.Module] = []
    try:
        for layer, name in layers.items():
            attach(layer, integrations[layer], name)
            attached.append(layer)
            integrations[layer].bind(model)
        follow_calls(model)
        if example is not None:
            run_example(model, example)
    except Exception as error:
        for layer in attached:
            detach(layer)
        callers = leave_calls(model)
        for caller in callers if augmented_layers(model) else []:
            follow_calls(caller)
        if not isinstance(error, ValueError | TypeError):
            raise
        names = tuple(f"{name}: " for name in layers.values())
        named = str(error).startswith(names)
        raise ValueError(str(error) if named else f"{', '.join(layers.values())}: {error}") from error


def _make(
    layer: nn.Module,
    name: str,
    place: Place,
    memory: Callable[[int], Memory] | Memory,
    integration: Callable[..., Integration],
    model: nn.Module,
) -> Integration:
    made = memory if isinstance(memory, Memory) else memory(place.sizes.out_size)
    in_layout, out_layout = place.layouts
    joined = integration(
        layer,
        made,
        in_size=place.sizes.in_size,
        out_size=place.sizes.out_size,
        layout=in_layout if in_layout == out_layout else place.layouts,
    )
    weights = itertools.chain(layer.parameters(), model.parameters())
    like = next((weight for weight in weights if weight.is_floating_point()), torch.empty(0))
    joined.release_layer(name)
    return joined.to(like.device, like.dtype).train(layer.training)


def find_sites(model: nn.Module, at: str | Sequence[str]) -> list[Site]:
    """Find the parts of ``model`` that ``at`` names, in order.

    Raises:
        ValueError: If a name matches nothing, or a part cannot have a memory.
    """
    patterns = [at] if isinstance(at, str) else list(at)
    parts = {name: part for name, part in model.named_modules(remove_duplicate=False) if name}
    names: dict[str, None] = {}
    for pattern in patterns:
        matched = [name for name in parts if _matches(name, pattern)]
        if not matched:
            similar = difflib.get_close_matches(pattern, parts, n=5, cutoff=0.4) or list(parts)[:5]
            raise ValueError(
                f"no part of {type(model).__name__} is called {pattern!r}; similar: {', '.join(similar)}"
            )
        names.update(dict.fromkeys(matched))
    if not names:
        raise ValueError("at names no part of the model")
    of_memories = {
        part for module in model.modules() if isinstance(module, Integration) for part in module.modules()
    }
    sites = []
    for name in names:
        above = name.rpartition(".")[0]
        site = Site(name, parts[above] if above else model, parts[name])
        _check_site(site, of_memories)
        sites.append(site)
    return sites


def _matches(name: str, pattern: str) -> bool:
    own, wanted = name.split("."), pattern.split(".")
    return len(own) == len(wanted) and all(map(fnmatchcase, own, wanted))


def _check_site(site: Site, of_memories: set[nn.Module]) -> None:
    kind = type(site.layer)
    if site.layer in of_memories or isinstance(site.layer.__dict__.get("forward"), MemoryForward):
        raise ValueError(f"{site.name} has a memory already, or is part of one")
    if kind.forward is nn.Module.forward:
        raise ValueError(
            f"{site.name} is a {kind.__name__}, which is never called: name its parts, {site.name + '.*'!r}"
        )
    if isinstance(site.parent, nn.MultiheadAttention):
        raise ValueError(
            f"{site.name} is never called: nn.MultiheadAttention only uses its weights; name the attention"
        )


# --- sizes and layouts --------------------------------------------------------------------------------------


def _find_places(
    model: nn.Module,
    layers: dict[nn.Module, str],
    size: int | tuple[int, int] | None,
    example: Any,
    layout: Layout | Layouts | None,
) -> dict[nn.Module, Place]:
    given = FeatureSizes(size, size) if isinstance(size, int) else size and FeatureSizes(*size)
    probe = None if example is None else Probe(model, layers, example)
    places = {}
    for layer, name in layers.items():
        if probe is not None and layer not in probe.seen:
            raise ValueError(f"{name} is not called with the example: it did not reach it")
        if layout is not None:
            layouts: Layouts = layout if isinstance(layout, tuple) else (layout, layout)
        elif probe is not None:
            layouts = probe.layouts(layer)
        else:
            layouts = None, None  # what the type of the layer says
        observed = None if probe is None else _observed_sizes(probe, layer, layouts)
        sizes = given or observed or feature_sizes(layer)
        if given is not None and observed is not None and given != observed:
            raise ValueError(
                f"{name}: size means {' and '.join(map(str, given))} features, but the example "
                f"has {' and '.join(map(str, observed))}"
            )
        if sizes is None:
            if probe is not None:
                raise ValueError(unknown_layout(name, type(layer).__name__, probe.seen[layer].h, output=True))
            raise ValueError(
                f"the number of input and output features of {name}, a {type(layer).__name__}, is unknown: "
                "pass example=x or size=(…, …)"
            )
        places[layer] = Place(sizes, layouts)
    return places


def _observed_sizes(probe: Probe, layer: nn.Module, layouts: Layouts) -> FeatureSizes | None:
    seen = probe.seen[layer]
    if layouts[1] is None:
        return None
    out_size = _features(seen.h, layouts[1])
    if seen.x is None or layouts[0] is None:  # the indices of an embedding
        return FeatureSizes(out_size, out_size)
    return FeatureSizes(_features(seen.x, layouts[0]), out_size)


def _features(x: Tensor, layout: Layout) -> int:
    single = x.dim() == num_axes(layout) - 1
    if not single and x.dim() != num_axes(layout):
        raise ValueError(
            f"layout {layout!r} means {num_axes(layout)} axes, got a tensor of shape {tuple(x.shape)}"
        )
    return num_features(x.unsqueeze(batch_axis(layout)) if single else x, layout)
