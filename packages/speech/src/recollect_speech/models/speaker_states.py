"""States of speakers, carried from recording to recording."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from recollect.state import State, map_state, select_items

SpeakerStates = dict[str, State]
"""State of each speaker, for a batch of one."""


class Recurrent(Protocol):
    """A module with a state, for instance an integration."""

    def initial_state(self, *batch: int) -> State:
        """The empty state."""

    def __call__(self, x: Tensor, state: State, *, step_mask: Tensor) -> tuple[Tensor, State]:
        """``(B, T, D)`` → ``(B, T, …)``, and the new state."""


def run_in_turn(
    module: Recurrent,
    x: Tensor,
    mask: Tensor,
    speakers: Sequence[str | None],
    speaker_states: Mapping[str, State],
) -> tuple[Tensor, SpeakerStates]:
    """Run a module over recordings in order, each with the state that its speaker's last recording left.

    The first recordings of all speakers are batched, then the second ones, and so on. Recordings of unknown
    speakers start with an empty state, which is discarded.

    Args:
        module: The module.
        x: ``(B, T, D)``.
        mask: ``(B, T)`` bool, false at padded steps.
        speakers: Speaker of each recording, ``None`` if unknown.
        speaker_states: States before; not modified.

    Returns:
        ``(B, T, …)``, and the states after.
    """
    names = [name if name is not None else f"\0{i}" for i, name in enumerate(speakers)]
    rows = list(dict.fromkeys(names))
    state = _stack([speaker_states.get(name) or module.initial_state(1) for name in rows])
    count: Counter[str] = Counter()
    turns: list[list[int]] = []
    for i, name in enumerate(names):
        if count[name] == len(turns):
            turns.append([])
        turns[count[name]].append(i)
        count[name] += 1
    outputs: list[Tensor] = []
    for turn in turns:
        items = torch.tensor(turn, device=x.device)
        places = torch.tensor([rows.index(names[i]) for i in turn], device=x.device)
        y, after = module(x[items], select_items(state, places), step_mask=mask[items])
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
