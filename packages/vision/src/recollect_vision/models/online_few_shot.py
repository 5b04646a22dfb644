"""Online few-shot learner: images arrive one at a time, each label one step late."""

from typing import NamedTuple, cast, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recollect import Storage, VectorStorage
from recollect.state import State, map_state, register_state
from recollect_vision.models.backbone import Backbone

NO_LABEL = -1
"""Stands for a label that has not arrived."""

INITIAL_READ_LOGIT = 5.0
"""Initial logit of a label that is read with weight 1."""


@register_state
class OnlineState(NamedTuple):
    """State of an ``OnlineLearner`` between steps.

    Attributes:
        memory: State of the storage; empty without a memory.
        key: ``(B, K)``, key of the image whose label has not arrived.
        hidden: ``(B, D)``, hidden state of the controller.
        cell: ``(B, D)``, cell state of the controller.
        read: ``(B, C)``, last value read.
    """

    memory: State
    key: Tensor
    hidden: Tensor
    cell: Tensor
    read: Tensor


@final
class OnlineLearner(nn.Module):
    """Memory-augmented one-shot learning (Santoro et al. 2016, arXiv:1605.06065), over features of images.

    At step t the label y_{t−1} arrives with image x_t, and, with k_t = A x_t,

        M_t = write(M_{t−1}, k_{t−1}, y_{t−1}),  r_t = read(M_t, k_t),
        h_t = LSTM([x_t; y_{t−1}; r_t], h_{t−1}),  p(y_t) = softmax(W [h_t; r_t]).

    Differences from the paper: keys are computed from the image alone, an entry is written when its label
    arrives, and a write goes to a single slot that the storage chooses: with ``policy="lru"`` a free slot or
    the least recently used one. The slot with the largest read weight counts as used.

    Args:
        feature_size: Size of the features x.
        classes: Number C of labels.
        hidden_size: Hidden size D of the controller.
        storage: Storage with value size C; without it the learner is the controller alone.

    Raises:
        ValueError: If the storage's value size is not C.

    Example:
        >>> storage = VectorStorage(key_size=8, value_size=5, slots=4, policy="lru")
        >>> learner = OnlineLearner(16, classes=5, hidden_size=32, storage=storage)
        >>> labels = torch.tensor([[3, 3, 1]])
        >>> logits, state = learner(torch.randn(1, 3, 16), shift_labels(labels))
        >>> logits.shape
        torch.Size([1, 3, 5])
    """

    def __init__(
        self, feature_size: int, classes: int, hidden_size: int, storage: Storage | None = None
    ) -> None:
        super().__init__()
        if storage is not None and storage.value_size != classes:
            raise ValueError(f"values are labels, one-hot: value_size must be {classes}")
        self.classes = classes
        self.hidden_size = hidden_size
        self.storage = storage
        read_size = 0 if storage is None else classes
        self.controller = nn.LSTMCell(feature_size + classes + read_size, hidden_size)
        self.key_proj = None if storage is None else nn.Linear(feature_size, storage.key_size)
        self.out_proj = nn.Linear(hidden_size + read_size, classes)
        if storage is not None:
            with torch.no_grad():  # predict the label that is read, so that keys get gradients at once
                self.out_proj.weight[:, hidden_size:] = INITIAL_READ_LOGIT * torch.eye(classes)

    def initial_state(self, batch: int, device: torch.device | str | None = None) -> OnlineState:
        """Return the state before the first image."""
        device = device or self.out_proj.weight.device

        def zeros(size: int) -> Tensor:
            return torch.zeros(batch, size, device=device)

        memory = () if self.storage is None else self.storage.initial_state(batch, device=device)
        width = 0 if self.storage is None else self.storage.key_size
        hidden, read = zeros(self.hidden_size), zeros(self.classes)
        return OnlineState(memory, zeros(width), hidden, hidden.clone(), read)

    def forward(
        self, x: Tensor, previous_label: Tensor, state: OnlineState | None = None
    ) -> tuple[Tensor, OnlineState]:
        """Process T images.

        Args:
            x: ``(B, T, feature_size)``.
            previous_label: ``(B, T)`` int64, y_{t−1}; ``NO_LABEL`` if none has arrived.
            state: State before the first image; the initial state by default.

        Returns:
            Logits ``(B, T, C)`` and the state after the last step.
        """
        state = self.initial_state(len(x), x.device) if state is None else state
        label = F.one_hot(previous_label.clamp_min(0), self.classes) * (previous_label != NO_LABEL).unsqueeze(
            -1
        )
        keys = x[..., :0] if self.key_proj is None else self.key_proj(x).float()
        logits = [x.new_zeros(len(x), 0, self.classes)]
        for x_t, key_t, label_t in zip(x.unbind(1), keys.unbind(1), label.to(x.dtype).unbind(1), strict=True):
            if self.storage is not None:
                state = self._recall(state, key_t, label_t)
            logits_t, state = self._step(state, x_t, label_t)
            logits.append(logits_t.unsqueeze(1))
        return torch.cat(logits, 1), state

    def predict_next(self, state: OnlineState, x: Tensor, previous_label: Tensor) -> Tensor:
        """Classify Q images, each as if it were the next one.

        Args:
            state: State of a single item, B = 1.
            x: ``(Q, feature_size)``.
            previous_label: ``(1,)`` int64, label of the image before.

        Returns:
            Logits ``(Q, C)``.
        """
        states = map_state(lambda tensor: tensor.expand(len(x), *tensor.shape[1:]), state)
        logits, _ = self(x.unsqueeze(1), previous_label.expand(len(x)).unsqueeze(1), states)
        return cast(Tensor, logits[:, 0])

    def _recall(self, state: OnlineState, key: Tensor, label: Tensor) -> OnlineState:
        """Write the previous image with its label, then read with the key of the new image."""
        storage = cast(Storage, self.storage)
        arrived = label.sum(-1, keepdim=True) > 0
        memory = storage.write(state.memory, state.key.unsqueeze(1), label.unsqueeze(1), None, arrived)
        read = storage.read(memory, key.unsqueeze(1))
        if isinstance(storage, VectorStorage):
            memory = storage.touch(memory, read)
        return state._replace(memory=memory, key=key, read=read.value.squeeze(1))

    def _step(self, state: OnlineState, x: Tensor, label: Tensor) -> tuple[Tensor, OnlineState]:
        reads = [] if self.storage is None else [state.read]
        hidden, cell = self.controller(torch.cat([x, label, *reads], -1), (state.hidden, state.cell))
        logits: Tensor = self.out_proj(torch.cat([hidden, *reads], -1))
        return logits.float(), state._replace(hidden=hidden, cell=cell)


@final
class OnlineClassifier(nn.Module):
    """A backbone and an online learner.

    Args:
        backbone: Computes features of images.
        learner: Classifies the features one by one.
    """

    def __init__(self, backbone: Backbone, learner: OnlineLearner) -> None:
        super().__init__()
        self.backbone = backbone
        self.learner = learner

    def forward(self, images: Tensor) -> Tensor:
        """Compute features ``(B, D)`` of images ``(B, 1, S, S)``."""
        features: Tensor = self.backbone(images).float()
        return features


def shift_labels(labels: Tensor) -> Tensor:
    """Shift labels ``(B, T)`` one step to the right, starting with ``NO_LABEL``.

    Example:
        >>> shift_labels(torch.tensor([[3, 1, 2]]))
        tensor([[-1,  3,  1]])
    """
    return F.pad(labels[..., :-1], (1, 0), value=NO_LABEL)


def presentation_count(labels: Tensor) -> Tensor:
    """Count how many times each label has occurred so far: ``(B, T)`` → ``(B, T)``.

    Example:
        >>> presentation_count(torch.tensor([[3, 1, 3, 3]]))
        tensor([[1, 1, 2, 3]])
    """
    counts = F.one_hot(labels, int(labels.max()) + 1).cumsum(-2)
    return counts.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
