"""Training that begins with the weights of another run."""

from pathlib import Path

from lightning.pytorch.utilities import rank_zero_info

from recollect.training.checkpoints import load
from recollect.training.errors import CheckpointError
from recollect.training.runs import best_checkpoint
from recollect_speech.models.recognizer import Recognizer

OWN = ("head.",)
"""Parts that belong to the units of a run, and are kept only if these are as many."""


def start_from(model: Recognizer, run: Path) -> None:
    """Give a model the best weights of a run, but for the layer that writes units if it has other ones.

    Raises:
        CheckpointError: If the run has no checkpoint, or its model is another one.
    """
    saved = load(best_checkpoint(run))["state_dict"]
    weights = {
        name.removeprefix("model."): value for name, value in saved.items() if name.startswith("model.")
    }
    own = model.state_dict()
    left_out = [
        name
        for name, value in own.items()
        if name.startswith(OWN) and (name not in weights or weights[name].shape != value.shape)
    ]
    for name in left_out:
        weights[name] = own[name]
    wrong = sorted(
        name
        for name in own.keys() | weights.keys()
        if name not in own or name not in weights or own[name].shape != weights[name].shape
    )
    if wrong:
        raise CheckpointError(f"the model of {run} is another one: {', '.join(wrong[:5])} do not go together")
    model.load_state_dict(weights)
    rank_zero_info(f"training begins with {run}" + (f", without {', '.join(left_out)}" if left_out else ""))
