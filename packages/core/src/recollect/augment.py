"""Give a network memories, by the names of its parts."""

import difflib
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from recollect.integrations.base import Integration
from recollect.integrations.call import first_of
from recollect.integrations.fusion import Fusion
from recollect.integrations.layout import Layout, layout_of, width_of
from recollect.integrations.sizes import Sizes, sizes_of
from recollect.memories.base import Memory
from recollect.sessions import Placed, close_call, open_call, places

Model = TypeVar("Model", bound=nn.Module)


class Place(NamedTuple):
    """A part of a model, and where it hangs."""

    name: str
    parent: nn.Module
    attribute: str
    layer: nn.Module


def augment(
    model: Model,
    at: str | Sequence[str],
    memory: Callable[[int], Memory] | Memory,
    integration: Callable[..., Integration] = Fusion,
    *,
    layout: Layout | None = None,
    size: int | tuple[int, int] | None = None,
    example: Any = None,
) -> Model:
    """Give parts of a model a memory each; the model is changed in place, and called as before.

    At initialisation the model computes exactly what it did. Each call of it starts from an empty memory and
    leaves nothing behind; ``recollect.carry`` lets calls go on from one another. An optimiser must be made
    afterwards, to see the new parameters. In the ``state_dict`` a part stands under
    ``<name>.integrated.layer``, its memory under ``<name>.integrated.memory``. To keep the model as it was,
    ``copy.deepcopy`` it first.

    Args:
        model: Any module.
        at: Dotted names of the parts, with ``*``, ``?`` and ``[…]`` standing for anything between two dots:
            ``"encoder.layers.*"``. A sequence of names takes all that match any of them.
        memory: Makes a memory, given the width of the part's output; or a memory, where one part matches.
        integration: ``Fusion``, ``Parallel``, ``Concatenation``, or what else takes a layer, a memory,
            ``in_size``, ``out_size`` and ``layout``: ``functools.partial(Concatenation, mode="concat")``.
        layout: What the axes of the part's input and output mean; by default as ``layout_of`` says.
        size: Number of features that the parts take and give, one number or both; by default what layers of
            ``torch.nn`` say of themselves.
        example: An input of the model (or a tuple of its arguments), which is run through it once, without
            gradients and in evaluation mode, to find the sizes of parts that do not say.

    Returns:
        ``model``.

    Raises:
        ValueError: If no name matches (the near ones are listed), if a part cannot have a memory, if sizes
            are wanting, or if one memory is given for several parts.

    Example:
        >>> from recollect import Concatenation, MemoryNetwork, VectorStorage
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> x = torch.randn(3, 4)
        >>> before = model(x)
        >>> model = augment(
        ...     model,
        ...     at="0",
        ...     memory=lambda d: MemoryNetwork(d, VectorStorage(d, d, slots=16), remember=True),
        ...     integration=Concatenation,
        ... )
        >>> bool((model(x) == before).all())
        True
    """
    found = find_places(model, at)
    shared = isinstance(memory, Memory)
    layers = list(dict.fromkeys(place.layer for place in found))
    if shared and len(layers) > 1:
        raise ValueError(
            f"{len(layers)} parts match ({', '.join(place.name for place in found)}) and each needs a memory "
            "of its own: pass a function that makes one, memory=lambda width: …"
        )
    sizes = _sizes(model, found, size, example, layout)
    make = (lambda width: memory) if shared else memory
    placed = {
        layer: Placed(
            integration(
                layer,
                make(sizes[layer].out_size),
                in_size=sizes[layer].in_size,
                out_size=sizes[layer].out_size,
                layout=layout,
            )
        )
        for layer in layers
    }
    for place in found:
        like = next(itertools.chain(place.layer.parameters(), model.parameters()), torch.empty(0))
        placed[place.layer].to(like.device, like.dtype).train(place.layer.training)
        setattr(place.parent, place.attribute, placed[place.layer])
    _listen(model)
    return model


def find_places(model: nn.Module, at: str | Sequence[str]) -> list[Place]:
    """The parts of ``model`` that ``at`` names, in order.

    Raises:
        ValueError: If a name matches nothing, or a part that cannot have a memory.
    """
    patterns = [at] if isinstance(at, str) else list(at)
    parts = {name: part for name, part in model.named_modules(remove_duplicate=False) if name}
    names: dict[str, None] = {}
    for pattern in patterns:
        matched = [name for name in parts if _matches(name, pattern)]
        if not matched:
            near = difflib.get_close_matches(pattern, parts, n=5, cutoff=0.4) or list(parts)[:5]
            raise ValueError(
                f"no part of {type(model).__name__} is called {pattern!r}; near it: {', '.join(near)}"
            )
        names.update(dict.fromkeys(matched))
    if not names:
        raise ValueError("at names no part of the model")
    found = []
    for name in names:
        above, _, attribute = name.rpartition(".")
        place = Place(name, parts[above] if above else model, attribute, parts[name])
        _check(place)
        found.append(place)
    return found


def _matches(name: str, pattern: str) -> bool:
    own, wanted = name.split("."), pattern.split(".")
    return len(own) == len(wanted) and all(map(fnmatchcase, own, wanted))


def _check(place: Place) -> None:
    kind = type(place.layer)
    if isinstance(place.layer, Placed | Integration) or isinstance(place.parent, Placed | Integration):
        raise ValueError(f"{place.name} has a memory already, or is part of one")
    if kind.forward is nn.Module.forward:
        raise ValueError(
            f"{place.name} is a {kind.__name__}, which is never called: name its parts, {place.name + '.*'!r}"
        )
    if isinstance(place.parent, nn.MultiheadAttention):
        raise ValueError(
            f"{place.name} is never called: nn.MultiheadAttention takes its weights only; name the attention"
        )


def _sizes(
    model: nn.Module,
    found: list[Place],
    size: int | tuple[int, int] | None,
    example: Any,
    layout: Layout | None,
) -> dict[nn.Module, Sizes]:
    if size is not None:
        given = Sizes(size, size) if isinstance(size, int) else Sizes(*size)
        return {place.layer: given for place in found}
    seen = {} if example is None else _seen(model, found, example, layout)
    sizes = {}
    for place in found:
        told = seen.get(place.layer) or sizes_of(place.layer)
        if told is None:
            how = (
                "example was run and did not reach it"
                if example is not None
                else "example=x lets augment see"
            )
            raise ValueError(
                f"{place.name}, a {type(place.layer).__name__}, does not say how many features it takes and "
                f"gives: {how}; size=(…, …) says it"
            )
        sizes[place.layer] = told
    return sizes


def _seen(
    model: nn.Module, found: list[Place], example: Any, layout: Layout | None
) -> dict[nn.Module, Sizes]:
    seen: dict[nn.Module, Sizes] = {}

    def look(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        h = first_of(output)
        x = args[0] if args else next(iter(kwargs.values()))
        if not (isinstance(x, Tensor) and x.is_floating_point()):  # an embedding's indices have no features
            x = h
        ways = [layout or layout_of(layer, tensor) for tensor in (x, h)]
        seen[layer] = Sizes(width_of(x, ways[0]), width_of(h, ways[1]))

    hooks = [
        layer.register_forward_hook(look, with_kwargs=True) for layer in {place.layer for place in found}
    ]
    try:
        with _evaluating(model), torch.no_grad():
            model(*example) if isinstance(example, tuple) else model(example)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    training = [part for part in model.modules() if part.training]
    model.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


def _listen(model: nn.Module) -> None:
    """Let the model's calls open and close sessions, once, and keep nested tensors from the memories."""
    if open_call not in model._forward_pre_hooks.values():
        model.register_forward_pre_hook(open_call, prepend=True)
        model.register_forward_hook(close_call, always_call=True)
    for part in model.modules():
        if isinstance(part, nn.TransformerEncoder) and places(part):
            part.use_nested_tensor = False
