"""A memory of labelled examples, for few-shot classification."""

import math
from typing import Literal, NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor

from recollect.memories.neighbor import Neighborhood, NeighborMemory
from recollect.ops.distance import Metric
from recollect.ops.masking import apply_mask, full_mask
from recollect.state import Read, State
from recollect.storages.base import Storage
from recollect.storages.external import ExternalStorage
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
class ExampleMemory(NeighborMemory):
    """p(c | x) given the examples (x_i, y_i) that were written; their classes may be new after training.

    ``"matching"`` is the classifier of Matching Networks (Vinyals et al. 2016, arXiv:1606.04080, eq. 1):
    p(c | x) = Σ_i a_i 1[y_i = c]. Over one-hot values a is the storage's own attention to all examples, else,
    and in a storage outside the process, that of ``NeighborMemory`` to the k nearest. ``"prototypes"`` is the
    classifier of Prototypical Networks (Snell et al. 2017, arXiv:1703.05175, eq. 2):
    p(c | x) ∝ exp(s · similarity(x, μ_c)), with the class means μ_c and the similarity −‖x − μ_c‖² or the
    cosine. Neither has parameters per class: a class is its examples, and erasing them removes it.

    It is a ``NeighborMemory`` of classes: by default a working one, which takes a state and returns one, as
    training on episodes needs it; with ``lasting=True`` it owns its examples, and ``Interpolation``,
    ``recollect.remember``, ``explain`` and ``forget`` work with it.

    ``classify`` returns p(c | x). As a layer, the memory returns the expected class mean
    y = Σ_c p(c | x) μ_c, so that its width D is that of the keys.

    Args:
        storage: A storage with features as keys. Its values are one-hot classes, or class numbers if
            ``value_size`` is 1 and ``classes`` are given.
        method: ``"matching"`` or ``"prototypes"``, which needs a storage in memory.
        similarity: Similarity of queries and prototypes: ``"euclidean"`` or ``"cosine"``.
        sharpness: Initial s of prototypes, 1/τ of the k nearest: 1 for Euclidean and 10 for cosine similarity
            by default.
        learn_sharpness: Make s a parameter.
        write_on_forward: Let ``forward`` write each x_t before it reads at t.
        classes: Maximum number C of classes; the storage's ``value_size`` by default.
        k: Number of nearest examples that are read or cited.
        lasting: Whether the memory owns its examples.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> from recollect import VectorStorage
        >>> memory = ExampleMemory(VectorStorage(key_size=2, value_size=3, slots=8))
        >>> state = memory.write(memory.initial_state(), torch.eye(2), target=torch.tensor([2, 0]))
        >>> memory.classify(state, torch.tensor([[1.0, 0.1]])).log_probability.exp().round(decimals=2)
        tensor([[0., 0., 1.]])
    """

    classes: int

    def __init__(
        self,
        storage: Storage,
        method: ExampleMethod = "matching",
        similarity: Literal["euclidean", "cosine"] = "euclidean",
        sharpness: float | None = None,
        learn_sharpness: bool = False,
        write_on_forward: bool = False,
        *,
        classes: int | None = None,
        k: int = 8,
        lasting: bool = False,
    ) -> None:
        if method not in ("matching", "prototypes"):
            raise ValueError(f'method must be "matching" or "prototypes", got {method!r}')
        if similarity not in ("euclidean", "cosine"):
            raise ValueError(f'similarity must be "euclidean" or "cosine", got {similarity!r}')
        if sharpness is not None and sharpness <= 0:
            raise ValueError(f"sharpness must be positive, got {sharpness}")
        external = isinstance(storage, ExternalStorage)
        if external and method == "prototypes":
            raise ValueError(f'method="prototypes" needs a storage in memory, not {type(storage).__name__}')
        metric: Metric = "cosine" if similarity == "cosine" else "l2"
        if sharpness is None:
            sharpness = 1.0 if similarity == "euclidean" else 10.0
        super().__init__(
            storage.key_size,
            storage,
            storage.value_size if classes is None else classes,
            k=k,
            temperature=1 / sharpness,
            metric=None if external else metric,
            lasting=lasting,
        )
        self.write_on_forward = write_on_forward
        self.method: ExampleMethod = method
        self.similarity = similarity
        self.log_temperature.requires_grad_(learn_sharpness)

    @property
    def num_classes(self) -> int:
        """Maximum number C of classes."""
        return self.classes

    @property
    def _slots(self) -> SlotStorage:
        """The storage, which must keep its examples in memory."""
        if not isinstance(self.storage, SlotStorage):
            raise ValueError(f"this needs a storage in memory, not {type(self.storage).__name__}")
        return self.storage

    def forward(
        self, x: Tensor, state: State | None = None, mask: Tensor | None = None, target: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Run T steps: one parallel read, or with ``write_on_forward`` a write and a read per step.

        ``target`` ``(…, T)`` are the classes of what is written, as in ``write``.
        """
        state = self.initial_state(*x.shape[:-2], device=x.device) if state is None else state
        if not self.write_on_forward:
            return self.read(state, x, mask), state
        outputs = [x[..., :0, :]]
        for now in (slice(t, t + 1) for t in range(x.shape[-2])):
            x_t, mask_t = x[..., now, :], None if mask is None else mask[..., now]
            state = self.write(state, x_t, mask_t, None if target is None else target[..., now])
            outputs.append(self.read(state, x_t, mask_t))
        return torch.cat(outputs[1:] or outputs, -2), state

    def write(
        self, state: State, x: Tensor, mask: Tensor | None = None, target: Tensor | None = None
    ) -> State:
        """Store W examples.

        Args:
            state: The state to write to; unchanged.
            x: Features ``(…, W, D)``.
            mask: ``(…, W)`` bool; an example where it is false is not written.
            target: ``(…, W)`` int64, classes below C. By default each example takes the most probable class
                under ``state``, as in T3A; in an empty memory that is class 0.
        """
        if target is None:
            clean = x if mask is None else apply_mask(x, mask)
            target = self.classify(state, clean.detach()).log_probability.argmax(-1)
        return super().write(state, x, mask, target)

    def place(self, state: State, x: Tensor, target: Tensor) -> tuple[State, Tensor]:
        """Store W examples, and return their slots ``(…, W)``."""
        return self._slots.place(state, x, self._values(x, target))

    def read(self, state: State, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the expected class mean ``(…, Q, D)`` for queries ``x`` ``(…, Q, D)``, zero where masked."""
        x = x if mask is None else apply_mask(x, full_mask(x, mask))
        probability = self.classify(state, x).log_probability.exp()
        means, _ = self._class_means(state, None)
        y = (probability @ means).to(x.dtype)
        return y if mask is None else apply_mask(y, mask)

    def lookup(self, query: Tensor, state: State | None = None, k: int | None = None) -> Neighborhood:
        """Classify queries and find their nearest examples, as ``NeighborMemory.lookup`` does."""
        state = self.initial_state(*query.shape[:-2]) if state is None else state
        found = super().lookup(query, state, k)
        if not self._reads_all:
            return found
        there = (found.weights > 0).any(-1, keepdim=True)
        return found._replace(prediction=self.classify(state, query).log_probability.exp() * there)

    @property
    def _reads_all(self) -> bool:
        """Whether a query is compared with all examples, instead of the k nearest."""
        return self.method == "prototypes" or (
            isinstance(self.storage, SlotStorage) and self.storage.value_size == self.classes
        )

    def classify(
        self, state: State | None, x: Tensor, class_weights: Tensor | None = None
    ) -> ClassPrediction:
        """Classify queries.

        Args:
            state: The state to read; ``None`` for the examples of a lasting memory.
            x: Features of Q queries ``(…, Q, D)``.
            class_weights: ``(C, D)``, a permanent example of each class besides those in the state, such as
                the weights of a linear classifier (T3A; Iwasawa & Matsuo 2021, NeurIPS, eq. 5). For
                prototypes only.

        Raises:
            ValueError: If ``class_weights`` are given and the method is matching.
        """
        state = self.initial_state(*x.shape[:-2]) if state is None else state
        if self.method == "matching":
            if class_weights is not None:
                raise ValueError('class_weights are for method="prototypes", not for matching')
            return self._classify_by_matching(state, x)
        log_probability = self._classify_by_prototypes(state, x, class_weights).clamp_min(MIN_LOG_PROBABILITY)
        if self.storage.traced:
            self.storage.report_read(state, Read(log_probability.exp(), None, None))
        return ClassPrediction(log_probability, None)

    def _classify_by_matching(self, state: State, x: Tensor) -> ClassPrediction:
        if self._reads_all:
            read = self.storage.read(state, x)
        else:
            found = super().lookup(x, state)
            read = Read(found.prediction, found.weights, found.slots)
        return ClassPrediction(read.value.float().clamp_min(math.exp(MIN_LOG_PROBABILITY)).log(), read)

    def erase_class(self, state: State, label: int) -> tuple[State, Tensor]:
        """Erase a class: exactly the examples that were written with ``label``.

        The remaining examples are written to an empty state in the order of their slots. Erasing by content
        would also remove examples of other classes with nearly the same features.

        Returns:
            The new state, and ``(…, N)`` the new slot of each entry; −1 for erased entries.
        """
        entries = self._slots.entries(state)
        kept = ~self._of_class(entries.values, label) & (entries.filled > 0)
        empty = self.storage.initial_state(
            *kept.shape[:-1], device=entries.keys.device, dtype=entries.keys.dtype
        )
        return self._slots.place(empty, entries.keys, entries.values, entries.filled * kept, kept)

    def forget_class(self, label: int, *, purge: bool = True) -> int:
        """Forget the examples of a class in a lasting memory, and return how many there were."""
        rows = [
            origin.row
            for part in self.rows.scan()
            for origin, gone in zip(part.origins, self._of_class(part.values, label).tolist(), strict=True)
            if gone
        ]
        return self.rows.erase(torch.tensor(rows, dtype=torch.int64), purge=purge) if rows else 0

    def _of_class(self, values: Tensor, label: int) -> Tensor:
        """Which values ``(…, N, V)`` are of a class."""
        return self._one_hot(values)[..., label] > 0

    def _one_hot(self, values: Tensor) -> Tensor:
        """Values ``(…, N, C)``, one-hot, also if they are stored as class numbers."""
        if values.shape[-1] == self.classes:
            return values
        return F.one_hot(values.squeeze(-1).round().long(), self.classes).to(values.dtype)

    def inspect(self, state: State) -> dict[str, Tensor]:
        """Return the storage's figures and, in memory, ``examples`` ``(…, C)``, their number by class."""
        figures = super().inspect(state)
        if isinstance(self.storage, SlotStorage):
            figures = {**figures, "examples": self._class_means(state, None)[1]}
        return figures

    def _class_means(self, state: State, class_weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """Means ``(…, C, D)`` and numbers ``(…, C)`` of the examples of each class, in float32."""
        entries = self._slots.entries(state)
        shares = (self._one_hot(entries.values) * entries.filled.unsqueeze(-1)).float()  # (…, N, C)
        counts = shares.sum(-2)
        totals = shares.mT @ entries.keys.float()  # (…, C, D)
        if class_weights is not None:
            totals, counts = totals + class_weights.float(), counts + 1
        return totals / counts.clamp_min(torch.finfo(counts.dtype).tiny).unsqueeze(-1), counts

    def _classify_by_prototypes(self, state: State, x: Tensor, class_weights: Tensor | None) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # distances are differences of large numbers
            means, counts = self._class_means(state, class_weights)
            scores = prototype_similarity(x.float(), means, self.similarity) * (-self.log_temperature).exp()
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
