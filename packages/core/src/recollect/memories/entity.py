"""A memory that looks entries up by their identity: entities, users, words, n-grams."""

from typing import final

import torch
from torch import Tensor, nn

from recollect.memories.base import Memory
from recollect.ops.masking import apply_mask
from recollect.state import State
from recollect.storages.base import Storage


@final
class EntityMemory(Memory[State]):
    """y_t = W_o v[id_t], where v[id] is the last W_v x written under that id; zero for an unknown id.

    The lookup is exact and costs the same however many entities are stored. The entity memory of Entities as
    Experts (Févry et al. 2020, arXiv:2004.07202) is a learned table of a fixed vocabulary; here entries are
    written at any time, without training, and erased by their id. With n-grams of token ids as keys it is an
    n-gram cache.

    With ``write_on_forward`` step t reads what stood under its id before, then stores x_t under it. An entry
    therefore brings the representation of the last time that its entity was seen, however long ago.

    Args:
        model_size: Width D of input and output.
        storage: A storage whose keys are K integers, such as ``HashStorage(K, V, integer_keys=True)``.
        write_on_forward: Let ``forward`` store x_t under its id after it has read at step t.

    Raises:
        ValueError: If ``model_size`` is not positive, or the storage's keys are real vectors.

    Example:
        >>> from recollect import EntityMemory, HashStorage
        >>> memory = EntityMemory(8, HashStorage(1, 8, buckets=64, integer_keys=True))
        >>> ids, x = torch.tensor([[7, 9]]), torch.randn(1, 2, 8)
        >>> state = memory.write(memory.initial_state(1), x, ids=ids)
        >>> bool(torch.allclose(memory.read(state, ids=ids), x))
        True
        >>> memory.read(memory.erase(state, ids=ids[:, :1]), ids=ids)[0, 0].any()
        tensor(False)
    """

    integer_keys = True

    def __init__(self, model_size: int, storage: Storage, write_on_forward: bool = False) -> None:
        super().__init__(model_size, storage, write_on_forward)
        self.value_proj = nn.Linear(model_size, storage.value_size, bias=False)
        self.out_proj = nn.Linear(storage.value_size, model_size, bias=False)
        for projection in (self.value_proj, self.out_proj):
            nn.init.eye_(projection.weight)

    def initial_state(
        self, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Return a state without entries."""
        weight = self.value_proj.weight
        state: State = self.storage.initial_state(
            *batch, device=device or weight.device, dtype=dtype or weight.dtype
        )
        return state

    def forward(
        self,
        x: Tensor,
        state: State | None = None,
        mask: Tensor | None = None,
        *,
        ids: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Run T steps; see ``Memory.forward``.

        Args:
            x: ``(…, T, D)``; used with ``write_on_forward`` only.
            state: As in ``Memory.forward``.
            mask: As in ``Memory.forward``.
            ids: ``(…, T)`` integers; ``(…, T, K)`` where a key is more than one, such as an n-gram.
        """
        state = self.initial_state(*x.shape[:-2], device=x.device) if state is None else state
        keys = self._keys(ids)
        if not self.write_on_forward:
            return self._read(state, keys, mask), state
        outputs = [x[..., :0, :]]
        for now in (slice(t, t + 1) for t in range(x.shape[-2])):
            mask_t = None if mask is None else mask[..., now]
            outputs.append(self._read(state, keys[..., now, :], mask_t))
            state = self._write(state, x[..., now, :], keys[..., now, :], mask_t)
        return torch.cat(outputs[1:] or outputs, -2), state

    def write(
        self, state: State, x: Tensor, mask: Tensor | None = None, *, ids: Tensor | None = None
    ) -> State:
        """Store W items ``x`` ``(…, W, D)`` under their ``ids`` ``(…, W)``; the last one of an id stays."""
        return self._write(state, x, self._keys(ids), mask)

    def read(
        self,
        state: State,
        x: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        ids: Tensor | None = None,
    ) -> Tensor:
        """Read the entries of ``ids`` ``(…, Q)``: ``(…, Q, D)``; ``x`` is not used."""
        return self._read(state, self._keys(ids), mask)

    def erase(
        self,
        state: State,
        x: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        ids: Tensor | None = None,
    ) -> State:
        """Erase the entries of ``ids`` ``(…, E)``; ``x`` is not used."""
        erased: State = self.storage.erase(state, self._keys(ids), None, mask)
        return erased

    def inspect(self, state: State) -> dict[str, Tensor]:
        """Return the storage's figures."""
        return self.storage.inspect(state)

    def _write(self, state: State, x: Tensor, keys: Tensor, mask: Tensor | None) -> State:
        x = x if mask is None else apply_mask(x, mask)
        written: State = self.storage.write(state, keys, self.value_proj(x), None, mask)
        return written

    def _read(self, state: State, keys: Tensor, mask: Tensor | None) -> Tensor:
        y: Tensor = self.out_proj(self.storage.read(state, keys, mask).value)
        return y

    def _keys(self, ids: Tensor | None) -> Tensor:
        if ids is None:
            raise ValueError("EntityMemory looks entries up by their ids: pass ids=, integers (…, T)")
        return ids.unsqueeze(-1) if self.storage.key_size == 1 else ids
