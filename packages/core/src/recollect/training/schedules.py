"""Learning-rate schedules fitted to the length of the training."""

import math
from typing import Any, Literal, NamedTuple

from lightning.pytorch import Trainer
from lightning.pytorch.cli import LRSchedulerCallable
from torch.optim import Optimizer

from recollect.training.errors import ArgumentError

Interval = Literal["step", "epoch"]


class FittedSchedule(NamedTuple):
    """A schedule as long as the training.

    Attributes:
        scheduler: The schedule.
        note: The change, for the results; ``None`` without one.
    """

    scheduler: Any
    note: str | None


def planned_length(trainer: Trainer, interval: Interval) -> int | None:
    """Return the number of steps or epochs of the training; ``None`` if unknown."""
    planned = trainer.estimated_stepping_batches if interval == "step" else trainer.max_epochs
    return int(planned) if planned is not None and 0 < planned < math.inf else None


def length_argument(factory: LRSchedulerCallable) -> str | None:
    """Return the argument for the length of a schedule; ``None`` for a schedule without end.

    These schedules end: whatever takes ``total_steps`` (``OneCycleLR``), ``T_max`` (``CosineAnnealingLR``),
    and ``total_iters`` where the rate falls (``LinearLR`` from a larger to a smaller factor,
    ``PolynomialLR``). A warm-up, where the rate rises, is shorter than the training by design.

    Args:
        factory: Makes the schedule; the command line gives a ``functools.partial`` of its class.

    Example:
        >>> from functools import partial
        >>> from torch.optim.lr_scheduler import LinearLR, OneCycleLR
        >>> length_argument(partial(OneCycleLR, max_lr=0.1, total_steps=100))
        'total_steps'
        >>> length_argument(partial(LinearLR, start_factor=0.1, end_factor=1.0, total_iters=5)) is None
        True
    """
    given = getattr(factory, "keywords", {})
    for name in ("total_steps", "T_max"):
        if name in given:
            return name
    falls = given.get("end_factor", 0.0) < given.get("start_factor", 1.0)
    return "total_iters" if "total_iters" in given and falls else None


def fit_schedule(factory: LRSchedulerCallable, optimizer: Optimizer, planned: int | None) -> FittedSchedule:
    """Make a schedule that ends when the training ends, whatever length the config states.

    A schedule that is too long leaves the learning rate high at the end; one that is too short fails or
    starts to rise again. ``--trainer.max_epochs`` or data of another size easily cause either.

    Args:
        factory: Makes the schedule.
        optimizer: Its optimiser.
        planned: How long the training is; ``None`` where that is open, and the schedule stays as it is.
    """
    name = length_argument(factory)
    if name is None or planned is None:
        return FittedSchedule(factory(optimizer), None)
    stated = getattr(factory, "keywords", {})[name]
    if stated == planned:
        return FittedSchedule(factory(optimizer), None)
    scheduler = factory(optimizer, **{name: planned})
    if stated is None:  # nothing was promised
        return FittedSchedule(scheduler, None)
    kind = type(scheduler).__name__
    return FittedSchedule(
        scheduler, f"{kind}: {name} is {planned:,}, the length of this training, not {stated:,} as configured"
    )


def check_resumed(scheduler: Any, name: str | None, planned: int | None) -> None:
    """Raise if a schedule that a checkpoint restored does not end with the training that goes on.

    Raises:
        ArgumentError: If their lengths differ.
    """
    restored = getattr(scheduler, name, None) if name is not None else None
    if restored is None or planned is None or restored == planned:
        return
    raise ArgumentError(
        f"the checkpoint's {type(scheduler).__name__} has {name} {restored:,}, but this training takes "
        f"{planned:,}: a schedule that is under way cannot be stretched. Keep the length and the data of the "
        "run, or start a new run"
    )
