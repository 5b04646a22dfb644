"""The task as its user runs it: fit, test, predict, examples shown afterwards, classes forgotten."""

import csv
import functools
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from recollect.training import DataError, Task, load_run
from recollect.training.callbacks.parts_summary import parts
from recollect_vision.cli import main
from recollect_vision.commands.class_incremental import accuracy_by_shots, all_features
from recollect_vision.models.whitened_network import whitening_filters
from recollect_vision.tasks.progressive_resizing import ProgressiveResizing

QUIET = ["--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"]
EVERY_STEP = ["--trainer.log_every_n_steps", "1"]
SMALL = ["--data.size", "8", "--data.batch_size", "8"]
NARROW = ["--model.backbone.init_args.width", "8"]
SHORT = ["--trainer.max_epochs", "5", "--model.scheduler.init_args.T_max", "5"]
SHORTER = ("--trainer.max_epochs", "2", "--model.scheduler.init_args.T_max", "2")
CROWDED = ("--model.per_class", "1", "--model.extra_classes", "0", *SHORTER)
WHITENED = (
    *("--model.backbone", "recollect_vision.models.whitened_network.WhitenedNetwork"),
    *("--model.backbone.widths", "[6]", "--model.whiten", "true", *SHORTER),
)


def fit(root: Path, images: Path, *flags: str) -> Path:
    """The folder of a run."""
    before = set((root / "runs").glob("*/*/*"))
    where = ["--data.path", str(images), "--trainer.default_root_dir", str(root)]
    narrow = [] if "--model.backbone" in flags else NARROW
    main(["fit", "--config", "folder", *where, *SMALL, *narrow, *SHORT, *EVERY_STEP, *QUIET, *flags])
    (folder,) = set((root / "runs").glob("*/*/*")) - before
    return folder


def rows(run: Path, *flags: str) -> list[dict[str, str]]:
    """What ``predict`` writes."""
    output = run / "out.csv"
    what = ["--config", str(run / "config.yaml"), "--ckpt_path", "best", "--output", str(output)]
    main(["predict", *what, *QUIET, *flags])
    with output.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, colours) -> Path:
    return fit(tmp_path_factory.mktemp("trained"), colours)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory, colours) -> Callable[..., Path]:
    """Makes the run of given flags, once; not to be changed."""
    return functools.cache(lambda *flags: fit(tmp_path_factory.mktemp("fitted"), colours, *flags))


def test_a_run_learns_and_leaves_figures(trained):
    results = json.loads((trained / "results.json").read_text())
    assert results["metrics"]["test/accuracy"] == 1.0
    assert {"test/f1", "test/ece", "test/loss"} <= results["metrics"].keys()
    names = sorted(path.name for path in (trained / "figures").iterdir())
    assert names == ["test-confusion.png", "test-neighbours.png"]


def test_the_parts_that_are_shown_add_up_to_all_parameters(trained):
    found = parts(load_run(trained).task.model)
    assert len(found) > 1
    total = sum(part.parameters for part in found)
    assert total == json.loads((trained / "results.json").read_text())["parameters"]


def test_predict_names_class_probability_and_what_was_compared(trained, colours):
    found = rows(trained, "--data.images", str(colours / "green"))
    assert len(found) == 20
    for row in found:
        assert Path(row["image"]).parent.name == row["class"] == "green"
        assert 0.5 < float(row["probability"]) <= 1
        remembered = json.loads(row["remembered"])
        assert {Path(name).parent.name for name in remembered} == {"green"}
        assert len(remembered) == len(json.loads(row["weights"])) == 5


@pytest.mark.thorough
def test_no_more_images_are_named_than_are_remembered(fitted, colours):
    run = fitted(*CROWDED)
    for flags, classes in (([], ["blue", "green", "red"]), (["--data.forget", "[green]"], ["blue", "red"])):
        for row in rows(run, "--data.images", str(colours / "blue"), *flags):
            assert sorted(Path(name).parent.name for name in json.loads(row["remembered"])) == classes
            assert len(json.loads(row["weights"])) == len(classes)


def test_predict_takes_a_single_image_and_the_test_split_by_default(trained, colours):
    assert len(rows(trained, "--data.images", str(colours / "red" / "004.png"))) == 1
    assert len(rows(trained)) == 12


def test_a_new_class_is_shown_and_another_forgotten(trained, colours, tmp_path, write_images):
    new = write_images("new", classes=["grey"], count=6)
    shown = ["--data.examples", str(new)]
    found = rows(trained, "--data.images", str(new), *shown)
    assert {row["class"] for row in found} == {"grey"}
    assert all(Path(json.loads(row["remembered"])[0]).parent.name == "grey" for row in found)
    found = rows(trained, "--data.images", str(colours / "green"), *shown, "--data.forget", "[green]")
    assert "green" not in {row["class"] for row in found}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data.forget", "[pink]"], "names pink, but the classes are blue, green, red"),
        (["--data.images", "nowhere"], "nowhere is neither an image nor a folder of images"),
    ],
)
def test_what_is_not_there_is_named(trained, capsys, flags, message):
    with pytest.raises(SystemExit):
        rows(trained, *flags)
    assert message in capsys.readouterr().err


def test_classes_for_which_there_is_no_room_are_refused(fitted, write_images, capsys):
    run = fitted(*CROWDED)
    with pytest.raises(SystemExit):
        rows(run, "--data.examples", str(write_images("new", classes=["grey"], count=2)))
    assert "more classes than the memory has room for (4 in all)" in capsys.readouterr().err


def test_a_storage_without_a_place_for_each_class_is_refused(tmp_path, colours, capsys):
    with pytest.raises(SystemExit):
        fit(
            tmp_path,
            colours,
            "--model.example_memory.init_args.slots",
            "2",
            "--model.example_memory.init_args.top_k",
            "1",
        )
    assert "2 slots for 3 classes" in capsys.readouterr().err


def test_a_torchvision_network_by_name_is_given_a_memory(tmp_path, colours):
    where = ["--data.path", str(colours), "--trainer.default_root_dir", str(tmp_path)]
    small = ["--data.size", "32", "--data.batch_size", "8", "--trainer.fast_dev_run", "1", *QUIET]
    main(["fit", "--config", "folder", "--model.backbone", "resnet18", *where, *small])


def test_training_begins_with_small_images_and_ends_with_whole_ones(tmp_path, colours, monkeypatch):
    seen = []

    def noted(resizing, images, done):
        resized = resize(resizing, images, done)
        seen.append((done, resized.shape[-1]))
        return resized

    resize = ProgressiveResizing.__call__
    monkeypatch.setattr(ProgressiveResizing, "__call__", noted)
    resizing = "recollect_vision.tasks.progressive_resizing.ProgressiveResizing"
    fit(tmp_path, colours, "--model.resizing", resizing, *SHORTER)
    assert seen[0] == (0.0, 4)
    assert seen[-1] == (1 - 1 / len(seen), 8)
    assert [size for _, size in seen] == sorted(size for _, size in seen)


def test_resizing_without_an_end_of_training_is_refused(tmp_path, colours, capsys):
    with pytest.raises(SystemExit, match="2"):
        fit(
            tmp_path,
            colours,
            *["--model.resizing", "recollect_vision.tasks.progressive_resizing.ProgressiveResizing"],
            *["--trainer.max_epochs", "-1", "--trainer.max_time", "00:00:01:00"],
        )
    assert "--model.resizing needs a training that ends" in capsys.readouterr().err


def test_a_network_is_prepared_with_training_images(fitted):
    run = load_run(fitted(*WHITENED))
    data = run.data
    images = torch.stack([data.part("train").image(number) for number in data.numbers["train"]])
    filters = whitening_filters(data.normalized(images))
    torch.testing.assert_close(run.task.model.backbone.whiten.weight[:12], filters)


def test_classes_that_were_left_out_are_learned_from_examples_and_erased(tmp_path, colours, capsys):
    folder = fit(tmp_path, colours, "--data.leave_out", "[green]")
    run = load_run(folder)
    images = all_features(run.task, run.data)
    for reading in ("matching", "prototypes"):
        nothing, some = accuracy_by_shots(run.task.model, images, 2, shots=[0, 5], reading=reading)
        assert float(nothing.new) == 0
        assert float(nothing.old) == 1
        assert some.new.mean() > 0.9
        assert some.old.mean() > 0.9
        assert some.restored
        assert len(some.new) == 10
    assert run.task.model.examples.method == "matching"
    main(["class-incremental", str(folder)])
    printed = capsys.readouterr().out
    assert "read one by one; new: green" in printed
    assert "read as prototypes; new: green" in printed
    assert (folder / "figures" / "class-incremental.png").exists()


def test_the_memory_is_of_the_weights_that_are_saved(trained):
    run = load_run(trained)
    model, data = run.task.model, run.data
    numbers = model.number[model.number >= 0]
    features = model.features(
        data.normalized(torch.stack([data.part("train").image(int(n)) for n in numbers]))
    )
    kept = model.examples.storage.entries(model.example_state.get())
    torch.testing.assert_close(kept.keys[kept.filled > 0], features, rtol=1e-4, atol=1e-5)
    assert len(numbers) == len(data.example_numbers(50))


@pytest.mark.thorough
def test_features_are_whitened_before_examples_are_kept(fitted):
    run = load_run(fitted(*WHITENED))
    model, data = run.task.model, run.data
    numbers = model.number[model.number >= 0]
    features = run.task.extract_features(data.part("train"), numbers.tolist())
    kept = model.examples.storage.entries(model.example_state.get())
    seen = model.whitening(features)
    torch.testing.assert_close(kept.keys[kept.filled > 0], seen, rtol=1e-3, atol=1e-4)
    label = data.part("train").labels[numbers]
    means = torch.stack([seen[label == c].mean(0) for c in range(3)])
    torch.testing.assert_close(means.mean(0), torch.zeros_like(means[0]), rtol=0, atol=1e-3)


@pytest.mark.thorough
def test_examples_read_as_prototypes_are_named_all_the_same(tmp_path, colours):
    run = fit(tmp_path, colours, "--model.reading", "prototypes")
    for row in rows(run, "--data.images", str(colours / "green")):
        assert row["class"] == "green"
        assert {Path(name).parent.name for name in json.loads(row["remembered"])} == {"green"}


def test_class_incremental_needs_classes_that_were_left_out_and_a_memory(trained):
    run = load_run(trained)
    with pytest.raises(DataError, match="no class was left out"):
        all_features(run.task, run.data)


@pytest.mark.thorough
def test_a_run_resumed_between_epochs_is_the_uninterrupted_one(tmp_path, colours, monkeypatch):
    """With the default's augmentation and moving average."""
    turn = "{class_path: torchvision.transforms.v2.RandomAffine, init_args: {degrees: [-20, 20]}}"
    affine = ["--data.augmentation", f"[{turn}]"]
    straight = fit(tmp_path / "straight", colours, *affine)
    measured, sent = Task.on_validation_epoch_end, list[int]()

    def stop(task: Task) -> None:
        measured(task)
        if task.trainer.state.fn == "fit" and task.current_epoch == 1 and not sent:
            sent.append(signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Task, "on_validation_epoch_end", stop)
    with pytest.raises(SystemExit):
        fit(tmp_path, colours, *affine)
    assert sent
    again = ["fit", "--config", "folder", "--ckpt_path", "last"]
    main([*again, "--trainer.default_root_dir", str(tmp_path), *QUIET])
    (run,) = (tmp_path / "runs" / "vision" / "folder").iterdir()
    assert (run / "metrics.csv").read_text() == (straight / "metrics.csv").read_text()
