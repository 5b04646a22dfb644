"""The recurrence of a ``Seq2SeqMemory`` as one operation, where its storage permits it."""

from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recollect.ops.attentive_recurrence import attentive_recurrence
from recollect.ops.attentive_steps import Recurrence, Windows
from recollect.ops.cached_attention import SoftmaxRead, prepare_entries, trim_empty_slots
from recollect.ops.inspection import can_inspect
from recollect.state import Entries
from recollect.storages.base import Storage
from recollect.storages.vector import VectorStorage

if TYPE_CHECKING:
    from recollect.memories.seq2seq import Seq2SeqMemory, Seq2SeqState


class Run(NamedTuple):
    """What T steps compute.

    Attributes:
        states: ``(T, B, V + D)``, context and hidden state after each step; those that are masked come last.
        last: Hidden state, cell state and context after the last step that counts, each ``(…, *)``.
        order: ``(B, T)``, the steps in the order in which they ran; ``None`` if that is theirs.
    """

    states: Tensor
    last: tuple[Tensor, Tensor, Tensor]
    order: Tensor | None

    def in_order(self, steps: Tensor, batch: torch.Size) -> Tensor:
        """Put ``steps`` ``(T, B, *)`` in the order of the input: ``(*batch, T, *)``."""
        ordered = _reorder(steps.transpose(0, 1), None if self.order is None else self.order.argsort(-1))
        return ordered.reshape(*batch, *ordered.shape[-2:])


def can_fuse(memory: "Seq2SeqMemory", state: "Seq2SeqState") -> bool:
    """Whether all steps can run as one operation, provided that the storage reads by softmax attention.

    The storage must be a ring if the steps write to it. Hooks need the steps one by one, and so do
    ``torch.export``, which keeps PyTorch's own operations only, and the transforms of ``torch.func``.
    Whatever has replaced a linear map, such as an adapter, must be called.
    """
    storage = memory.storage
    # Not torch.compiler.is_exporting(), which torch 2.11 takes for true whenever it compiles.
    if torch.compiler._is_exporting_flag or storage.traced:
        return False
    if not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active():
        return False
    layers = (memory.gates_input, memory.gates_hidden, memory.gates_context, memory.query_proj)
    if any(type(layer) is not nn.Linear or layer._forward_hooks for layer in layers):
        return False
    if memory.write_on_forward and not _is_ring(storage):
        return False
    return storage._batch_axes(state.storage) == state.hidden.shape[:-1]


def softmax_read(memory: "Seq2SeqMemory", state: "Seq2SeqState") -> SoftmaxRead | None:
    """The read of the storage as softmax attention, ``None`` if it is another.

    The entries of a ring that the steps write to are sorted by age.
    """
    storage = memory.storage
    if not (memory.write_on_forward and isinstance(storage, VectorStorage)):
        return storage._softmax_read(state.storage)
    kept = state.storage
    old = _oldest_first(_flat_entries(Entries(kept.keys, kept.values, kept.presence)), kept.clock.reshape(-1))
    return storage._softmax_read(kept._replace(keys=old.keys, values=old.values, presence=old.filled))


def run_fused(
    memory: "Seq2SeqMemory",
    x: Tensor,
    state: "Seq2SeqState",
    mask: Tensor | None,
    read: SoftmaxRead,
    written: tuple[Tensor, Tensor] | None,
) -> Run:
    """Run T steps.

    Args:
        memory: The memory.
        x: ``(…, T, D)``, zero where masked.
        state: The state to start from.
        mask: ``(…, T)`` bool.
        read: See ``softmax_read``.
        written: Keys and values that the steps write, each before it reads; ``None`` if they only read.
    """
    order = None if mask is None else _unmasked_first(_flat(mask, 1))
    entries = _flat_entries(read.entries)
    if written is None:
        entries = trim_empty_slots(entries)
        windows = Windows(entries.filled.shape[-1], 0, entries.filled.shape[-1])
    else:
        assert isinstance(memory.storage, VectorStorage)
        windows = Windows(entries.filled.shape[-1], 1, memory.storage.slots)
        entries = _append(entries, *(_reorder(_flat(rows, 2), order) for rows in written))
    inputs = _inputs(memory, _reorder(_flat(x, 2), order), state, read._replace(entries=entries))
    course = attentive_recurrence(inputs, windows, read.cosine)
    count = None if mask is None else _flat(mask, 1).sum(-1)
    size = memory.model_size
    steps = (course.hiddens(size), course.cells, course.contexts(size))
    last = [
        _after(rows, first, count).to(item.dtype).reshape(item.shape)
        for rows, first, item in zip(steps, inputs[-3:], state[1:], strict=True)
    ]
    return Run(course.states, (last[0], last[1], last[2]), order)


def _is_ring(storage: Storage) -> bool:
    """Whether a storage is a ring that all its entries are read of."""
    return isinstance(storage, VectorStorage) and storage.policy == "ring" and storage.top_k is None


def _inputs(memory: "Seq2SeqMemory", x: Tensor, state: "Seq2SeqState", read: SoftmaxRead) -> Recurrence:
    """The tensors of the recurrence, given x ``(B, T, D)``, all of one dtype."""
    size, wide = memory.model_size, torch.promote_types(state.hidden.dtype, torch.float32)
    from_input, from_hidden = memory.gates_input, memory.gates_hidden
    if memory.cell == "gru":  # reset, update, candidate
        weight, context_weight = from_input.weight, memory.gates_context.weight
        bias = F.pad(from_input.bias, (size, 0)) + F.pad(from_hidden.bias.roll(size), (0, size))
        hidden_weight = from_hidden.weight.roll(size, 0)
    else:  # input, forget, output, candidate
        order = [2, 0, 1, 3]
        weight, hidden_weight, context_weight = (
            layer.weight.view(4, size, -1)[order].flatten(0, 1)
            for layer in (from_input, from_hidden, memory.gates_context)
        )
        bias = from_input.bias.view(4, size)[order].flatten()
    with torch.autocast(x.device.type, enabled=False):
        keys, values, present, _ = prepare_entries(read)
        if present is None:
            present = keys.new_zeros(1).expand(keys.shape[0], 1, keys.shape[1])
        query_weight = memory.query_proj.weight
        if read.cosine:
            keys = keys * read.sharpness
        else:  # fewer numbers
            query_weight = query_weight * read.sharpness
        return Recurrence(
            x.transpose(0, 1).to(wide).contiguous(),
            weight.to(wide).mT,
            bias.to(wide),
            *(w.to(wide).mT for w in (hidden_weight, context_weight, query_weight)),
            *(item.to(wide) for item in (keys, values, present)),
            *(_flat(item, 1).to(wide) for item in state[1:]),
        )


# --- the entries that the steps attend to -------------------------------------------------------------------


def _oldest_first(entries: Entries, clock: Tensor) -> Entries:
    """Sort the entries ``(B, N, *)`` of a ring by age, given the number of writes so far ``(B,)``.

    On CPU and outside ``torch.compile``, slots that nobody has written yet are left out.
    """
    slots = torch.arange(entries.filled.shape[-1], device=clock.device)
    order = (clock.unsqueeze(-1) + slots) % len(slots)  # (B, N)
    if can_inspect(clock):
        taken = (entries.filled.detach() > 0).gather(-1, order).any(0).nonzero()
        order = order[:, int(taken[0]) if len(taken) else len(slots) :]
    rows = order.unsqueeze(-1)
    return Entries(
        entries.keys.take_along_dim(rows, -2),
        entries.values.take_along_dim(rows, -2),
        entries.filled.gather(-1, order),
    )


def _append(old: Entries, keys: Tensor, values: Tensor) -> Entries:
    """Entries that are written with strength 1, after old ones."""
    filled = torch.ones(keys.shape[:-1], dtype=old.filled.dtype, device=keys.device)
    if not old.filled.shape[-1]:
        return Entries(keys, values, filled)
    pairs = zip(old, (keys, values, filled), strict=True)
    return Entries(*(torch.cat([before, after.to(before.dtype)], 1) for before, after in pairs))


# --- batch axes and masked steps ----------------------------------------------------------------------------


def _flat(tensor: Tensor, own_axes: int) -> Tensor:
    """Merge the batch axes into one, or add it: ``(…, *)`` to ``(B, *)``."""
    own = tensor.shape[tensor.dim() - own_axes :]
    return tensor.reshape(tensor.shape[: tensor.dim() - own_axes].numel(), *own)


def _flat_entries(entries: Entries) -> Entries:
    return Entries(_flat(entries.keys, 2), _flat(entries.values, 2), _flat(entries.filled, 1))


def _unmasked_first(mask: Tensor) -> Tensor:
    """Order ``(B, T)`` of the steps in which those that count come first."""
    return (~mask).byte().argsort(dim=-1, stable=True)


def _reorder(steps: Tensor, order: Tensor | None) -> Tensor:
    """Put steps ``(B, T, *)`` in order."""
    return steps if order is None else steps.take_along_dim(order.unsqueeze(-1), 1)


def _after(steps: Tensor, initial: Tensor, count: Tensor | None) -> Tensor:
    """State after the last step that counts, the initial one if none does.

    Args:
        steps: ``(T, B, D)``, the state after each step.
        initial: ``(B, D)``.
        count: ``(B,)``, number of steps that count; ``None`` for all.
    """
    if count is None:
        return steps[-1]
    last = steps.take_along_dim((count - 1).clamp_min(0)[None, :, None], 0)[0]
    return torch.where((count > 0).unsqueeze(-1), last, initial)
