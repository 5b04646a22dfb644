"""Every few-shot config trains, tests and predicts on a few drawings of its own kind."""

import csv
import functools
import json
import shutil
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest

from recollect_vision.cli import main
from recollect_vision.data import omniglot

from ..twins import Twins, memories_by_config
from .conftest import draw_alphabets

CONFIGS = {
    path.stem: path
    for path in sorted(Path(str(files("recollect_vision"))).joinpath("configs").glob("*.yaml"))
    if "FewShot" in path.read_text()
}
CHARACTER_FOLDER = "recollect_vision.data.character_folder.CharacterFolderData"
QUIET = ["--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"]


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As if Omniglot were 18 characters of six drawings, in three alphabets."""
    return shrink(monkeypatch, tmp_path)


def shrink(patch: pytest.MonkeyPatch, root: Path) -> Path:
    patch.setenv("RECOLLECT_DATA", str(root))
    patch.chdir(root)
    patch.setattr(omniglot, "CHARACTERS", 18)
    patch.setattr(omniglot, "DRAWERS", 6)
    patch.setattr(omniglot, "TEST", 6)
    patch.setattr(omniglot, "BACKGROUND", {"alphabet0", "alphabet1"})
    return draw_alphabets(root / "omniglot" / "omniglot_resized", alphabets=3, characters=6, drawings=6)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a run of a config, once; not to be changed."""

    @functools.cache
    def fit(name: str) -> Path:
        root = tmp_path_factory.mktemp(name)
        with pytest.MonkeyPatch.context() as patch:
            shrink(patch, root)
            configs = [part for config in name.split("+") for part in ("--config", config)]
            main(["fit", *configs, *flags(name), *epochs(name), *QUIET])
        return next((root / "runs" / "vision" / name).iterdir())

    return fit


@pytest.fixture
def copied(trained: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """Copies such a run under ``tmp_path``, to be used up."""
    return lambda name: Path(shutil.copytree(trained(name), tmp_path / "runs" / "vision" / name / "copied"))


def flags(name: str) -> list[str]:
    """What makes an episode small."""
    chosen = ["--data.ways", "4", "--data.held_out", "6", "--data.held_out_alphabets", "1"]
    if "mann" in name:
        return [*chosen, "--data.queries", "3", "--data.batch_size", "2", "--model.test_episodes", "20"]
    return [
        *chosen,
        "--model.test_episodes",
        "20",
        "--model.settings",
        "[[4, 1], [5, 2]]",
        "--model.test_queries",
        "3",
    ]


def epochs(name: str) -> list[str]:
    """A short training of a narrow network, to the end of its schedule."""
    steps = ["--model.scheduler.init_args.total_steps", "4", "--trainer.max_epochs", "2"]
    narrow = [] if "mann" in name else ["--model.backbone.init_args.channels", "[8, 8, 8, 8]"]
    episodes = ["--data.episodes", "4" if "mann" in name else "2"]
    return [*steps, *episodes, *narrow, "--trainer.log_every_n_steps", "1"]


@pytest.mark.thorough
@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_trains_and_tests(name: str, small, tmp_path, capsys):
    main(["fit", "--config", name, *flags(name), *QUIET, "--trainer.fast_dev_run", "2"])
    printed = capsys.readouterr().out
    assert ("test/accuracy_presentation_4" if "mann" in name else "test/accuracy_5way_2shot_ci95") in printed
    assert "not written (fast_dev_run)" in printed
    assert not (tmp_path / "runs").exists()


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["omniglot", "omniglot+without-memory", "omniglot-mann"])
def test_what_was_trained_classifies_by_a_few_examples(name, copied, small: Path, tmp_path, monkeypatch):
    run = copied(name)
    results = json.loads((run / "results.json").read_text())
    assert any("characters to learn from, 6 to choose by, 6 tested on" in note for note in results["notes"])
    assert list((run / "figures").glob("test-episode*.png")) or "mann" in name
    examples, questions = small / "alphabet0", small / "alphabet1" / "character00"
    for character in ("character04", "character05"):
        (examples / character).rename(tmp_path / character)
    again = ["--config", str(run / "config.yaml"), "--ckpt_path", "best", *QUIET]
    monkeypatch.setenv("RECOLLECT_DATA", str(tmp_path / "gone"))  # what was learned is in the checkpoint
    main(["predict", *again, "--data.examples", str(examples), "--data.images", str(questions)])
    with (run / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["image"]).name for row in rows] == [f"0000_{d:02d}.png" for d in range(6)]
    assert {row["class"] for row in rows} <= {f"character{c:02d}" for c in range(4)}
    assert all(0 < float(row["probability"]) <= 1 for row in rows)
    if name == "omniglot":
        compared = json.loads(rows[0]["compared"])
        assert len(compared) == 5
        assert all(file.startswith(str(examples)) for file in compared)


@pytest.mark.thorough
def test_a_trained_memory_can_be_read_in_the_other_way(copied, small):
    run = copied("omniglot")
    again = ["--config", str(run / "config.yaml"), "--ckpt_path", "best", *QUIET]
    main(["test", *again, "--model.reading", "matching"])
    measured = [json.loads(path.read_text())["metrics"] for path in run.rglob("results.json")]
    assert len(measured) == 2
    # With one example of each class the two readings are of one opinion.
    assert measured[0]["test/accuracy_4way_1shot"] == measured[1]["test/accuracy_4way_1shot"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--model.settings", "[[90, 1]]"], "90-way episodes: there are only 24 classes"),
        (["--model.test_queries", "6"], "an episode takes 7 images of each class, but one has 6"),
        (["--model.memory.init_args.slots", "4"], "10 examples do not fit into the 4 slots"),
        (["--data.ways", "40"], "there are 24 classes to learn from"),
        (
            ["--data", CHARACTER_FOLDER, "--data.path", "nowhere", "--data.held_out", "0.2"],
            "nowhere is no folder",
        ),
    ],
)
def test_mistakes_are_named(wrong: list[str], message: str, small, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", "omniglot", *flags("omniglot"), *epochs("omniglot"), *QUIET, *wrong])
    assert stop.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.thorough
def test_own_drawings_train_without_a_download(write_drawings, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = str(write_drawings(alphabets=4, characters=5, drawings=5))
    own = ["--data", CHARACTER_FOLDER, "--data.path", folder, "--data.ways", "4"]
    small = ["--model.settings", "[[4, 1]]", "--model.test_queries", "3", "--trainer.fast_dev_run", "2"]
    main(["fit", "--config", "omniglot", *own, *small, *QUIET])
    assert "test/accuracy_4way_1shot" in capsys.readouterr().out


@pytest.mark.parametrize("name", CONFIGS)
def test_the_first_comment_is_the_command(name):
    assert CONFIGS[name].read_text().startswith(f"# recollect-vision fit --config {name}\n")


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "roles"), memories_by_config("recollect_vision", "FewShot").items())
def test_the_twin_has_no_memory(name, roles, small, monkeypatch):
    Twins(monkeypatch, main).check(name, roles, [*flags(name), *QUIET])
