"""An image classifier with a memory of examples and, optionally, a learned memory."""

from collections.abc import Callable
from typing import NamedTuple, cast, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recollect import ExampleMemory, Integration, Memory, augment
from recollect.state import PersistentState
from recollect.storages import capacity
from recollect_vision.models.backbone import Backbone
from recollect_vision.models.class_whitening import ClassWhitening

NO_EXAMPLE = -1
"""Number of an empty slot."""


class ClassifierOutput(NamedTuple):
    """Predictions for B images.

    Attributes:
        probability: ``(B, C)``, over all known classes, new ones included; rows sum to 1.
        number: ``(B, k)`` int64, numbers of the examples that were compared; ``NO_EXAMPLE`` if none.
            k = 0 if the memory is empty.
        weight: ``(B, k)``, their weights.
    """

    probability: Tensor
    number: Tensor
    weight: Tensor


@final
class ImageClassifier(nn.Module):
    """A backbone f with a linear layer W, and a memory m of examples that is read by f(x).

    For a trained class, p(c | x) = (1 − λ) (1 − n) softmax_c(W f(x)) + λ m(c | f(x)). For a new class, which
    W lacks, p(c | x) = m(c | f(x)). n is the sum of m over new classes. Without new classes this is the
    mixture of neural cache models (Grave et al. 2017, arXiv:1612.04426, equation 4) with labels in place of
    words. Only the network is trained. ``remember`` writes examples of old and new classes to the memory and
    ``forget`` erases a class, both without a gradient step.

    A second memory, trained with the network, can augment a module of the backbone.

    Args:
        backbone: The backbone f.
        classes: Number of classes to train.
        examples: The memory m, with room for more classes; none by default.
        mix_weight: Weight λ of the memory.
        memory: Builds the trained memory, given its width.
        integration: Integration of the trained memory.
        at: Module of the backbone that it augments; ``Backbone.memory_at`` by default.
        whiten: Whether m reads and writes whitened features: see ``ClassWhitening``. The caller calls its
            ``fit``.

    Raises:
        ValueError: If ``mix_weight`` is out of range, or the memory cannot augment ``at``.
    """

    known_classes: Tensor
    number: Tensor

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        examples: ExampleMemory | None = None,
        mix_weight: float = 0.5,
        memory: Callable[[int], Memory] | None = None,
        integration: Callable[..., Integration] | None = None,
        at: str | None = None,
        whiten: bool = False,
    ) -> None:
        super().__init__()
        if not 0 <= mix_weight <= 1:
            raise ValueError(f"mix_weight must be in [0, 1], got {mix_weight}")
        if memory is not None and integration is not None:
            example = torch.zeros(1, *backbone.sizes)
            augment(backbone, at or backbone.memory_at, memory, integration, example=example)
        self.backbone = backbone.to(memory_format=torch.channels_last)
        self.head = nn.Linear(backbone.feature_size, classes)
        self.examples = examples
        self.whitening = ClassWhitening(backbone.feature_size) if whiten else None
        self.mix_weight = mix_weight
        room = classes if examples is None else examples.num_classes
        self.register_buffer("known_classes", torch.arange(room) < classes)
        slots = 0
        if examples is not None:
            slots = capacity(examples.storage) or 0
            self.example_state = PersistentState(examples.initial_state())
        self.register_buffer("number", torch.full((slots,), NO_EXAMPLE))

    # --- training -------------------------------------------------------------------------------------------

    def features(self, images: Tensor) -> Tensor:
        """Compute features ``(B, D)`` of images ``(B, C, height, width)``, in float32 or wider."""
        features: Tensor = self.backbone(images.contiguous(memory_format=torch.channels_last))
        return features.to(torch.promote_types(features.dtype, torch.float32))

    def forward(self, images: Tensor) -> Tensor:
        """Compute the logits ``(B, classes)`` of the network alone."""
        logits: Tensor = self.head(self.features(images))
        return logits.float()

    # --- memory ---------------------------------------------------------------------------------------------

    @torch.no_grad()
    def remember(self, features: Tensor, label: Tensor, number: Tensor) -> None:
        """Write examples to memory. Their classes become possible answers.

        Args:
            features: ``(W, D)``.
            label: ``(W,)`` int64, below the number of classes that the memory has room for.
            number: ``(W,)`` int64, numbers of the images, which ``classify`` returns.
        """
        memory = self._memory()
        keys = self._whitened(features).to(memory.storage.initial_state()[0].dtype)
        state, slots = memory.place(self.example_state.get(), keys, label)
        self.example_state.set(state)
        self.number[slots] = number.to(self.number.device)
        self.known_classes[label] = True

    @torch.no_grad()
    def forget(self, label: int) -> None:
        """Erase the examples of a class and exclude it from the possible answers."""
        if self.examples is not None:
            state, slots = self.examples.erase_class(self.example_state.get(), label)
            self.example_state.set(state)
            number, moved = self.number.clone(), slots >= 0
            self.number.fill_(NO_EXAMPLE)[slots[moved]] = number[moved]
        self.known_classes[label] = False

    @torch.no_grad()
    def clear(self) -> None:
        """Erase all examples. The trained classes are the possible answers."""
        memory = self._memory()
        self.example_state.set(memory.initial_state())
        self.number.fill_(NO_EXAMPLE)
        self.known_classes.copy_(
            torch.arange(len(self.known_classes), device=self.known_classes.device) < self.head.out_features
        )

    def _whitened(self, features: Tensor) -> Tensor:
        """Whiten features if there is a whitening."""
        return features if self.whitening is None else self.whitening(features)

    def _memory(self) -> ExampleMemory:
        if self.examples is None:
            raise ValueError("this network has no memory of examples")
        return self.examples

    # --- prediction -----------------------------------------------------------------------------------------

    @torch.no_grad()
    def classify(self, features: Tensor, mix_weight: float | None = None) -> ClassifierOutput:
        """Classify images by their features ``(B, D)``, with another λ if ``mix_weight`` is given."""
        mix_weight = self.mix_weight if mix_weight is None else mix_weight
        classes = self.head.out_features
        logits = self.head(features).float().masked_fill(~self.known_classes[:classes], -torch.inf)
        probability = F.pad(logits.softmax(-1), (0, len(self.known_classes) - classes))
        empty = self.number.new_zeros(len(features), 0)
        if self.examples is None or not bool((self.number != NO_EXAMPLE).any()):
            return ClassifierOutput(probability, empty, empty.float())
        state = self.example_state.get()
        query = self._whitened(features)
        answer = self.examples.classify(state, query)
        recalled = answer.log_probability.exp().masked_fill(~self.known_classes, 0)
        new = F.pad(recalled[:, classes:], (classes, 0))
        trained = (1 - new.sum(1, keepdim=True)) * probability + new
        probability = (1 - mix_weight) * trained + mix_weight * recalled
        # Prototypes are means without single examples: report what a matching read would compare.
        read = answer.read or self.examples.storage.read(state, query)
        weight, slots = cast(Tensor, read.weights), read.slots
        number = self.number.expand(len(features), -1) if slots is None else self.number[slots]
        return ClassifierOutput(probability, number, weight)
