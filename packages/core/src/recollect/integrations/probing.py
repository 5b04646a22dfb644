"""Finding the layouts of a model's layers by running it on an example and perturbing that.

Items of a batch do not affect each other. So the batch axis of the example is the one along which a changed
index changes a single index of everything that the model computes, and the batch axis of a layer's input or
output is the one along which that index lies. Of the other axes, those whose size follows the size of the
example are steps, and the remaining one is the features.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from recollect.integrations.layout import (
    BATCHED_AND_UNBATCHED,
    Layout,
    Layouts,
    certain_layout,
    feature_axis_of,
    layout_with,
)
from recollect.integrations.observation import Observation, evaluation_mode, run_example, watching

FEATURES_LAST = (nn.Linear, nn.Bilinear, nn.LayerNorm, nn.RMSNorm, nn.Embedding)
"""Layers whose features are the last axis of input and output."""


Run = tuple[dict[nn.Module, Observation], list[Tensor]]
"""What the layers saw in a run of the model, and what the model returned."""


def _half(leaf: Tensor, axis: int) -> Tensor:
    return leaf.narrow(axis, 0, leaf.shape[axis] // 2)


def _double(leaf: Tensor, axis: int) -> Tensor:
    return torch.cat([leaf, leaf], axis)


RESIZED = ((_half, True), (_half, False), (_double, True), (_double, False))
"""Changes of the example's size: how, and whether only tensors of the size of the main one are changed."""


class Probe:
    """Runs a model on variants of an example, without gradients and in evaluation mode.

    Args:
        model: The model.
        layers: The layers to look at.
        example: An input of the model: a tensor, a tuple of arguments, or a mapping of keyword arguments.

    Attributes:
        seen: What each layer saw; layers that were not reached are missing.
    """

    def __init__(self, model: nn.Module, layers: Iterable[nn.Module], example: Any) -> None:
        self.model, self.layers = model, list(layers)
        if not isinstance(example, tuple | Mapping):
            example = (example,)
        leaves, self.spec = tree_flatten(example)
        self.leaves: list[Any] = leaves
        self.place = _main_leaf(leaves)
        self.seen, self.outputs = self._run(leaves)
        self._repeat_only_items()
        self.perturbed: dict[nn.Module, Observation] = {}
        self._runs: dict[int, list[dict[nn.Module, Observation]]] = {}
        self.axis = self._batch_axis()

    def layouts(self, layer: nn.Module) -> Layouts:
        """Return the layouts of the layer's input and output, ``None`` where they cannot be told."""
        seen = self.seen[layer]
        found = [None if seen.x is None else self._layout(layer, False), self._layout(layer, True)]
        return found[0], found[1]

    # --- running the model --------------------------------------------------------------------------------

    def _run(self, leaves: list[Any], partial: bool = False) -> Run:
        """Run the model; with ``partial``, what the layers saw before an error counts."""
        seen: dict[nn.Module, Observation] = {}
        output: Any = ()
        with watching(self.layers, seen):
            try:
                output = run_example(self.model, tree_unflatten(leaves, self.spec))
            except Exception:
                if not partial:
                    raise
        return seen, [t for t in tree_flatten(output)[0] if isinstance(t, Tensor) and t.numel() > 1]

    @property
    def main(self) -> Tensor:
        """The tensor of the example that is perturbed; empty if there is none."""
        leaf: Tensor = torch.empty(0) if self.place is None else self.leaves[self.place]
        return leaf

    def _repeat_only_items(self) -> None:
        """Double each axis with a single index, where the model can take that: items must be told apart."""
        for axis, size in enumerate(self.main.shape):
            if size == 1:
                doubled = [
                    _double(leaf, axis)
                    if isinstance(leaf, Tensor) and leaf.shape[axis : axis + 1] == (1,)
                    else leaf
                    for leaf in self.leaves
                ]
                with suppress(Exception):
                    self.seen, self.outputs = self._run(doubled)
                    self.leaves = doubled

    # --- the batch axis -------------------------------------------------------------------------------------

    def _batch_axis(self) -> int | None:
        """The batch axis of the example, if exactly one axis keeps its indices apart everywhere."""
        axes = [axis for axis, size in enumerate(self.main.shape) if size > 1 and self._keeps_apart(axis)]
        if len(axes) != 1:
            return None
        self.perturbed, _ = self._perturb(axes[0], 0)
        return axes[0]

    def _keeps_apart(self, axis: int) -> bool:
        """Whether a changed index along an axis of the example changes a single one everywhere."""
        count = self.main.shape[axis]
        for index in (0, count - 1):
            seen, outputs = self._perturb(axis, index)
            if len(outputs) != len(self.outputs) or seen.keys() != self.seen.keys():
                return False
            pairs = list(zip(self.outputs, outputs, strict=True))
            for layer, before in self.seen.items():
                pairs.append((before.h, seen[layer].h))
                if before.x is not None:
                    pairs.append((before.x, _side(seen[layer], output=False)))
            if not all(_item_axes(*pair, index, count) for pair in pairs):
                return False
        return True

    def _perturb(self, axis: int, index: int) -> Run:
        """Run the model with other values at an index of every tensor that has as many along the axis."""
        leaves = list(self.leaves)
        for place, leaf in enumerate(leaves):
            if _is_changeable(leaf) and leaf.shape[axis : axis + 1] == self.main.shape[axis : axis + 1]:
                leaves[place] = leaf.clone()
                part = leaves[place].select(axis, index)
                part.copy_(_changed(part, leaf))
        return self._run(leaves, partial=True)

    # --- steps and features ---------------------------------------------------------------------------------

    def _layout(self, layer: nn.Module, output: bool) -> Layout | None:
        tensor = _side(self.seen[layer], output)
        certain = certain_layout(layer, tensor.dim(), output)
        if certain is None and isinstance(layer, BATCHED_AND_UNBATCHED):
            return certain_layout(layer, tensor.dim() + 1, output)  # a single item
        batch_axis = self._axis_of_batch(layer, output)
        if batch_axis is None:
            # Rows of a matrix have a memory each, so that nothing mixes, as with the nodes of a graph.
            return certain
        if certain is not None and layout_with(tensor.dim(), batch_axis, feature_axis_of(certain)) == certain:
            return certain
        feature_axis = self._feature_axis(layer, output, batch_axis)
        return None if feature_axis is None else layout_with(tensor.dim(), batch_axis, feature_axis)

    def _axis_of_batch(self, layer: nn.Module, output: bool) -> int | None:
        """The axis along which a changed item of the example shows."""
        if self.axis is None:
            return None
        before, after = _side(self.seen[layer], output), _side(self.perturbed[layer], output)
        axes = _item_axes(before, after, 0, self.main.shape[self.axis])
        return axes[0] if len(axes) == 1 else None

    def _feature_axis(self, layer: nn.Module, output: bool, batch_axis: int) -> int | None:
        tensor = _side(self.seen[layer], output)
        others = set(range(tensor.dim())) - {batch_axis}
        if isinstance(layer, FEATURES_LAST):
            return tensor.dim() - 1
        if len(others) == 1:
            return others.pop()
        steps: set[int] = set()
        for runs in range(len(RESIZED)):
            steps |= self._axes_of_steps(self._resized(runs), layer, output)
            if len(others - steps) == 1:
                break
        fixed = others - steps
        if len(fixed) != 1:
            fixed = others & self._axes_of_features(layer, output)
        return fixed.pop() if len(fixed) == 1 else None

    def _axes_of_steps(
        self, runs: list[dict[nn.Module, Observation]], layer: nn.Module, output: bool
    ) -> set[int]:
        """The axes whose size follows that of the example."""
        tensor, axes = _side(self.seen[layer], output), set()
        for seen in runs:
            if layer in seen:
                other = _side(seen[layer], output)
                if other.dim() == tensor.dim():
                    axes |= {i for i in range(tensor.dim()) if other.shape[i] != tensor.shape[i]}
        return axes

    def _resized(self, how: int) -> list[dict[nn.Module, Observation]]:
        """What the layers see of examples of another size, along each axis but the batch."""
        if how not in self._runs:
            resize, like_main = RESIZED[how]
            self._runs[how] = []
            for axis, size in enumerate(self.main.shape):
                if axis != self.axis and size > 1:
                    leaves = [
                        resize(leaf, axis)
                        if isinstance(leaf, Tensor)
                        and leaf.dim() > axis
                        and (leaf.shape[axis] == size if like_main else leaf.shape[axis] > 1)
                        else leaf
                        for leaf in self.leaves
                    ]
                    self._runs[how].append(self._run(leaves, partial=True)[0])
        return self._runs[how]

    def _axes_of_features(self, layer: nn.Module, output: bool) -> set[int]:
        """The axes whose size the layer fixes: called with another, it fails."""
        seen = self.seen[layer]
        if seen.x is None:
            return set()
        fixed, changed = set(), set()
        for axis in range(seen.x.dim()):
            try:
                with torch.no_grad(), evaluation_mode(self.model):
                    h = seen.narrowed(axis)
            except Exception:
                fixed.add(axis)
            else:
                changed |= {i for i, (a, b) in enumerate(zip(h.shape, seen.h.shape, strict=False)) if a != b}
        return set(range(seen.h.dim())) - changed if output else fixed


def _main_leaf(leaves: list[Any]) -> int | None:
    """The index of the first tensor that can be changed: of real numbers, else of integers."""
    changeable = [index for index, leaf in enumerate(leaves) if _is_changeable(leaf)]
    real = [index for index in changeable if leaves[index].is_floating_point()]
    return next(iter(real or changeable), None)


def _is_changeable(leaf: Any) -> bool:
    """Whether a tensor is of real numbers, or of integers among which there are others to choose."""
    if not isinstance(leaf, Tensor) or leaf.dtype == torch.bool or not leaf.dim():
        return False
    return leaf.is_floating_point() or bool((leaf != leaf.flatten()[:1]).any())


def _side(seen: Observation, output: bool) -> Tensor:
    side = seen.h if output else seen.x
    assert side is not None
    return side


def _item_axes(before: Tensor, after: Tensor, item: int, count: int) -> list[int]:
    """The axes along which only the part of an item, one of ``count``, has changed; all if nothing has."""
    if before.shape != after.shape:
        return []
    differs = before != after
    if not differs.any():
        return list(range(before.dim()))
    axes = []
    for axis, size in enumerate(before.shape):
        share = size // count
        if share and size % count == 0:
            others = differs.movedim(axis, 0).reshape(count, -1).any(1)
            if not others[:item].any() and not others[item + 1 :].any():
                axes.append(axis)
    return axes


def _changed(part: Tensor, whole: Tensor) -> Tensor:
    """Other values for ``part``: noise is added, integers become others of ``whole``."""
    if part.is_floating_point():
        generator = torch.Generator(device="cpu").manual_seed(0)
        noise = torch.randn(part.shape, generator=generator, device="cpu").to(part)
        return part + noise * (whole.std().clamp_min(1.0) if whole.numel() > 1 else 1.0)
    values: Tensor = torch.unique(whole)
    return values[(torch.searchsorted(values, part.contiguous()) + 1) % len(values)]
