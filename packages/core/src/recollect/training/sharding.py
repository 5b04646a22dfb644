"""Sharding of parameters among processes, on any device."""

from collections.abc import Sequence
from typing import Any

import torch.distributed as dist
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method


class ShardedStrategy(ModelParallelStrategy):
    """Shards parameters (``fully_shard``) and batches among processes.

    Lightning's own FSDP refuses the CPU, and its ``ModelParallelStrategy`` has to be told how many processes
    there are; this asks the trainer.

    Args:
        save_distributed_checkpoint: Write a folder, in parallel, rather than one file that any number of
            processes can load: for models that do not fit into the memory of one machine.
    """

    def __init__(self, save_distributed_checkpoint: bool = False) -> None:
        super().__init__("auto", 1, save_distributed_checkpoint=save_distributed_checkpoint)

    def setup_environment(self) -> None:
        """Use all processes."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()


def shard_module(module: nn.Module, mesh: Any, methods: Sequence[str] = ()) -> None:
    """Apply ``fully_shard`` to a module; scalar parameters, which cannot be split, stay whole.

    The gradients of those are averaged over the processes as they arise.

    Args:
        module: What to shard, in place.
        mesh: The data-parallel device mesh.
        methods: Further methods that callers use, in addition to ``forward``.
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
