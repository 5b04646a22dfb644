"""Few-shot classifier: a backbone and a memory of examples."""

from typing import cast, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recollect.memories.example import ClassPrediction, ExampleMemory
from recollect.storages import capacity
from recollect_vision.models.backbone import Backbone
from recollect_vision.models.linear_head import LinearHead


@final
class FewShotClassifier(nn.Module):
    """Models p(c | x, S) for a support set S: features by a backbone, classes by a memory of examples.

    Each feature is computed independently, so that a prediction does not depend on other queries. Without a
    memory, a linear layer is fitted to the examples instead, and the backbone is trained as a classifier of
    the training classes with another linear layer.

    Args:
        backbone: Computes features of width D.
        reader: ``ExampleMemory``, or ``LinearHead`` for no memory.
        training_classes: Number of training classes, used without a memory.

    Example:
        >>> from recollect import VectorStorage
        >>> from recollect_vision.types import ImageSizes
        >>> from recollect_vision.models.pixels import Pixels
        >>> memory = ExampleMemory(VectorStorage(4, 2, slots=2), "prototypes", "cosine")
        >>> model = FewShotClassifier(Pixels(ImageSizes(1, 2, 2)), memory, training_classes=0)
        >>> images = model(torch.tensor([[[1.0, 0], [0, 0]], [[0, 0], [0, 1]]]).unsqueeze(1))
        >>> model.answer(images, torch.tensor([0, 1]), images, classes=2).log_probability.argmax(-1)
        tensor([0, 1])
    """

    def __init__(self, backbone: Backbone, reader: ExampleMemory | LinearHead, training_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.reader = reader
        learns = isinstance(reader, LinearHead) and any(p.requires_grad for p in backbone.parameters())
        self.classifier = nn.Linear(backbone.feature_size, training_classes) if learns else None

    def forward(self, images: Tensor) -> Tensor:
        """Compute features ``(…, D)`` of images ``(…, 1, S, S)``."""
        features = self.backbone(images.flatten(0, -4)).float()
        return cast(Tensor, features.unflatten(0, images.shape[:-3]))

    def answer(self, examples: Tensor, labels: Tensor, queries: Tensor, classes: int) -> ClassPrediction:
        """Classify queries by labelled examples.

        Args:
            examples: Features ``(…, W, D)``.
            labels: ``(…, W)`` int64, below C.
            queries: Features ``(…, Q, D)``.
            classes: Number C of classes.

        Returns:
            log p ``(…, Q, C)`` and the examples that were read.

        Raises:
            ValueError: If the memory has too few slots for the examples.
        """
        if isinstance(self.reader, LinearHead):
            return ClassPrediction(self.reader(examples, labels, queries, classes), None)
        memory = self.reader
        check_room(memory, labels.shape[-1])
        state = memory.initial_state(*labels.shape[:-1], device=examples.device, dtype=examples.dtype)
        with torch.autocast(queries.device.type, enabled=False):  # half precision is too coarse for distances
            found = memory.classify(memory.write(state, examples, target=labels), queries)
        return found._replace(log_probability=found.log_probability[..., :classes])

    def compare(self, examples: Tensor, labels: Tensor, queries: Tensor) -> Tensor | None:
        """Return the weight ``(…, Q, W)`` of each example for each query; arguments as in ``answer``.

        If examples are read as prototypes, these are the weights of a matching read. ``None`` without a
        memory.
        """
        if isinstance(self.reader, LinearHead):
            return None
        memory = self.reader
        check_room(memory, labels.shape[-1])
        state = memory.initial_state(*labels.shape[:-1], device=examples.device, dtype=examples.dtype)
        with torch.autocast(queries.device.type, enabled=False):
            state, written = memory.place(state, examples, labels)
            read = memory.storage.read(state, queries)
        weights, slots = cast(Tensor, read.weights), read.slots
        if slots is not None:  # the storage reads a few entries only
            dense = weights.new_zeros(*weights.shape[:-1], capacity(memory.storage) or 0)
            weights = dense.scatter_add(-1, slots.clamp_min(0), weights)
        return weights.gather(-1, written.unsqueeze(-2).expand(*weights.shape[:-1], -1))

    def loss(self, images: Tensor, classes: Tensor, shots: int) -> Tensor:
        """Compute the training loss.

        Args:
            images: ``(E, N, n, 1, S, S)``.
            classes: ``(E, N)`` int64, indices of the training classes.
            shots: Number K of the n images that are written to memory; the others are queries. The images
                take turns, so that one pass through the backbone serves ⌊n / K⌋ episodes.
        """
        features = self(images)
        ways, each = images.shape[1:3]
        if self.classifier is not None:
            logits = self.classifier(features.flatten(0, 2))
            return F.cross_entropy(logits.float(), classes.unsqueeze(-1).expand(-1, -1, each).flatten())
        turns = torch.stack([features.roll(-shots * turn, 2) for turn in range(each // shots)])
        labels = torch.arange(ways, device=images.device).unsqueeze(-1).expand(*turns.shape[:2], -1, each)
        found = self.answer(
            turns[..., :shots, :].flatten(-3, -2),
            labels[..., :shots].flatten(-2),
            turns[..., shots:, :].flatten(-3, -2),
            ways,
        )
        return F.nll_loss(found.log_probability.flatten(0, -2), labels[..., shots:].flatten())


def check_room(memory: ExampleMemory, examples: int) -> None:
    """Check that the memory has a slot for each example.

    Raises:
        ValueError: If it has too few.
    """
    slots = capacity(memory.storage)
    if slots is not None and examples > slots:
        raise ValueError(f"{examples} examples do not fit into the {slots} slots of the memory")
