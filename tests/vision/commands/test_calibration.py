"""Probabilities of network, temperature and memory, beside each other."""

import json

import pytest
import torch

from recollect.training import DataError, TrainedRun, load_run
from recollect_vision.cli import main
from recollect_vision.cli import main as command
from recollect_vision.commands.calibration import compare_calibration
from recollect_vision.commands.features import classification_run
from recollect_vision.metrics.classification import calibration, fit_temperature
from recollect_vision.tasks import OnlineFewShot

QUIET = ["--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"]


@pytest.fixture(scope="module")
def run_of(tmp_path_factory, colours):
    """Makes a short run of a config, and gives its folder."""

    def fit(*configs):
        root = tmp_path_factory.mktemp(configs[-1])
        where = ["--data.path", str(colours), "--trainer.default_root_dir", str(root)]
        small = ["--data.size", "8", "--data.batch_size", "8", "--model.backbone.init_args.width", "8"]
        short = ["--trainer.max_epochs", "2", "--trainer.log_every_n_steps", "1"]
        chosen = [part for config in configs for part in ("--config", config)]
        command(["fit", *chosen, *where, *small, *short, *QUIET])
        return next((root / "runs").glob("*/*/*"))

    return fit


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_is_found_by_which_logits_were_multiplied(temperature):
    torch.manual_seed(0)
    logits = torch.randn(20_000, 4)
    label = torch.multinomial(logits.softmax(1), 1).squeeze(1)
    assert fit_temperature(logits * temperature, label) == pytest.approx(temperature, rel=0.05)


def test_figures_of_probabilities_that_are_known():
    probability = torch.tensor([[0.8, 0.2], [0.8, 0.2], [0.8, 0.2], [0.8, 0.2]])
    found = calibration("coin", probability, torch.tensor([0, 0, 1, 1]))
    assert found.accuracy == 0.5
    assert found.ece == pytest.approx(0.3)
    assert found.loss == pytest.approx(-torch.tensor([0.8, 0.2]).log().mean().item())


def test_a_class_that_was_impossible_has_a_finite_loss():
    found = calibration("sure", torch.tensor([[1.0, 0.0]]), torch.tensor([1]))
    assert 80 < found.loss < float("inf")


def test_network_temperature_and_memory_are_compared(run_of, capsys):
    folder = run_of("folder")
    run = load_run(folder)
    network, scaled, remembered, both = compare_calibration(run.task, run.data)
    measured = json.loads((folder / "results.json").read_text())["metrics"]
    assert remembered.accuracy == pytest.approx(measured["test/accuracy"])
    assert remembered.ece == pytest.approx(measured["test/ece"], abs=1e-5)
    assert remembered.loss == pytest.approx(measured["test/loss"], abs=1e-5)
    assert scaled.accuracy == network.accuracy
    assert len({row.loss for row in (network, scaled, remembered, both)}) == 4
    main(["calibrate", str(folder)])
    printed = capsys.readouterr().out
    assert "network, temperature" in printed
    assert "network and examples, mix weight 0.5" in printed


def test_without_a_memory_the_network_is_compared_with_itself(run_of):
    run = load_run(run_of("folder", "without-memory"))
    assert [row.source.split(",")[0] for row in compare_calibration(run.task, run.data)] == [
        "network",
        "network",
    ]
    run.data.splits = run.data.splits._replace(test=None)
    del run.data.numbers
    with pytest.raises(DataError, match="has no test split"):
        compare_calibration(run.task, run.data)


def test_a_run_of_another_task_is_named():
    other = TrainedRun(OnlineFewShot.__new__(OnlineFewShot), None)
    with pytest.raises(DataError, match="somewhere is not a run of Classification but of OnlineFewShot"):
        classification_run("somewhere", other)
