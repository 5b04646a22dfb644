"""Warm start: initialise a model with the weights of another run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from recollect.training.checkpoints import SIGNATURE, load
from recollect.training.errors import CheckpointError
from recollect.training.run_folder import best_checkpoint
from recollect_speech.data.units import Units, restore_units
from recollect_speech.models.recognition import Recognizer

HEAD = ("head.weight", "head.bias")
"""Parameters with one row per unit, the blank first."""


def warm_start(model: Recognizer, units: Units, run: Path) -> None:
    """Load the best weights of a run into a model.

    Rows of the output layer are matched by the name of their unit, not by its number. Units that the run does
    not have keep their initial weights.

    Raises:
        CheckpointError: If the run has no checkpoint, or its model or kind of units differs.
    """
    checkpoint = load(best_checkpoint(run))
    saved = checkpoint["state_dict"].items()
    weights = {name.removeprefix("model."): value for name, value in saved if name.startswith("model.")}
    current = model.state_dict()
    wrong = sorted(
        name
        for name in current.keys() | weights.keys()
        if name not in current
        or name not in weights
        or current[name].shape[1:] != weights[name].shape[1:]
        or (name not in HEAD and current[name].shape != weights[name].shape)
    )
    if wrong:
        raise CheckpointError(f"the model of {run} does not fit: {', '.join(wrong[:5])} differ")
    theirs = _units_of(checkpoint)
    if theirs.kind != units.kind:
        raise CheckpointError(
            f"{run} has {theirs.kind}, not {units.kind}, as units: use --data.units {theirs.kind}"
        )
    new = _carry_over(weights, current, theirs, units)
    model.load_state_dict(weights)
    rank_zero_info(f"warm start from {run}" + (f"; new units: {', '.join(new)}" if new else ""))


def _carry_over(
    weights: dict[str, Tensor], current: Mapping[str, Tensor], theirs: Units, units: Units
) -> list[str]:
    """Reorder the rows of ``weights`` by the units of the model; return the units without a row."""
    old_ids = {theirs.name(number): number for number in range(1, len(theirs))}
    pairs = [(0, 0)] + [(i, old_ids[units.name(i)]) for i in range(1, len(units)) if units.name(i) in old_ids]
    here, there = map(list, zip(*pairs, strict=True))
    for name in HEAD:
        rows = current[name].clone()
        rows[here] = weights[name][there]
        weights[name] = rows
    return [units.name(i) for i in range(1, len(units)) if units.name(i) not in old_ids]


def _units_of(checkpoint: Mapping[str, Any]) -> Units:
    data = checkpoint[SIGNATURE]["data"].rpartition(".")[2]
    fitted = checkpoint[data]["fitted"]
    return restore_units(fitted["kind"], fitted["units"])
