"""A memory of labelled examples, for few-shot classification."""

import math
from typing import Literal, NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recollect.memories.base import Memory
from recollect.ops.masking import apply_mask, full_mask
from recollect.state import Read, State
from recollect.storages.slot import SlotStorage

ExampleMethod = Literal["matching", "prototypes"]
"""How queries are compared with examples."""

MIN_LOG_PROBABILITY = math.log(torch.finfo(torch.float32).tiny)
"""Log-probability of a class without examples: finite, so that its gradient is zero instead of NaN."""


class ClassPrediction(NamedTuple):
    """The prediction of an ``ExampleMemory`` for Q queries.

    Attributes:
        log_probability: ``(…, Q, C)``; ``MIN_LOG_PROBABILITY`` for a class without examples.
        read: Weights of the examples that were compared; ``None`` for prototypes.
    """

    log_probability: Tensor
    read: Read | None


@final
class ExampleMemory(Memory[State, SlotStorage]):
    """p(c | x) given the examples (x_i, y_i) that were written; their classes may be new after training.

    ``"matching"`` is the classifier of Matching Networks (Vinyals et al. 2016, arXiv:1606.04080, eq. 1):
    p(c | x) = Σ_i a_i 1[y_i = c], with the storage's attention a. ``"prototypes"`` is that of Prototypical
    Networks (Snell et al. 2017, arXiv:1703.05175, eq. 2): p(c | x) ∝ exp(s · similarity(x, μ_c)), with the
    class means μ_c and the similarity −‖x − μ_c‖² or the cosine. Neither has parameters per class: a class is
    its examples, and erasing them removes it.

    ``classify`` returns p(c | x). As a layer, the memory returns the expected class mean
    y = Σ_c p(c | x) μ_c, so that its width D is that of the keys.

    Args:
        storage: A storage with features as keys and one-hot classes as values; its ``value_size`` is the
            maximum number C of classes.
        method: ``"matching"`` or ``"prototypes"``.
        similarity: Similarity of queries and prototypes: ``"euclidean"`` or ``"cosine"``.
        sharpness: Initial s of prototypes: 1 for Euclidean and 10 for cosine similarity by default.
        learn_sharpness: Make s a parameter.
        write_on_forward: Let ``forward`` write each x_t before it reads at t.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> from recollect import VectorStorage
        >>> memory = ExampleMemory(VectorStorage(key_size=2, value_size=3, slots=8))
        >>> state = memory.write(memory.initial_state(), torch.eye(2), label=torch.tensor([2, 0]))
        >>> memory.classify(state, torch.tensor([[1.0, 0.1]])).log_probability.exp().round(decimals=2)
        tensor([[0., 0., 1.]])
    """

    storage_type = SlotStorage

    def __init__(
        self,
        storage: SlotStorage,
        method: ExampleMethod = "matching",
        similarity: Literal["euclidean", "cosine"] = "euclidean",
        sharpness: float | None = None,
        learn_sharpness: bool = False,
        write_on_forward: bool = False,
    ) -> None:
        super().__init__(storage.key_size, storage, write_on_forward)
        if method not in ("matching", "prototypes"):
            raise ValueError(f'method must be "matching" or "prototypes", got {method!r}')
        if similarity not in ("euclidean", "cosine"):
            raise ValueError(f'similarity must be "euclidean" or "cosine", got {similarity!r}')
        if sharpness is not None and sharpness <= 0:
            raise ValueError(f"sharpness must be positive, got {sharpness}")
        self.method: ExampleMethod = method
        self.similarity = similarity
        if sharpness is None:
            sharpness = 1.0 if similarity == "euclidean" else 10.0
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(sharpness)), requires_grad=learn_sharpness)

    @property
    def num_classes(self) -> int:
        """Maximum number C of classes."""
        return self.storage.value_size

    def initial_state(
        self, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Return a state without examples."""
        state: State = self.storage.initial_state(*batch, device=device, dtype=dtype)
        return state

    def forward(
        self, x: Tensor, state: State | None = None, mask: Tensor | None = None, label: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Run T steps: one parallel read, or with ``write_on_forward`` a write and a read per step.

        ``label`` ``(…, T)`` are the classes of what is written, as in ``write``.
        """
        state = self.initial_state(*x.shape[:-2], device=x.device) if state is None else state
        if not self.write_on_forward:
            return self.read(state, x, mask), state
        outputs = [x[..., :0, :]]
        for now in (slice(t, t + 1) for t in range(x.shape[-2])):
            x_t, mask_t = x[..., now, :], None if mask is None else mask[..., now]
            state = self.write(state, x_t, mask_t, None if label is None else label[..., now])
            outputs.append(self.read(state, x_t, mask_t))
        return torch.cat(outputs[1:] or outputs, -2), state

    def write(
        self, state: State, x: Tensor, mask: Tensor | None = None, label: Tensor | None = None
    ) -> State:
        """Store W examples.

        Args:
            state: The state to write to; unchanged.
            x: Features ``(…, W, D)``.
            mask: ``(…, W)`` bool; an example where it is false is not written.
            label: ``(…, W)`` int64, below C. By default each example takes the most probable class under
                ``state``, as in T3A; in an empty memory that is class 0.
        """
        if label is None:
            clean = x if mask is None else apply_mask(x, mask)
            label = self.classify(state, clean.detach()).log_probability.argmax(-1)
        state = self.storage.write(state, x, F.one_hot(label, self.num_classes).to(x.dtype), None, mask)
        return state

    def place(self, state: State, x: Tensor, label: Tensor) -> tuple[State, Tensor]:
        """Store W examples, and return their slots ``(…, W)``."""
        return self.storage.place(state, x, F.one_hot(label, self.num_classes).to(x.dtype))

    def read(self, state: State, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the expected class mean ``(…, Q, D)`` for queries ``x`` ``(…, Q, D)``, zero where masked."""
        x = x if mask is None else apply_mask(x, full_mask(x, mask))
        probability = self.classify(state, x).log_probability.exp()
        means, _ = self._class_means(state, None)
        y = (probability @ means).to(x.dtype)
        return y if mask is None else apply_mask(y, mask)

    def classify(self, state: State, x: Tensor, class_weights: Tensor | None = None) -> ClassPrediction:
        """Classify queries.

        Args:
            state: The state to read.
            x: Features of Q queries ``(…, Q, D)``.
            class_weights: ``(C, D)``, a permanent example of each class besides those in the state, such as
                the weights of a linear classifier (T3A; Iwasawa & Matsuo 2021, NeurIPS, eq. 5). For
                prototypes only.

        Raises:
            ValueError: If ``class_weights`` are given and the method is matching.
        """
        if self.method == "matching":
            if class_weights is not None:
                raise ValueError('class_weights are for method="prototypes", not for matching')
            read = self.storage.read(state, x)
            return ClassPrediction(read.value.float().clamp_min(math.exp(MIN_LOG_PROBABILITY)).log(), read)
        log_probability = self._classify_by_prototypes(state, x, class_weights).clamp_min(MIN_LOG_PROBABILITY)
        if self.storage.traced:
            self.storage.report_read(state, Read(log_probability.exp(), None, None))
        return ClassPrediction(log_probability, None)

    def erase(self, state: State, x: Tensor, mask: Tensor | None = None) -> State:
        """Erase examples by content: those whose features match ``x`` ``(…, E, D)``."""
        state = self.storage.erase(state, x, None, mask)
        return state

    def erase_class(self, state: State, label: int) -> tuple[State, Tensor]:
        """Erase a class: exactly the examples that were written with ``label``.

        The remaining examples are written to an empty state in the order of their slots. Erasing by content
        would also remove examples of other classes with nearly the same features.

        Returns:
            The new state, and ``(…, N)`` the new slot of each entry; −1 for erased entries.
        """
        entries = self.storage.entries(state)
        kept = (entries.values[..., label] <= 0) & (entries.filled > 0)
        empty = self.storage.initial_state(
            *kept.shape[:-1], device=entries.keys.device, dtype=entries.keys.dtype
        )
        return self.storage.place(empty, entries.keys, entries.values, entries.filled * kept, kept)

    def inspect(self, state: State) -> dict[str, Tensor]:
        """Return the storage's figures, and ``examples`` ``(…, C)``, the number of examples of each class."""
        return {**self.storage.inspect(state), "examples": self._class_means(state, None)[1]}

    def _class_means(self, state: State, class_weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """Means ``(…, C, D)`` and numbers ``(…, C)`` of the examples of each class, in float32."""
        entries = self.storage.entries(state)
        shares = (entries.values * entries.filled.unsqueeze(-1)).float()  # (…, N, C)
        counts = shares.sum(-2)
        totals = shares.mT @ entries.keys.float()  # (…, C, D)
        if class_weights is not None:
            totals, counts = totals + class_weights.float(), counts + 1
        return totals / counts.clamp_min(torch.finfo(counts.dtype).tiny).unsqueeze(-1), counts

    def _classify_by_prototypes(self, state: State, x: Tensor, class_weights: Tensor | None) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # distances are differences of large numbers
            means, counts = self._class_means(state, class_weights)
            scores = prototype_similarity(x.float(), means, self.similarity) * self.log_sharpness.exp()
            present = counts.unsqueeze(-2) > 0  # (…, 1, C)
            # A softmax over no class at all would be NaN.
            scores = scores.masked_fill(~present & present.any(-1, keepdim=True), -torch.inf)
            return scores.log_softmax(-1).masked_fill(~present, -torch.inf)


def prototype_similarity(x: Tensor, means: Tensor, similarity: Literal["euclidean", "cosine"]) -> Tensor:
    """Similarity of queries ``(…, Q, D)`` and means ``(…, C, D)``: ``(…, Q, C)``, −‖x − μ‖² or the cosine.

    Example:
        >>> prototype_similarity(torch.tensor([[3.0, 4.0]]), torch.eye(2), "euclidean")
        tensor([[-20., -18.]])
    """
    if similarity == "cosine":
        return F.normalize(x, dim=-1) @ F.normalize(means, dim=-1).mT
    # Expanded, which avoids a tensor of shape (…, Q, C, D).
    squares = x.square().sum(-1).unsqueeze(-1) + means.square().sum(-1).unsqueeze(-2)
    return 2 * x @ means.mT - squares
