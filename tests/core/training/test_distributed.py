"""Two processes on the CPU get what one gets, with copies of the model and with its parameters split."""

import multiprocessing
import socket
import sys
from pathlib import Path

import pytest
import torch
from recollect_tiny.workers import work

from .conftest import only_run, results, run_tiny
from .test_cli import metrics, rows
from .test_resuming import differing, last

TIMEOUT = 240
ONE = ["--trainer.devices", "1", "--trainer.strategy", "auto"]
# 93 items do not go evenly into batches of 16, nor these into two processes.
COMMON = ["--data.size", "93", "--trainer.max_epochs", "2"]
TWO = ["--trainer.devices", "2", "--data.batch_size", "8", "--trainer.enable_progress_bar", "false"]


def run_two(root: Path, *commands: list[str]) -> None:
    """Run command lines in two processes, forked from this one where that is safe, for it has the imports."""
    # After a backward pass on an accelerator, autograd refuses to work in a fork; from 3.12 on, Python
    # warns of forks where threads run.
    fork = sys.version_info < (3, 12) and not torch.accelerator.is_available()
    context = multiprocessing.get_context("fork" if fork else "forkserver")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    lines = [[*command, "--trainer.default_root_dir", str(root)] for command in commands]
    processes = [context.Process(target=work, args=(rank, 2, port, root, lines)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(TIMEOUT)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    logs = "\n".join((root / f"{rank}.log").read_text()[-6000:] for rank in range(2))
    assert codes == [0, 0], logs


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("alone")
    run_tiny(root, "fit", *COMMON)
    return only_run(root)


def same_metrics(run: Path, other: Path, tolerance: float) -> None:
    ours, theirs = results(run)["metrics"], results(other)["metrics"]
    for name in ("test/accuracy", "test/error", "test/loss"):
        assert ours[name] == pytest.approx(theirs[name], rel=tolerance), name
    losses = [[float(row["val/loss"]) for row in metrics(each) if row["val/loss"]] for each in (run, other)]
    assert losses[0] == pytest.approx(losses[1], rel=tolerance)


def test_ddp_gets_the_metrics_of_one_process(alone: Path, tmp_path: Path):
    predict = ["predict", "--config", "recall", "--config", "ddp", "--ckpt_path", "last", *TWO]
    run_two(
        tmp_path,
        ["fit", "--config", "recall", "--config", "ddp", *COMMON, *TWO],
        [*predict, "--data.size", "21"],
    )
    run = only_run(tmp_path)
    same_metrics(run, alone, tolerance=0.02)
    # the same weights in one process: exactly the same figures
    run_tiny(tmp_path, "test", "--ckpt_path", "best", *ONE)
    for name, value in results(run / "test")["metrics"].items():
        assert results(run)["metrics"][name] == pytest.approx(value, rel=1e-5) or name.startswith("memory/")
    predicted = rows(run / "predictions.jsonl")
    run_tiny(tmp_path, "predict", "--ckpt_path", "last", "--data.size", "21", *ONE)  # by one process
    expected = rows(run / "predictions.jsonl")
    assert [row["question"] for row in predicted] == [row["question"] for row in expected]
    assert [row["answer"] for row in predicted] == [row["answer"] for row in expected]
    assert sorted(path.name for path in run.iterdir() if path.name.startswith(".")) == []


def test_the_sharded_strategy_trains_saves_and_resumes(alone: Path, tmp_path: Path):
    fit = ["fit", "--config", "recall", "--config", "fsdp", "--data.size", "93", *TWO]
    run_two(
        tmp_path,
        [*fit, "--trainer.max_epochs", "1"],
        [*fit, "--trainer.max_epochs", "2", "--ckpt_path", "last"],
    )
    run = only_run(tmp_path)
    assert results(run)["epochs"] == 2
    same_metrics(run, alone, tolerance=0.02)
    saved = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["state_dict"]["model.names.weight"].shape == (
        4,
        16,
    )  # whole, so that one process can load it
    run_tiny(tmp_path, "test", "--ckpt_path", "best", *ONE)
    tested = results(run / "test")["metrics"]["test/loss"]
    assert tested == pytest.approx(results(run)["metrics"]["test/loss"], rel=1e-4)


@pytest.mark.thorough
@pytest.mark.parametrize("step", [2, 5])  # in mid-epoch, and before a validation
def test_two_processes_that_were_stopped_go_on_as_if_they_had_not_been(
    step: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    fit = ["fit", "--config", "noisy", "--config", "ddp", *COMMON, *TWO]
    resume = ["fit", "--config", "noisy", "--config", "ddp", "--ckpt_path", "last", *TWO]
    run_two(
        tmp_path,
        fit,
        [*fit, "--model.interrupt", f"[SIGTERM,{step}]"],
        [*resume, "--model.interrupt", "null"],
    )
    straight, run = sorted((tmp_path / "runs" / "tiny" / "noisy").iterdir())
    assert metrics(run) == metrics(straight)
    kept, expected = (last(each) for each in (run, straight))
    assert len(kept["random_states"]) == 2
    for part in ("state_dict", "optimizer_states", "random_states"):
        assert differing(kept[part], expected[part], part) == []
    run_tiny(
        tmp_path,
        "fit",
        "--config",
        "noisy",
        "--ckpt_path",
        "last",
        *COMMON[:2],
        "--trainer.max_epochs",
        "3",
        *ONE,
    )
    assert "the checkpoint has those of 2 processes, not 1" in capsys.readouterr().out
    assert results(run)["epochs"] == 3
