"""Files made from run folders."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from build import main
from schema import Result, load

RECORD: dict[str, Any] = {
    "command": "fit",
    "command_line": ["recollect-vision", "fit", "--config", "shapes"],
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "metrics": {"test/accuracy": 0.9, "test/loss": 0.3},
    "notes": [],
    "seed": 0,
    "device": "cpu (x86_64, 2 threads)",
    "seconds": 12.5,
    "parameters": 1234,
    "epochs": 3,
    "steps": 30,
    "checkpoint": "checkpoints/best.ckpt",
    "config": {
        "seed_everything": 0,
        "trainer": {"max_epochs": 3, "default_root_dir": "/here"},
        "model": {"class_path": "Classification", "init_args": {"width": 8}},
        "data": {"class_path": "Shapes", "init_args": {"size": 16}},
    },
}
ASKED = ("--task", "shapes", "--memory", "ExampleMemory", "--metric", "test/accuracy", "--digits", "2")


class Runs:
    """Makes run folders under ``runs/shapes``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.results = root / "results"

    def make(
        self, seed: int = 0, accuracy: float = 0.9, line: str = "--config shapes", **changes: Any
    ) -> str:
        record = copy.deepcopy(RECORD) | changes
        record["seed"] = record["config"]["seed_everything"] = seed
        record["metrics"]["test/accuracy"] = accuracy
        record["command_line"] = ["recollect-vision", "fit", *line.split(), "--seed_everything", str(seed)]
        folder = self.root / "runs" / "shapes" / f"run-{len(list(self.root.glob('runs/shapes/*')))}"
        folder.mkdir(parents=True)
        (folder / "results.json").write_text(json.dumps(record))
        return str(folder)

    def add(self, *args: str) -> int:
        self.results.mkdir(exist_ok=True)
        return main(["add", *args], self.results)

    def load(self, name: str) -> Result:
        return load(self.results / f"{name}.json", Result)


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def config(**sizes: int) -> dict[str, Any]:
    changed = copy.deepcopy(RECORD["config"])
    changed["data"]["init_args"] |= sizes
    return changed


def test_three_seeds_and_their_twins_become_a_row(runs: Runs):
    folders = [runs.make(seed, 0.9 + seed / 100) for seed in range(3)]
    twins = [runs.make(seed, 0.8, "--config shapes --config without-memory") for seed in range(3)]
    assert runs.add(*folders, *ASKED) == 0
    assert runs.add(*twins) == 0
    made, twin = runs.load("vision/shapes"), runs.load("vision/shapes+without-memory")
    assert [run.seed for run in made.runs] == [0, 1, 2]
    assert made.runs[1].metrics == {"test/accuracy": 0.91, "test/loss": 0.3}
    assert (made.runs[0].seconds, made.runs[0].parameters, made.runs[0].epochs, made.runs[0].steps) == (
        12.5,
        1234,
        3,
        30,
    )
    assert (made.memory, twin.memory) == ("ExampleMemory", None)
    assert (made.task, made.commit, made.device) == ("shapes", RECORD["commit"], RECORD["device"])
    assert made.command == "recollect-vision fit --config shapes"
    assert (twin.task, twin.headline) == (made.task, made.headline)
    page = (runs.results / "README.md").read_text()
    assert (
        "| [0.80](vision/shapes+without-memory.json) | [0.91](vision/shapes.json) | +0.11 ± 0.01 (3 seeds) |"
        in page
    )


def test_seeds_that_come_later_are_added_and_a_seed_done_again_is_replaced(runs: Runs):
    assert runs.add(runs.make(0, 0.5), *ASKED) == 0
    assert runs.add(runs.make(1, 0.6)) == 0
    assert runs.add(runs.make(0, 0.7)) == 0
    assert [run.metrics["test/accuracy"] for run in runs.load("vision/shapes").runs] == [0.7, 0.6]


def test_the_default_config_has_the_name_of_its_run_folder(runs: Runs):
    assert runs.add(runs.make(line=""), *ASKED) == 0
    assert runs.load("vision/shapes").command == "recollect-vision fit"


def test_where_and_how_a_run_is_done_is_not_in_its_name(runs: Runs):
    line = "--config shapes --config wandb --trainer.accelerator=cpu --trainer.default_root_dir /here"
    assert runs.add(runs.make(line=line), *ASKED) == 0
    assert "/here" not in runs.load("vision/shapes").command


def test_flags_that_make_another_experiment_need_a_name(runs: Runs, capsys):
    folder = runs.make(line="--config shapes --data.size 32")
    assert runs.add(folder, *ASKED) == 1
    assert "--data.size make it another experiment: give its name by --name" in capsys.readouterr().err
    assert runs.add(folder, *ASKED, "--name", "vision/shapes+size-32") == 0
    assert runs.load("vision/shapes+size-32").command == "recollect-vision fit --config shapes --data.size 32"


def test_a_test_of_a_run_needs_a_name(runs: Runs, capsys):
    folder = Path(runs.make())
    record = json.loads((folder / "results.json").read_text())
    record["command_line"] = [
        "recollect-vision",
        "test",
        "--config",
        "runs/shapes/now/config.yaml",
        "--model.share",
        "0",
    ]
    (folder / "results.json").write_text(json.dumps(record))
    assert runs.add(str(folder), *ASKED) == 1
    assert "no name follows from recollect-vision test: give one by --name" in capsys.readouterr().err
    assert runs.add(str(folder), *ASKED, "--name", "vision/shapes+share-0") == 0


def test_a_run_that_was_resumed_needs_a_name(runs: Runs, capsys):
    folder = runs.make(line="--config runs/shapes/now/config.yaml --ckpt_path last")
    assert runs.add(folder, *ASKED) == 1
    assert "is that of a run: give its name by --name" in capsys.readouterr().err
    assert not (runs.results / "vision").exists()


def test_a_twin_of_the_default_is_named_after_it(runs: Runs):
    assert runs.add(runs.make(line="--config without-memory"), *ASKED) == 0
    assert runs.load("vision/shapes+without-memory").memory is None


def test_cases_differ_in_named_options_and_each_has_its_runs(runs: Runs):
    folders = [
        runs.make(seed, line=f"--config shapes --data.size {size}", config=config(size=size))
        for seed in range(2)
        for size in (16, 32)
    ]
    assert runs.add(*folders, *ASKED, "--over", "data.size", "--name", "vision/shapes") == 0
    made = runs.load("vision/shapes")
    assert [(run.case, run.seed) for run in made.runs] == [
        ("--data.size 16", 0),
        ("--data.size 16", 1),
        ("--data.size 32", 0),
        ("--data.size 32", 1),
    ]
    assert made.command == "recollect-vision fit --config shapes"
    assert made.estimate().seeds == 2


def test_no_path_of_this_machine_gets_into_a_file(runs: Runs):
    line = "--config runs/shapes/now/config.yaml --ckpt_path best --data.path /home/me/photos"
    assert runs.add(runs.make(line=line), *ASKED, "--name", "vision/shapes+photos") == 0
    command = runs.load("vision/shapes+photos").command
    assert command == "recollect-vision fit --config RUN/config.yaml --ckpt_path best --data.path photos"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": config(size=32)}, "differ in data.init_args.size"),
        ({"commit": "f" * 40}, "differ in commit"),
        ({"device": "NVIDIA H100"}, "differ in device"),
        ({"metrics": {"test/loss": 1.0, "test/accuracy": 0.0, "test/ece": 0.1}}, "differ in metrics"),
    ],
)
def test_runs_of_two_experiments_are_refused(runs: Runs, capsys, changes, message: str):
    assert runs.add(runs.make(0), runs.make(1, **changes), *ASKED) == 1
    assert message in capsys.readouterr().err
    assert not (runs.results / "vision").exists()


def test_figures_of_another_commit_are_kept_until_one_says_so(runs: Runs, capsys):
    assert runs.add(runs.make(0), runs.make(1), *ASKED) == 0
    newer = runs.make(0, 0.95, commit="f" * 40)
    assert runs.add(newer) == 1
    assert "--replace drops the earlier figures" in capsys.readouterr().err
    assert len(runs.load("vision/shapes").runs) == 2
    assert runs.add(newer, "--replace") == 0
    assert [run.metrics["test/accuracy"] for run in runs.load("vision/shapes").runs] == [0.95]
    assert runs.load("vision/shapes").task == "shapes"


def test_another_command_does_not_get_into_a_file(runs: Runs, capsys):
    assert runs.add(runs.make(0), *ASKED) == 0
    other = runs.make(1, line="--config shapes --data.size 32")
    assert runs.add(other, "--name", "vision/shapes") == 1
    assert "differ in command" in capsys.readouterr().err
    assert len(runs.load("vision/shapes").runs) == 1


def test_two_runs_of_a_seed_are_refused(runs: Runs, capsys):
    first, second = runs.make(0, 0.5), runs.make(0, 0.6)
    assert runs.add(first, second, *ASKED) == 1
    assert f"{first} and {second} have the same seed, 0" in capsys.readouterr().err


def test_nothing_is_guessed_about_a_new_experiment(runs: Runs, capsys):
    assert runs.add(runs.make()) == 1
    assert "nothing says what is measured: give --like" in capsys.readouterr().err
    assert runs.add(runs.make(), "--metric", "test/f1", "--task", "shapes") == 1
    assert "has no test/f1" in capsys.readouterr().err


def test_like_names_a_file_to_take_the_task_from(runs: Runs, capsys):
    assert runs.add(runs.make(), *ASKED) == 0
    other = runs.make(line="--config triangles")
    assert runs.add(other, "--like", "vision/circles") == 1
    assert "--like vision/circles: there is no such file" in capsys.readouterr().err
    assert runs.add(other, "--like", "vision/shapes") == 0
    assert runs.load("vision/triangles").task == "shapes"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "has no results.json"),
        ("{", "is not the record of a run"),
        (
            json.dumps({name: value for name, value in RECORD.items() if name != "command_line"}),
            "command_line: Field required",
        ),
        (json.dumps(RECORD | {"seed": None, "seconds": "long"}), "is not the record of a run"),
        (json.dumps(RECORD | {"metrics": {"test/accuracy": float("nan")}}), "is not the record of a run"),
    ],
)
def test_a_folder_that_is_no_run_is_told(runs: Runs, tmp_path: Path, capsys, text: str | None, message: str):
    folder = tmp_path / "folder"
    folder.mkdir()
    if text is not None:
        (folder / "results.json").write_text(text)
    assert runs.add(str(folder), *ASKED) == 1
    told = capsys.readouterr().err
    assert message in told
    assert str(folder) in told


def test_a_domain_that_there_is_not_is_refused(runs: Runs, capsys):
    assert runs.add(runs.make(), *ASKED, "--name", "music/shapes") == 1
    assert "music/shapes is not DOMAIN/NAME" in capsys.readouterr().err
