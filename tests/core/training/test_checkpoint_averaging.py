"""The average of the last snapshots: what is validated, saved, and gone on from."""

from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import LightningModule

from recollect.training.callbacks.checkpoint_averaging import CheckpointAveraging


class Module(LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2))
        self.register_buffer("count", torch.tensor(0))


def trainer(step=0, fn="fit"):
    return SimpleNamespace(global_step=step, state=SimpleNamespace(fn=fn))


def trained(callback, steps):
    """A module whose weight is the number of steps taken."""
    module = Module()
    for step in range(1, steps + 1):
        with torch.no_grad():
            module.weight.fill_(step)
            module.count.fill_(step)
        callback.on_train_batch_end(trainer(step), module, None, None, step - 1)
    return module


def test_validation_is_of_the_average_of_the_last_snapshots():
    callback = CheckpointAveraging(count=3, every_n_steps=2)
    module = trained(callback, 11)  # snapshots at 2, 4, 6, 8, 10; the last three are kept
    callback.on_validation_start(trainer(11), module)
    assert module.weight.tolist() == [8, 8]
    assert module.count == 11  # integers are not averaged
    callback.on_validation_end(trainer(11), module)
    assert module.weight.tolist() == [11, 11]


def test_an_error_in_validation_leaves_the_trained_weights():
    callback = CheckpointAveraging(count=3, every_n_steps=2)
    module = trained(callback, 11)
    callback.on_validation_start(trainer(11), module)
    callback.on_exception(trainer(11), module, RuntimeError())
    assert module.weight.tolist() == [11, 11]


def test_gradient_accumulation_takes_one_snapshot_a_step():
    callback = CheckpointAveraging(count=3, every_n_steps=1)
    module = trained(callback, 2)
    with torch.no_grad():
        module.weight.fill_(100)
    callback.on_train_batch_end(trainer(2), module, None, None, 2)  # no step was taken
    callback.on_validation_start(trainer(2), module)
    assert module.weight.tolist() == [1.5, 1.5]


@pytest.mark.parametrize("during_validation", [False, True])
def test_a_checkpoint_holds_the_average_and_what_training_goes_on_from(during_validation):
    callback = CheckpointAveraging(count=2, every_n_steps=5)
    module = trained(callback, 12)
    if during_validation:
        callback.on_validation_start(trainer(12), module)
    checkpoint = {"state_dict": module.state_dict()}
    callback.on_save_checkpoint(trainer(12), module, checkpoint)
    assert checkpoint["state_dict"]["weight"].tolist() == [7.5, 7.5]

    resumed, again = CheckpointAveraging(count=2, every_n_steps=5), Module()
    again.load_state_dict(checkpoint["state_dict"])
    resumed.on_load_checkpoint(trainer(12), again, checkpoint)
    assert again.weight.tolist() == [12, 12]
    resumed.on_validation_start(trainer(12), again)
    assert again.weight.tolist() == [7.5, 7.5]

    tested = Module()
    tested.load_state_dict(checkpoint["state_dict"])
    CheckpointAveraging().on_load_checkpoint(trainer(12, "test"), tested, checkpoint)
    assert tested.weight.tolist() == [7.5, 7.5]


def test_snapshots_of_a_checkpoint_join_those_of_another_device():
    callback = CheckpointAveraging(count=2, every_n_steps=1)
    trained(callback, 1)  # as if loaded: on the CPU
    module = Module().to("meta")
    callback.on_train_batch_end(trainer(2), module, None, None, 1)
    checkpoint = {"state_dict": module.state_dict()}
    callback.on_save_checkpoint(trainer(2), module, checkpoint)
    assert checkpoint["state_dict"]["weight"].device.type == "meta"


def test_before_the_first_snapshot_everything_is_as_it_is():
    callback = CheckpointAveraging(count=2, every_n_steps=50)
    module = trained(callback, 3)
    callback.on_validation_start(trainer(3), module)
    checkpoint = {"state_dict": module.state_dict()}
    callback.on_save_checkpoint(trainer(3), module, checkpoint)
    assert checkpoint["state_dict"]["weight"].tolist() == [3, 3]
    assert set(checkpoint) == {"state_dict"}


@pytest.mark.parametrize("settings", [{"count": 0}, {"every_n_steps": 0}])
def test_numbers_must_be_positive(settings):
    with pytest.raises(ValueError, match="must be positive"):
        CheckpointAveraging(**settings)
