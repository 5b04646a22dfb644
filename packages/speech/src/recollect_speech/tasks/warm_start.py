"""Training that begins with the weights of another run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from recollect.training.checkpoints import SIGNATURE, load
from recollect.training.errors import CheckpointError
from recollect.training.runs import best_checkpoint
from recollect_speech.data.units import Units, restore_units
from recollect_speech.models.recognition import Recognizer

HEAD = ("head.weight", "head.bias")
"""What belongs to single units, the blank first."""


def warm_start(model: Recognizer, units: Units, run: Path) -> None:
    """Give a model the best weights of a run; of the layer that writes units, those that the run writes too.

    Units are matched by what they stand for, not by their numbers. What the run does not write keeps the
    weights of its initialisation.

    Raises:
        CheckpointError: If the run has no checkpoint, or its model or the kind of its units is another one.
    """
    checkpoint = load(best_checkpoint(run))
    saved = checkpoint["state_dict"].items()
    weights = {name.removeprefix("model."): value for name, value in saved if name.startswith("model.")}
    own = model.state_dict()
    wrong = sorted(
        name
        for name in own.keys() | weights.keys()
        if name not in own
        or name not in weights
        or own[name].shape[1:] != weights[name].shape[1:]
        or (name not in HEAD and own[name].shape != weights[name].shape)
    )
    if wrong:
        raise CheckpointError(f"the model of {run} is another one: {', '.join(wrong[:5])} do not go together")
    theirs = _units_of(checkpoint)
    if theirs.kind != units.kind:
        raise CheckpointError(
            f"{run} writes {theirs.kind}, not {units.kind}: --data.units {theirs.kind} is wanted"
        )
    new = _carry_over(weights, own, theirs, units)
    model.load_state_dict(weights)
    rank_zero_info(f"training begins with {run}" + (f", which never wrote {', '.join(new)}" if new else ""))


def _carry_over(
    weights: dict[str, Tensor], own: Mapping[str, Tensor], theirs: Units, units: Units
) -> list[str]:
    """Put the rows of the units in their order here; which units have none of their own there."""
    known = {theirs.name(number): number for number in range(1, len(theirs))}
    pairs = [(0, 0)] + [(i, known[units.name(i)]) for i in range(1, len(units)) if units.name(i) in known]
    here, there = map(list, zip(*pairs, strict=True))
    for name in HEAD:
        rows = own[name].clone()
        rows[here] = weights[name][there]
        weights[name] = rows
    return [units.name(i) for i in range(1, len(units)) if units.name(i) not in known]


def _units_of(checkpoint: Mapping[str, Any]) -> Units:
    data = checkpoint[SIGNATURE]["data"].rpartition(".")[2]
    learnt = checkpoint[data]["learnt"]
    return restore_units(learnt["kind"], learnt["units"])
