"""A memory that is handed on from recording to recording of a speaker."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from recollect.state import State, map_state, select_items

SpeakerStates = dict[str, State]
"""What is remembered of each speaker: a state for a batch of one."""


class Recurrent(Protocol):
    """What goes on from a state: an integration, for instance."""

    def initial_state(self, *batch: int) -> State:
        """Nothing is remembered."""

    def __call__(self, x: Tensor, state: State, *, step_mask: Tensor) -> tuple[Tensor, State]:
        """``(B, T, D)`` → ``(B, T, …)``, and the state after."""


def run_in_turn(
    listen: Recurrent,
    x: Tensor,
    mask: Tensor,
    speakers: Sequence[str | None],
    speaker_states: Mapping[str, State],
) -> tuple[Tensor, SpeakerStates]:
    """Recordings in their order, each reading what those of its speaker before it have left.

    The first recordings of all speakers are taken together, then the second ones, and so on; nothing is kept
    of a recording whose speaker is not known.

    Args:
        listen: What remembers.
        x: ``(B, T, D)``.
        mask: ``(B, T)`` bool.
        speakers: Of each recording.
        speaker_states: What was remembered before; unchanged.

    Returns:
        ``(B, T, …)``, and what is remembered now.
    """
    names = [name if name is not None else f"\0{i}" for i, name in enumerate(speakers)]
    rows = list(dict.fromkeys(names))
    state = _stack([speaker_states.get(name) or listen.initial_state(1) for name in rows])
    heard: Counter[str] = Counter()
    turns: list[list[int]] = []
    for i, name in enumerate(names):
        if heard[name] == len(turns):
            turns.append([])
        turns[heard[name]].append(i)
        heard[name] += 1
    outputs: list[Tensor] = []
    for turn in turns:
        items = torch.tensor(turn, device=x.device)
        places = torch.tensor([rows.index(names[i]) for i in turn], device=x.device)
        y, after = listen(x[items], select_items(state, places), step_mask=mask[items])
        state = map_state(lambda old, new, at=places: old.index_copy(0, at, new), state, after)
        outputs.append(y)
    order = torch.tensor([i for turn in turns for i in turn], device=x.device).argsort()
    kept = {
        name: map_state(lambda tensor, at=place: tensor[at : at + 1].detach(), state)
        for place, name in enumerate(rows)
        if not name.startswith("\0")
    }
    return torch.cat(outputs)[order], {**speaker_states, **kept}


def _stack(states: Sequence[State]) -> State:
    first, *others = states
    return map_state(lambda *tensors: torch.cat(tensors), first, *others)
