"""Next-item model with a memory per user and a memory shared by all users."""

from typing import NamedTuple, cast, final

import torch
from torch import Tensor, nn

from recollect import Concatenation, Integration, Memory
from recollect.state import State
from recollect_recsys.models.backbone import Backbone
from recollect_recsys.models.interest_memory import InterestMemory, InterestState
from recollect_recsys.models.sequential_losses import ExcludedItems, full_softmax_loss, sampled_softmax_loss
from recollect_recsys.types import SessionBatch


class Attribution(NamedTuple):
    """Items read from a user's memory for the last step of each session.

    Attributes:
        numbers: ``(B, k)`` int64, index among the user's given items; −1 is padding.
        weights: ``(B, k)``, the mean over heads; they sum to 1, or to 0 without a read.
    """

    numbers: Tensor
    weights: Tensor


@final
class SessionRecommender(nn.Module):
    """Scores s = E y_t + b of all I items, y_t the state of a session of item vectors E.

    Items before the session are written to the memory, which is integrated with the backbone. The shared item
    memory is integrated after that. Item 0 marks the beginning of a session, has a vector, and is never
    recommended.

    Args:
        items: Number I of items.
        backbone: Maps item vectors to session states.
        memory: Memory of each user's items.
        integration: How it joins the backbone.
        item_memory: Memory shared by all users, such as ``recollect.PrototypeMemory``.
        item_integration: How it joins.

    Raises:
        ValueError: If there is no item, or a memory has another width than the backbone.

    Example:
        >>> from recollect_recsys.models.gru4rec import GRU4Rec
        >>> model = SessionRecommender(9, GRU4Rec(4))
        >>> model.scores(torch.randn(2, 4)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        items: int,
        backbone: Backbone,
        memory: Memory | None = None,
        integration: type[Integration] = Concatenation,
        item_memory: Memory | None = None,
        item_integration: type[Integration] = Concatenation,
    ) -> None:
        super().__init__()
        if items < 1:
            raise ValueError("there is no item to recommend")
        for name, part in (("memory", memory), ("item_memory", item_memory)):
            if part is not None and part.model_size != backbone.size:
                raise ValueError(
                    f"{name} has model_size {part.model_size}, but the backbone has size {backbone.size}"
                )
        self.items = nn.Embedding(items + 1, backbone.size)
        nn.init.normal_(self.items.weight, std=backbone.size**-0.5)
        self.bias = nn.Parameter(torch.zeros(items + 1))
        self.backbone: nn.Module = backbone
        if memory is not None:
            self.backbone = integration(backbone, memory, layout="btd")
        self.shared = (
            None if item_memory is None else item_integration(nn.Identity(), item_memory, layout="btd")
        )

    @property
    def memory(self) -> Memory | None:
        """What remembers each user's items."""
        return self.backbone.memory if isinstance(self.backbone, Integration) else None

    def forward(self, batch: SessionBatch) -> Tensor:
        """Session states ``(B, T, D)``."""
        state = None if self.memory is None else self.write_history(batch.past)
        return self.encode_session(batch.session, batch.length, state)[0]

    def write_history(self, past: Tensor, state: State | None = None) -> State:
        """Write items ``past`` ``(B, P)``, padded with 0, to the users' memories."""
        memory = cast(Memory, self.memory)
        if state is None:
            state = memory.initial_state(len(past), device=past.device)
        written: State = memory.write(state, self.items(past), past > 0)
        return written

    def encode_session(
        self, session: Tensor, length: Tensor, state: State | None
    ) -> tuple[Tensor, State | None]:
        """Return states ``(B, T, D)`` of sessions ``(B, T)`` and the memories after them."""
        x = self.items(session)
        steps = torch.arange(session.shape[1], device=session.device) < length.unsqueeze(1)
        if state is None:
            y: Tensor = self.backbone(x)
        else:
            takes_items = cast(Memory, self.memory).takes_items
            items = {"items": x, "items_mask": session > 0} if takes_items else None
            y, state = self.backbone(x, state, step_mask=steps, memory_kwargs=items)
        if self.shared is not None:
            y, _ = self.shared(y, None, step_mask=steps)
        return y, state

    def scores(self, states: Tensor) -> Tensor:
        """Scores ``(…, I + 1)`` for states ``(…, D)``; −∞ for item 0."""
        scores = nn.functional.linear(states, self.items.weight, self.bias)
        return scores.index_fill(-1, torch.zeros(1, dtype=torch.int64, device=scores.device), -torch.inf)

    def loss(
        self, states: Tensor, target: Tensor, seen: Tensor | None = None, negatives: int | None = None
    ) -> Tensor:
        """Mean cross-entropy where there is a target, over all items or ``negatives`` of them.

        Args:
            states: ``(B, T, D)``.
            target: ``(B, T)`` int64, 0 where there is none.
            seen: ``(B, S)`` int64, the items before each row's last target, in order, then padding. What had
                been seen at a step is left out of its sum; nothing is by default, nor with ``negatives``.
            negatives: How many items are drawn; all of them count by default.
        """
        there = target > 0
        weight, bias = self.items.weight[1:], self.bias[1:]
        states, numbers = states[there], target[there] - 1
        if negatives is not None:
            drawn = torch.randint(len(weight), (negatives,), device=target.device)
            return sampled_softmax_loss(states, weight, bias, numbers, drawn)
        if seen is None or seen.shape[1] == 0:
            return full_softmax_loss(states, weight, bias, numbers)
        user, step = there.nonzero(as_tuple=True)
        places = torch.arange(1, target.shape[1] + 1, device=target.device)
        last = (there * places).amax(1) - 1
        count = (seen > 0).sum(1)[user] - last[user] + step
        return full_softmax_loss(
            states, weight, bias, numbers, ExcludedItems((seen - 1).clamp_min(0), user, count)
        )

    def last_state(
        self, batch: SessionBatch, before: State | None = None
    ) -> tuple[Tensor, Attribution | None]:
        """Return the state of the last step ``(B, D)`` and its attribution, if the memory provides one.

        Args:
            batch: The sessions.
            before: The users' memories before them; made from ``batch.past`` by default.
        """
        rows = torch.arange(len(batch.length), device=batch.length.device)
        ends = batch.length - 1
        memory = self.memory
        if memory is not None and before is None:
            before = self.write_history(batch.past)
        if not isinstance(memory, InterestMemory):
            return self.encode_session(batch.session, batch.length, before)[0][rows, ends], None
        with memory.tracing() as reads:
            states, after = self.encode_session(batch.session, batch.length, before)
        if len(reads) == batch.session.shape[1]:  # one read for each step, after that step's item was written
            parts = [cast(Tensor, read.weights)[:, :, 0] for read in reads]
            order = cast(InterestState, after).order
        else:  # one read for all steps, before any of their items was written
            parts = list(cast(Tensor, reads[0].weights).unbind(2))
            order = cast(InterestState, before).order
        weights = torch.stack(parts)[ends, rows]  # (B, H, k)
        if reads[0].slots is not None:
            of_steps = [read.slots.unbind(2) for read in reads if read.slots is not None]
            slots = torch.stack([part for steps in of_steps for part in steps])[ends, rows]
            order = order.gather(-1, slots)
        order = order.masked_fill(weights <= 0, -1)
        return states[rows, ends], Attribution(order.flatten(1), (weights / memory.heads).flatten(1))
