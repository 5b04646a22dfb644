"""Question answering by the command line: the files of a run, and predictions."""

import io
import json
import sys
from pathlib import Path

import pytest
import torch

from recollect import MemoryNetwork, VectorStorage
from recollect.training import load_run
from recollect.training.callbacks.parts_summary import parts
from recollect_nlp.data.stories import StoryData
from recollect_nlp.tasks.question_answering import limit_slots

QUIET = ["--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"]
SMALL = ["--data.stories", "200", "--data.held_out", "20", "--trainer.max_epochs", "1"]
SMALL += ["--trainer.log_every_n_steps", "5"]

CUSTOM = "1 Mary went to the kitchen.\n2 Mary took the football.\n3 Where is the football?\tkitchen\t1 2\n"


def run(root: Path, *args: str) -> None:
    from recollect_nlp.cli import main

    main([*args, "--trainer.default_root_dir", str(root), *QUIET])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stories")
    run(root, "fit", *SMALL)
    (folder,) = (root / "runs" / "nlp" / "stories").iterdir()
    return folder


def test_a_run_saves_results_and_figures_of_reads(trained: Path) -> None:
    metrics = json.loads((trained / "results.json").read_text())["metrics"]
    assert 0 <= metrics["test/accuracy"] <= 1
    assert {"test/mean_error", "test/failed_tasks", "test/error/where_object"} <= metrics.keys()
    names = sorted(path.name for path in (trained / "figures").iterdir())
    assert names == [f"test-read-{number}.png" for number in range(1, 5)]


def test_the_summary_of_parts_adds_up_to_all_parameters(trained: Path) -> None:
    found = parts(load_run(trained).task.model)
    assert len(found) > 1
    total = sum(part.parameters for part in found)
    assert total == json.loads((trained / "results.json").read_text())["parameters"]


@pytest.mark.filterwarnings(
    "ignore:Words that did not occur in training"
)  # the synthetic stories have other names
def test_predictions_for_a_custom_file_include_the_reads(trained: Path, tmp_path: Path) -> None:
    custom = tmp_path / "my.txt"
    custom.write_text(CUSTOM.replace("\tkitchen\t1 2", ""))
    answers = tmp_path / "answers.jsonl"
    config = str(trained / "config.yaml")
    flags = ["--ckpt_path", "last", "--data.path", str(custom), "--output", str(answers)]
    run(tmp_path, "predict", "--config", config, *flags)
    (row,) = [json.loads(line) for line in answers.read_text().splitlines()]
    assert row["question"] == "Where is the football?"
    assert row["line"] == 3
    assert 0 < row["probability"] <= 1
    sentences = ["Mary went to the kitchen.", "Mary took the football."]
    assert [part["sentence"] for part in row["read"]] == sentences
    for hop in zip(*(part["weights"] for part in row["read"]), strict=True):
        assert sum(hop) == pytest.approx(1, abs=1e-3)


@pytest.mark.filterwarnings("ignore:Words that did not occur in training")
def test_predict_reads_standard_input_and_writes_standard_output(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = CUSTOM.replace("\tkitchen\t1 2", "") + "4 Mary left.\n5 Where is Mary?\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    config = ["--config", str(trained / "config.yaml"), "--ckpt_path", "last"]
    run(tmp_path, "predict", *config, "--data.path", "-", "--output", "-")
    first, second = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (first["source"], first["line"], second["line"]) == ("standard input", 3, 5)
    assert set(first) == {"source", "line", "question", "answer", "probability", "read"}
    assert [part["sentence"] for part in second["read"]][-1] == "Mary left."


@pytest.mark.filterwarnings("ignore:Words that did not occur in training")
def test_stories_longer_than_the_slots_keep_their_last_sentences(trained: Path, tmp_path: Path) -> None:
    long = tmp_path / "long.txt"
    sentences = [f"{i} Mary went to the room {i}.\n" for i in range(1, 21)]
    long.write_text("".join(sentences) + "21 Where is Mary?\n" + CUSTOM.replace("\tkitchen\t1 2", ""))
    output = tmp_path / "out.jsonl"
    flags = ["--config", str(trained / "config.yaml"), "--ckpt_path", "last", "--output", str(output)]
    with pytest.warns(UserWarning, match=r"1 of 2 predict .* more than 16 .* last 16 .*data\.slots"):
        run(tmp_path, "predict", *flags, "--data.path", str(long))
    cut, whole = [json.loads(line) for line in output.read_text().splitlines()]
    assert [part["sentence"] for part in cut["read"]] == [f"Mary went to the room {i}." for i in range(5, 21)]
    assert len(whole["read"]) == 2


def test_more_slots_than_the_capacity_of_the_memory_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        run(tmp_path, "fit", *SMALL, "--data.slots", "64", "--trainer.fast_dev_run", "1")
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "--data.slots 64" in error
    assert "has 16 slots" in error
    assert "--model.memory.init_args.storage.init_args.slots" in error


@pytest.mark.filterwarnings("ignore:.*have an answer that did not occur in training")  # of 20 stories
def test_slots_default_to_the_capacity_of_the_memory() -> None:
    data = StoryData(stories=20, held_out=5)
    limit_slots(data, MemoryNetwork(4, VectorStorage(4, 4, slots=5)))
    assert data.slots == 5
    with pytest.warns(UserWarning, match="more than 5 sentences"):
        data.dataset("test")
    assert data.notes
    assert data.notes[0].startswith("10 of 15 test questions are about stories of more than 5 sentences")


def test_data_of_another_task_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run(tmp_path, "fit", "--data", "recollect_nlp.data.translation.TranslationData", *SMALL[4:])
    assert stop.value.code == 2
    assert "QuestionAnswering needs a QuestionData for --data, not TranslationData" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:Words that did not occur in training")
def test_a_trained_run_loads_in_python(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "my.txt").write_text(CUSTOM)
    task, data = load_run(trained, path=str(tmp_path / "my.txt"))
    with torch.no_grad():
        (row,) = task.predict(next(iter(data.predict_dataloader())))
    assert row["question"] == "Where is the football?"


def test_a_class_that_is_not_a_memory_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run(tmp_path, "fit", "--model.memory", "torch.nn.Identity", *SMALL)
    assert stop.value.code == 2
    assert "torch.nn.Identity" in capsys.readouterr().err
