"""The moving average of the weights: what is validated, saved, tested, and gone on from."""

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from recollect.training.callbacks import MovingAverage

DECAY = 0.5


class Module(LightningModule):
    """Its weight grows by one with each step; notes the weight that is validated and tested."""

    def __init__(self, fail: bool = False) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.fail = fail
        self.validated: list[float] = []
        self.tested: list[float] = []

    def training_step(self, batch, batch_idx):
        return -self.weight

    def validation_step(self, batch, batch_idx):
        if self.fail:
            raise RuntimeError("in validation")
        self.validated.append(float(self.weight))

    def test_step(self, batch, batch_idx):
        self.tested.append(float(self.weight))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


BATCHES = torch.zeros(2, 1)  # which a trainer takes for two batches; of a DataLoader it would want workers


def trainer(path, epochs: int) -> Trainer:
    return Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[MovingAverage(DECAY), ModelCheckpoint(path, "last", save_top_k=1)],
    )


def averages(steps: int) -> list[float]:
    """After each step, with Lightning's start: the first step's weights are the first average."""
    average, found = 1.0, [1.0]
    for step in range(2, steps + 1):
        average = DECAY * average + (1 - DECAY) * step
        found.append(average)
    return found


def fit(module: Module, path, epochs: int, **kwargs) -> Trainer:
    found = trainer(path, epochs)
    found.fit(module, BATCHES, BATCHES[:1], **kwargs)
    return found


def test_the_average_is_validated_and_training_goes_on_from_the_weights(tmp_path):
    module = Module()
    fit(module, tmp_path, epochs=3)
    assert module.validated == averages(6)[1::2]


def test_the_checkpoint_holds_the_average_and_is_what_is_tested(tmp_path):
    module = Module()
    found = fit(module, tmp_path, epochs=2)
    path = tmp_path / "last.ckpt"
    assert torch.load(path, weights_only=False)["state_dict"]["weight"] == averages(4)[-1]
    found.test(module, BATCHES[:1], ckpt_path=path, verbose=False)
    assert module.tested == [averages(4)[-1]]


@pytest.mark.filterwarnings("ignore:Checkpoint directory")  # it goes on in its own folder
def test_resuming_changes_nothing(tmp_path):
    fit(Module(), tmp_path / "parts", epochs=2)
    resumed, whole = Module(), Module()
    fit(resumed, tmp_path / "parts", epochs=4, ckpt_path=tmp_path / "parts" / "last.ckpt")
    fit(whole, tmp_path / "whole", epochs=4)
    assert resumed.validated == whole.validated[2:]


def test_an_error_in_validation_leaves_the_trained_weights(tmp_path):
    module = Module(fail=True)
    with pytest.raises(RuntimeError, match="in validation"):
        fit(module, tmp_path, epochs=1)
    assert module.weight.item() == 2


def test_the_average_follows_the_weights_to_their_device(tmp_path):
    module, average = Module(), MovingAverage(DECAY)
    average.setup(trainer(tmp_path, epochs=1), module, "fit")
    average.on_fit_start(trainer(tmp_path, epochs=1), module.to("meta"))
    assert {part.device.type for part in average._average_model.parameters()} == {"meta"}


def test_a_decay_out_of_range_is_refused():
    with pytest.raises(ValueError, match="decay must be in"):
        MovingAverage(1.0)
