"""Splitting a module's parameters among processes."""

from collections.abc import Sequence
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method


def shard_module(module: nn.Module, mesh: Any, methods: Sequence[str] = ()) -> None:
    """Apply ``fully_shard`` to a module whose single-number parameters, which cannot be split, stay whole.

    The gradients of those are averaged over the processes as they arise.

    Args:
        module: What to shard, in place.
        mesh: The data-parallel device mesh.
        methods: Methods besides ``forward`` that callers use.
    """
    scalars = {parameter for parameter in module.parameters() if parameter.dim() == 0}
    fully_shard(module, mesh=mesh, ignored_params=scalars)
    for parameter in scalars:
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(_average(mesh))  # type: ignore[no-untyped-call]
    for method in methods:
        register_fsdp_forward_method(module, method)


def _average(mesh: Any) -> Any:
    def average(parameter: Tensor) -> None:
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad, group=mesh.get_group())
            parameter.grad /= mesh.size()

    return average
