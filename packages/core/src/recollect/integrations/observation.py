"""Running a model on an example and recording what its layers see."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence
from torch.utils._pytree import tree_flatten, tree_unflatten

from recollect.integrations.call import LayerCall, first_output


class Observation(NamedTuple):
    """A call of a layer.

    Attributes:
        x: Its first argument; ``None`` if that is no tensor of real numbers.
        h: Its output.
        narrowed: Calls the layer with an index less along an axis of x, and returns the output.
    """

    x: Tensor | None
    h: Tensor
    narrowed: Callable[[int], Tensor]


def run_example(model: nn.Module, example: Any) -> Any:
    """Run a model on an example without gradients, in evaluation mode, and with fixed random numbers.

    The model gets a copy, since it may change its input.
    """
    leaves, spec = tree_flatten(example)
    leaves = [leaf.clone() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
    example = tree_unflatten(leaves, spec)
    with evaluation_mode(model), torch.no_grad(), _same_random_numbers(leaves):
        if isinstance(example, Mapping):
            return model(**example)
        return model(*example) if isinstance(example, tuple) else model(example)


@contextmanager
def watching(layers: list[nn.Module], seen: dict[nn.Module, Observation]) -> Iterator[None]:
    """Record the first call of each layer."""

    def record(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if layer in seen:
            return
        call = LayerCall(layer).split(layer.forward, args, kwargs)
        x, h = _unpacked(layer, call.x), first_output(_unpacked(layer, output))
        real = isinstance(x, Tensor) and x.is_floating_point()

        def narrowed(axis: int) -> Tensor:
            return first_output(call.with_input(call.x.narrow(axis, 0, call.x.shape[axis] - 1)))

        seen[layer] = Observation(x.clone() if real else None, h.clone(), narrowed)

    hooks = [layer.register_forward_hook(record, with_kwargs=True) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _unpacked(layer: nn.Module, value: Any) -> Any:
    """Turn a ``PackedSequence``, alone or first in a tuple, into a padded tensor."""
    if isinstance(value, PackedSequence):
        return pad_packed_sequence(value, batch_first=bool(getattr(layer, "batch_first", True)))[0]
    if isinstance(value, tuple) and value and isinstance(value[0], PackedSequence):
        return (_unpacked(layer, value[0]), *value[1:])
    return value


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put a model in evaluation mode inside the block."""
    training = [part for part in model.modules() if part.training]
    model.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


@contextmanager
def _same_random_numbers(leaves: list[Any]) -> Iterator[None]:
    """Let every run draw the same random numbers, and the caller's generators go on as if none had run."""
    devices = list({leaf.device for leaf in leaves if isinstance(leaf, Tensor) and leaf.is_cuda})
    with torch.random.fork_rng(devices):
        torch.default_generator.manual_seed(0)
        for device in devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(0)
        yield
