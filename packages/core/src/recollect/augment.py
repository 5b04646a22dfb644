"""Give a model memories, by the names of its parts."""

import difflib
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from recollect.integrations.base import Integration
from recollect.integrations.call import first_output
from recollect.integrations.feature_sizes import FeatureSizes, feature_sizes
from recollect.integrations.fusion import Fusion
from recollect.integrations.layout import Layout, infer_layout, num_features
from recollect.memories.base import Memory
from recollect.session import AugmentedLayer, augmented_layers, close_session, open_session

Model = TypeVar("Model", bound=nn.Module)


class Site(NamedTuple):
    """A part of a model, with its parent and its name there."""

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
    """Give parts of a model a memory each. The model is changed in place, and called as before.

    At initialisation the model computes what it did before. Each call starts from an empty memory and
    discards its state; ``recollect.carry`` lets calls continue from one another. Make the optimiser
    afterwards, so that it has the new parameters. In the ``state_dict``, the keys of a part start with
    ``<name>.integrated.layer``, those of its memory with ``<name>.integrated.memory``. To keep the original
    model, ``copy.deepcopy`` it first.

    Args:
        model: Any module.
        at: Dotted names of the parts, in which ``*``, ``?`` and ``[…]`` match within one level:
            ``"encoder.layers.*"``. A sequence selects all parts that match any of the names.
        memory: A function that makes a memory, given the width of the part's output; or a memory, if a single
            part matches.
        integration: ``Fusion``, ``Parallel``, ``Concatenation``, or anything that takes a layer, a memory,
            ``in_size``, ``out_size`` and ``layout``, such as ``functools.partial(Concatenation,
            mode="concat")``.
        layout: Order of the axes of the part's input and output; see ``infer_layout`` for the default.
        size: Number of input and output features of the parts, one number or both; by default taken from the
            layers of ``torch.nn``.
        example: An input of the model (or a tuple of its arguments). The model is run on it once, without
            gradients and in evaluation mode, to find sizes that are otherwise unknown.

    Returns:
        ``model``.

    Raises:
        ValueError: If no name matches (similar names are listed), a part cannot have a memory, sizes are
            unknown, or one memory is given for several parts.

    Example:
        >>> from recollect import Concatenation, MemoryNetwork, VectorStorage
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> x = torch.randn(3, 4)
        >>> before = model(x)
        >>> model = augment(
        ...     model,
        ...     at="0",
        ...     memory=lambda d: MemoryNetwork(d, VectorStorage(d, d, slots=16), write_on_forward=True),
        ...     integration=Concatenation,
        ... )
        >>> bool((model(x) == before).all())
        True
    """
    sites = find_sites(model, at)
    shared = isinstance(memory, Memory)
    layers = list(dict.fromkeys(site.layer for site in sites))
    if shared and len(layers) > 1:
        raise ValueError(
            f"{len(layers)} parts match ({', '.join(site.name for site in sites)}) and each needs a memory "
            "of its own: pass a function that makes one, memory=lambda width: …"
        )
    sizes = _find_sizes(model, sites, size, example, layout)
    make = (lambda width: memory) if shared else memory
    augmented = {
        layer: AugmentedLayer(
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
    for site in sites:
        like = next(itertools.chain(site.layer.parameters(), model.parameters()), torch.empty(0))
        augmented[site.layer].to(like.device, like.dtype).train(site.layer.training)
        setattr(site.parent, site.attribute, augmented[site.layer])
    _register_session_hooks(model)
    return model


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
    sites = []
    for name in names:
        above, _, attribute = name.rpartition(".")
        site = Site(name, parts[above] if above else model, attribute, parts[name])
        _check_site(site)
        sites.append(site)
    return sites


def _matches(name: str, pattern: str) -> bool:
    own, wanted = name.split("."), pattern.split(".")
    return len(own) == len(wanted) and all(map(fnmatchcase, own, wanted))


def _check_site(site: Site) -> None:
    kind = type(site.layer)
    if any(isinstance(part, AugmentedLayer | Integration) for part in (site.layer, site.parent)):
        raise ValueError(f"{site.name} has a memory already, or is part of one")
    if kind.forward is nn.Module.forward:
        raise ValueError(
            f"{site.name} is a {kind.__name__}, which is never called: name its parts, {site.name + '.*'!r}"
        )
    if isinstance(site.parent, nn.MultiheadAttention):
        raise ValueError(
            f"{site.name} is never called: nn.MultiheadAttention only uses its weights; name the attention"
        )


def _find_sizes(
    model: nn.Module,
    sites: list[Site],
    size: int | tuple[int, int] | None,
    example: Any,
    layout: Layout | None,
) -> dict[nn.Module, FeatureSizes]:
    if size is not None:
        given = FeatureSizes(size, size) if isinstance(size, int) else FeatureSizes(*size)
        return {site.layer: given for site in sites}
    observed = {} if example is None else _observe_sizes(model, sites, example, layout)
    sizes = {}
    for site in sites:
        found = observed.get(site.layer) or feature_sizes(site.layer)
        if found is None:
            hint = (
                "the example did not reach it; pass size=(…, …)"
                if example is not None
                else "pass example=x or size=(…, …)"
            )
            raise ValueError(
                f"the number of input and output features of {site.name}, a {type(site.layer).__name__}, is "
                f"unknown: {hint}"
            )
        sizes[site.layer] = found
    return sizes


def _observe_sizes(
    model: nn.Module, sites: list[Site], example: Any, layout: Layout | None
) -> dict[nn.Module, FeatureSizes]:
    observed: dict[nn.Module, FeatureSizes] = {}

    def observe(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        h = first_output(output)
        x = args[0] if args else next(iter(kwargs.values()))
        if not (isinstance(x, Tensor) and x.is_floating_point()):  # the indices of an embedding
            x = h
        layouts = [layout or infer_layout(layer, tensor) for tensor in (x, h)]
        observed[layer] = FeatureSizes(num_features(x, layouts[0]), num_features(h, layouts[1]))

    hooks = [
        layer.register_forward_hook(observe, with_kwargs=True) for layer in {site.layer for site in sites}
    ]
    try:
        with _evaluation_mode(model), torch.no_grad():
            model(*example) if isinstance(example, tuple) else model(example)
    finally:
        for hook in hooks:
            hook.remove()
    return observed


@contextmanager
def _evaluation_mode(model: nn.Module) -> Iterator[None]:
    training = [part for part in model.modules() if part.training]
    model.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


def _register_session_hooks(model: nn.Module) -> None:
    """Let the model's calls open and close sessions; disable nested tensors, which memories cannot take."""
    if open_session not in model._forward_pre_hooks.values():
        model.register_forward_pre_hook(open_session, prepend=True)
        model.register_forward_hook(close_session, always_call=True)
    for part in model.modules():
        if isinstance(part, nn.TransformerEncoder) and augmented_layers(part):
            part.use_nested_tensor = False
